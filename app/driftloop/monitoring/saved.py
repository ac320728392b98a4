"""The state of a source partition in a store, and back.

Everything but the rows is a *part*: ``head`` (offsets, watermarks, the list of cohorts), one for each pane that has
changed since it was last saved, some for each waiting label. All of them and the rows are written in one atomic step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from driftloop.events.messages import SourceProgress, WindowKind
from driftloop.joining.label_rows import BY_OFFSET, decode_label, offset_of
from driftloop.joining.pending import WaitingLabel
from driftloop.joining.store import StateStore, StoreError, StoreWrite
from driftloop.monitoring.catalog import VersionContext
from driftloop.monitoring.cohort import Cohort, InputPane, LogPoint, OutcomePane, Pane
from driftloop.monitoring.intake import Intake
from driftloop.monitoring.rows import cohort_prefix
from driftloop.performance.outcomes import OutcomeStats
from driftloop.profiles.inputs import InputStats
from driftloop.spec.load import spec_digest

__all__ = ["FORMAT", "SavedSource", "SourceHead", "UnusableState", "read_source", "write_cohorts"]

#: Of everything that is written here, in rows.py and in joining/label_rows.py; another one is not read.
FORMAT = 2

_HEAD = b"head"
_PANES = b"pane/"
_encode = msgspec.msgpack.Encoder().encode


class UnusableState(ValueError):
    """A stored state that cannot be gone on from. The message says why, in words that follow "it is ignored:"."""


class _CohortPart(msgspec.Struct, array_like=True):
    number: int
    model_id: str
    version: str
    spec: str  # digest
    profile: str  # digest
    start_ms: int
    first_prediction: LogPoint | None
    first_label: LogPoint | None
    rows: int
    panes: int


class SourceHead(msgspec.Struct, kw_only=True):
    """Offsets and watermarks; ``needs_*_offset``: of use only if progress up to there has been published."""

    format: int = FORMAT
    predictions_offset: int
    predictions_max_ms: int
    labels_offset: int
    labels_max_ms: int
    needs_predictions_offset: int
    needs_labels_offset: int
    swept_at_ms: int
    next_cohort: int
    latest_ms: dict[str, tuple[int, int]]
    waiting_labels: int = 0
    cohorts: list[_CohortPart] = []


class _PanePart(msgspec.Struct, array_like=True):
    kind: WindowKind
    segment: str
    late: bool
    span: tuple[int, int, int, int]
    dirty: bool
    finished: bool
    stats: bytes | None


_decode_format = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode
_decode_int = msgspec.msgpack.Decoder(int).decode
_decode_head = msgspec.msgpack.Decoder(SourceHead).decode
_decode_pane = msgspec.msgpack.Decoder(_PanePart).decode


@dataclass
class SavedSource:
    """What a store held: cohorts in the order in which they were made, with their numbers of rows, and the first of the
    labels that wait."""

    head: SourceHead
    cohorts: list[tuple[Cohort, int]]
    first_label: WaitingLabel | None


def write_cohorts(
    write: StoreWrite, head: SourceHead, cohorts: Iterable[tuple[Cohort, int]], dropped: Iterable[int]
) -> list[Pane]:
    """Add the head and the panes that are not saved yet to ``write``. Returns those panes."""
    written: list[Pane] = []
    digests: dict[str, str] = {}
    for number in dropped:
        write.dropped_parts.append(_PANES + cohort_prefix(number))
    for cohort, rows in cohorts:
        version = cohort.version
        spec = version.model.spec
        if spec.model not in digests:
            digests[spec.model] = spec_digest(spec)
        head.cohorts.append(
            _CohortPart(
                cohort.number,
                spec.model,
                version.version,
                digests[spec.model],
                version.profile.digest(),
                cohort.start_ms,
                cohort.first_prediction,
                cohort.first_label,
                rows,
                len(cohort.panes),
            )
        )
        for at, ((kind, segment, late), pane) in enumerate(cohort.panes.items()):
            if pane.saved:
                continue
            stats = None if pane.stats is None else pane.stats.encode()
            part = _PanePart(kind, segment, late, pane.span.bounds, pane.dirty, pane.finished, stats)
            name = _PANES + cohort_prefix(cohort.number) + at.to_bytes(4, "big")
            write.parts.append((name, _encode(part)))
            written.append(pane)
    write.parts.append((_HEAD, _encode(head)))
    return written


def read_source(store: StateStore, intake: Intake, published: SourceProgress | None) -> SavedSource | None:
    """What the store holds, or None if it holds nothing. Raises :class:`UnusableState` for what is damaged, was made
    with other specs or profiles, or does not go together with the published progress."""
    try:
        parts = {**dict(store.parts(_HEAD)), **dict(store.parts(_PANES))}
        if _HEAD not in parts:
            if next(store.parts(), None) is not None:
                raise UnusableState("its head is missing")
            return None
        first_label = _first_label(store)
    except StoreError as error:
        raise UnusableState(str(error)) from error
    try:
        found = _decode_int(_decode_format(parts[_HEAD])["format"])
        if found != FORMAT:
            raise UnusableState(f"it has format {found}, this version reads {FORMAT}")
        head = _decode_head(parts[_HEAD])
        _check_place(head, published)
        cohorts = [(_cohort(part, intake, parts), part.rows) for part in head.cohorts]
    except (msgspec.MsgspecError, KeyError, ValueError) as error:
        if isinstance(error, UnusableState):
            raise
        raise UnusableState(f"it is damaged: {error}") from error
    if (first_label is None) != (head.waiting_labels == 0):
        found_labels = "none of them is there" if first_label is None else "there is one"
        raise UnusableState(f"it is damaged: {head.waiting_labels} labels wait, and {found_labels}")
    return SavedSource(head, cohorts, first_label)


def _first_label(store: StateStore) -> WaitingLabel | None:
    for name, content in store.parts(BY_OFFSET):
        return decode_label(offset_of(name), content)
    return None


def _check_place(head: SourceHead, published: SourceProgress | None) -> None:
    if (
        published is None
        or published.predictions_offset < head.needs_predictions_offset
        or published.labels_offset < head.needs_labels_offset
    ):
        said = "nothing" if published is None else f"{published.predictions_offset} and {published.labels_offset}"
        raise UnusableState(
            f"it is ahead of what was published: it is of offsets {head.needs_predictions_offset} (predictions) and "
            f"{head.needs_labels_offset} (labels), published is {said}"
        )
    if (
        head.predictions_offset + head.labels_offset
        < published.restart_predictions_offset + published.restart_labels_offset
    ):
        raise UnusableState(
            f"it is too old to save any reading: it is of offsets {head.predictions_offset} (predictions) and "
            f"{head.labels_offset} (labels), and the state can be rebuilt from "
            f"{published.restart_predictions_offset} and {published.restart_labels_offset}"
        )


def _cohort(part: _CohortPart, intake: Intake, parts: dict[bytes, bytes]) -> Cohort:
    version = intake.version(part.model_id, part.version)
    if version is None:
        raise UnusableState(f"{part.model_id} {part.version} is not known any more")
    if spec_digest(version.model.spec) != part.spec:
        raise UnusableState(f"the spec of {part.model_id} has changed")
    if version.profile.digest() != part.profile:
        raise UnusableState(f"{part.model_id} {part.version} has another reference profile now")
    cohort = Cohort(part.number, version, part.start_ms)
    cohort.first_prediction, cohort.first_label = part.first_prediction, part.first_label
    for at in range(part.panes):
        saved = _decode_pane(parts[_PANES + cohort_prefix(part.number) + at.to_bytes(4, "big")])
        pane = _pane(saved, version)
        pane.span.bounds = saved.span
        pane.dirty, pane.finished, pane.saved = saved.dirty, saved.finished, True
        cohort.panes[saved.kind, saved.segment, saved.late] = pane
    return cohort


def _pane(saved: _PanePart, version: VersionContext) -> Pane:
    if saved.kind == "input":
        if saved.stats is None:
            return InputPane(None)
        profile = version.profile.for_segment(saved.segment)
        return InputPane(InputStats.decode(saved.stats, profile, version.estimator))
    if saved.stats is None:
        raise UnusableState("it is damaged: an outcome window without statistics")
    return OutcomePane(OutcomeStats.decode(saved.stats, version.new_outcomes(saved.segment)))
