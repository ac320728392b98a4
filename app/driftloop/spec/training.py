"""What to train, and on what."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from driftloop.events.time import parse_duration_ms
from driftloop.spec.basics import Duration, PositiveInt
from driftloop.spec.handover import HandoverSpec
from driftloop.spec.validation import ValidationSpec

__all__ = [
    "GAP_LABELS",
    "CandidateKind",
    "CandidateSpec",
    "ChoiceSpec",
    "RiverSpec",
    "SearchSpec",
    "TrainingSpec",
    "parse_bytes",
]

#: The value of ``training.gap`` that goes by when labels became known.
GAP_LABELS = "labels"

CandidateKind = Literal["window", "since_change", "everything", "decayed", "reservoir"]

_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*(MiB|GiB|MB|GB)")
_UNITS = {"MiB": 2**20, "GiB": 2**30, "MB": 10**6, "GB": 10**9}


def parse_bytes(text: str) -> int:
    """A size such as ``"2GiB"`` or ``"512 MiB"`` in bytes. Raises ``ValueError``.

    >>> parse_bytes("1.5GiB")
    1610612736
    """
    found = _BYTES.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"expected a size such as '2GiB' or '512MiB', got {text!r}")
    return round(float(found[1]) * _UNITS[found[2]])


class CandidateSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One choice of rows. ``window``: the ``last`` so long, or the newest ``rows``. ``since_change``: those since the
    change that a concept detector has dated. ``everything``: all that the log still has. ``decayed``: a row weighs half
    as much as one that is ``half_life`` younger. ``reservoir``: ``rows`` of them, drawn by ``seed``, with the shares of
    label and stretch of time (``stratum`` long) that all have. ``last`` bounds these two as well; without it they are
    made of everything."""

    candidate: CandidateKind
    last: Duration | None = None
    rows: PositiveInt | None = None
    half_life: Duration | None = None
    stratum: Duration | None = None
    seed: Annotated[int, Meta(ge=0)] | None = None

    @property
    def last_ms(self) -> int | None:
        return None if self.last is None else parse_duration_ms(self.last)

    @property
    def half_life_ms(self) -> int | None:
        return None if self.half_life is None else parse_duration_ms(self.half_life)

    @property
    def stratum_ms(self) -> int:
        return parse_duration_ms(self.stratum or "7d")

    @property
    def name(self) -> str:
        """Words for reports: ``window of 30d``, ``reservoir of 5,000 rows``."""
        within = f" of the last {self.last}" if self.last is not None else ""
        if self.candidate == "window":
            return f"window of {self.last}" if self.last is not None else f"window of {self.rows:,} rows"
        if self.candidate == "since_change":
            return "since the change"
        if self.candidate == "decayed":
            return f"decayed by {self.half_life}{within}"
        return f"reservoir of {self.rows:,} rows{within}" if self.candidate == "reservoir" else "everything"


class ChoiceSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the candidate is chosen: by ``metric`` (null: that of the default metric gate) on the last ``share`` of the
    rows that come before the holdout."""

    metric: str | None = None
    share: Annotated[float, Meta(gt=0.0, lt=1.0)] = 0.2


class SearchSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A search over parameters of the estimator. ``grid`` tries every combination of the listed values, ``random``
    draws ``n`` by ``seed``, also from ranges ``{low, high, log, integer}``. Each is fitted on earlier rows and judged
    on later ones: ``folds`` times with ``time_series`` (scikit-learn's TimeSeriesSplit), once, on the last ``share``,
    with ``forward``."""

    parameters: Annotated[dict[str, Any], Meta(min_length=1)]
    method: Literal["grid", "random"] = "grid"
    n: Annotated[int, Meta(ge=1, le=500)] = 20
    seed: Annotated[int, Meta(ge=0)] = 0
    split: Literal["time_series", "forward"] = "time_series"
    folds: Annotated[int, Meta(ge=2, le=20)] = 3
    share: Annotated[float, Meta(gt=0.0, lt=1.0)] = 0.25
    metric: str | None = None


class RiverSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A River model that learns on from the champion: its import path (``river.linear_model.LogisticRegression``) and
    parameters."""

    model: str
    parameters: dict[str, Any] = field(default_factory=dict)


class TrainingSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to train and on what: ``last`` so long before the command's window end; the last ``holdout`` share of the
    rows, later in time than the rest, is kept for the gates. ``since_change``: not before the change that a concept
    detector has dated, if so many rows are expected since then as ``minimum_rows``. With ``candidates`` each is trained
    and ``choice`` says how one of them is chosen. ``most_rows``: the newest so many are taken. ``validation`` bounds
    what the rows may be like; ``expectations`` is a suite in the JSON of Great Expectations, given as a mapping or as
    the path of a file, which loading the spec replaces by its content. ``dvc``: a pointer for DVC is kept beside the
    data set. ``handover``: an orchestrator trains instead. ``compare_on_learned``: gates compare with the champion on
    rows that it has learned, too, if fewer than the model's ``minimum_rows`` are later. ``gap``: rows whose prediction
    lies less than so long before the holdout are not learned by the model that is judged on it; ``labels``: those whose
    label became known after the holdout had begun."""

    estimator: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    last: Duration = "60d"
    since_change: bool = False
    holdout: Annotated[float, Meta(gt=0.0, lt=1.0)] = 0.2
    gap: str | None = None
    minimum_rows: PositiveInt = 500
    refit_on_all: bool = True
    time_limit: Duration = "10m"
    candidates: list[CandidateSpec] = field(default_factory=list)
    choice: ChoiceSpec = field(default_factory=ChoiceSpec)
    search: SearchSpec | None = None
    river: RiverSpec | None = None
    most_rows: PositiveInt = 500_000
    memory_limit: str | None = None
    threads: Annotated[int, Meta(ge=1, le=1024)] | None = None
    validation: ValidationSpec = field(default_factory=ValidationSpec)
    expectations: str | dict[str, Any] | None = None
    dvc: bool = False
    handover: HandoverSpec | None = None
    compare_on_learned: bool = False

    @property
    def last_ms(self) -> int:
        return parse_duration_ms(self.last)

    @property
    def gap_ms(self) -> int | None:
        """None without a gap, and for one that goes by labels."""
        return None if self.gap is None or self.gap == GAP_LABELS else parse_duration_ms(self.gap)

    @property
    def time_limit_ms(self) -> int:
        return parse_duration_ms(self.time_limit)

    @property
    def memory_limit_bytes(self) -> int | None:
        return None if self.memory_limit is None else parse_bytes(self.memory_limit)
