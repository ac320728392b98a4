"""What a challenger must pass."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from driftloop.spec.basics import Fraction, PositiveInt

__all__ = [
    "GateKind",
    "GateSpec",
    "PassCriterion",
    "default_gates",
]

GateKind = Literal["metric", "sanity", "loadable", "schema", "slices", "fairness", "robustness", "calibration"]
#: What an interval has to say: ``proven``: all of it lies within the bound; ``not_refuted``: not all of it lies beyond
#: the bound; ``point``: the estimate itself lies within the bound.
PassCriterion = Literal["proven", "not_refuted", "point"]
NotNegative = Annotated[float, Meta(ge=0.0)]


class GateSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One gate. Keys beside ``gate`` belong to the kinds of gate in brackets.

    ``metric`` [metric, slices, robustness]: the task's usual one unless named. ``mode`` [metric]: ``superiority``
    (interval above ``margin``), ``non_inferiority`` (interval above ``-margin``) or ``better`` (the estimate is above
    ``margin``). ``margin``: how much worse than the champion is fine [slices, fairness, robustness, calibration]; null
    there: not compared with it (slices: 0). ``bound`` [robustness], ``bounds`` by metric [fairness, calibration]:
    absolute. ``criterion`` [slices, fairness, robustness, calibration]. ``insufficient``: what becomes of a challenger
    that cannot be judged. ``columns`` [slices, fairness]. ``correction`` [slices]. ``minimum_rows`` of a slice or
    group, null: the model's.

    ``noise`` (in spreads of a numeric feature), ``missing`` and ``unseen`` (rates; 0 leaves a perturbation out),
    ``each_missing`` (the bound with any one feature wholly missing; null: not tried) [robustness]. ``largest_share`` of
    one prediction, ``range`` that predictions of a regression may leave that of the labels by, in ranges of the labels
    (null: any) [sanity]. ``added``, ``removed`` [schema]: features that the champion has not, or had."""

    gate: GateKind
    metric: str | None = None
    mode: Literal["superiority", "non_inferiority", "better"] = "non_inferiority"
    margin: float | None = None
    confidence: Fraction = 0.95
    criterion: PassCriterion | None = None
    insufficient: Literal["refuse", "pass"] = "refuse"
    columns: list[str | list[str]] = field(default_factory=list)
    correction: Literal["holm", "bonferroni"] = "holm"
    minimum_rows: PositiveInt | None = None
    bound: NotNegative | None = None
    bounds: dict[str, float] = field(default_factory=dict)
    noise: NotNegative = 0.1
    missing: Fraction = 0.1
    unseen: Fraction = 0.1
    each_missing: NotNegative | None = None
    largest_share: Fraction = 0.99
    range: NotNegative | None = 1.0
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


def default_gates() -> list[GateSpec]:
    return [
        GateSpec(gate="sanity"),
        GateSpec(gate="loadable"),
        GateSpec(gate="schema"),
        GateSpec(gate="metric", margin=0.01),
    ]
