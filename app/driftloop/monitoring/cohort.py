"""The open windows of one source partition.

A cohort is the predictions of one model version made in one window. It has *input* panes (what predictions alone tell)
and *outcome* panes (predictions with their labels), one of each for all rows and one for each segment, and each of
those once for the rows that came in time and once for the late ones, which restate a window that was final already.
"""

from __future__ import annotations

import msgspec

from driftloop.events.messages import SourceRange, WindowKind, WindowPartial
from driftloop.monitoring.catalog import VersionContext
from driftloop.performance.outcomes import OutcomeStats
from driftloop.profiles.inputs import InputStats

__all__ = ["Cohort", "InputPane", "LogPoint", "OffsetSpan", "OutcomePane", "Pane", "PaneKey", "touch"]


class LogPoint(msgspec.Struct, frozen=True, order=True):
    """A place in a log: an offset, and the largest event time below it."""

    offset: int
    max_before_ms: int


class OffsetSpan:
    """Lowest and highest offset taken in, of both topics; -1 while there is none."""

    __slots__ = ("labels_end", "labels_first", "predictions_end", "predictions_first")

    def __init__(self) -> None:
        self.predictions_first = self.predictions_end = self.labels_first = self.labels_end = -1

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """First and end in predictions, first and end in labels."""
        return self.predictions_first, self.predictions_end, self.labels_first, self.labels_end

    @bounds.setter
    def bounds(self, bounds: tuple[int, int, int, int]) -> None:
        self.predictions_first, self.predictions_end, self.labels_first, self.labels_end = bounds

    def predictions(self, first: int, last: int) -> None:
        self.predictions_first = first if self.predictions_first < 0 else min(self.predictions_first, first)
        self.predictions_end = max(self.predictions_end, last + 1)

    def labels(self, first: int, last: int) -> None:
        self.labels_first = first if self.labels_first < 0 else min(self.labels_first, first)
        self.labels_end = max(self.labels_end, last + 1)


class InputPane:
    """Statistics of the features and predictions of one window and segment in one source partition."""

    __slots__ = ("dirty", "finished", "saved", "span", "stats")

    def __init__(self, stats: InputStats | None) -> None:
        self.stats = stats  # None once final and published: nothing can reach it any more
        self.span = OffsetSpan()
        self.dirty = False
        self.finished = False
        self.saved = False  # the store holds it as it is


class OutcomePane:
    """Statistics of the labeled predictions of one window and segment in one source partition."""

    __slots__ = ("dirty", "finished", "saved", "span", "stats")

    def __init__(self, stats: OutcomeStats) -> None:
        self.stats = stats
        self.span = OffsetSpan()
        self.dirty = False
        self.finished = False
        self.saved = False


Pane = InputPane | OutcomePane


def touch(pane: Pane) -> None:
    """It has to be published, and saved."""
    pane.dirty = True
    pane.saved = False


PaneKey = tuple[WindowKind, str, bool]  # kind, segment, late


class Cohort:
    """Predictions of one model version in one window, in one source partition."""

    __slots__ = ("drop_ms", "end_ms", "first_label", "first_prediction", "number", "panes", "start_ms", "version")

    def __init__(self, number: int, version: VersionContext, start_ms: int) -> None:
        self.number = number  # in order of first sight; never used twice in one state
        self.version = version
        self.start_ms = start_ms
        self.end_ms = start_ms + version.model.window_ms
        self.drop_ms = self.end_ms + version.model.keep_ms  # both watermarks must have come here to forget it
        self.panes: dict[PaneKey, Pane] = {}
        self.first_prediction: LogPoint | None = None
        self.first_label: LogPoint | None = None

    def saw_prediction(self, point: LogPoint) -> None:
        if self.first_prediction is None or point < self.first_prediction:
            self.first_prediction = point

    def saw_label(self, point: LogPoint) -> None:
        if self.first_label is None or point < self.first_label:
            self.first_label = point

    def input_pane(self, segment: str, late: bool) -> InputPane:
        pane = self.panes.get(("input", segment, late))
        if pane is None:
            pane = self.panes["input", segment, late] = InputPane(self.version.new_inputs(segment))
        assert isinstance(pane, InputPane)
        return pane

    def outcome_pane(self, segment: str, late: bool) -> OutcomePane:
        pane = self.panes.get(("outcome", segment, late))
        if pane is None:
            pane = self.panes["outcome", segment, late] = OutcomePane(self.version.new_outcomes(segment))
        assert isinstance(pane, OutcomePane)
        return pane

    def count_refused(self, feature: str, kind: str, offset: int, *, late: bool) -> None:
        """A record of this window could not be read."""
        pane = self.input_pane("", late)
        assert pane.stats is not None, "a record in time reached a window that its own partition had closed"
        pane.stats.quality.add_refused(feature, kind)
        pane.span.predictions(offset, offset)
        touch(pane)

    def count_repeated(self) -> None:
        """A further record with the id of one of its rows, while the window was open."""
        pane = self.input_pane("", False)
        assert pane.stats is not None, "a repeated id reached a window that its own partition had closed"
        pane.stats.quality.repeated_ids += 1
        touch(pane)

    @property
    def published(self) -> bool:
        """Nothing in it waits to be published, and its panes of rows in time were published as final."""
        return all(not pane.dirty and (pane.finished or late) for (_, _, late), pane in self.panes.items())

    def take_partials(
        self, partition: int, *, input_final: bool, outcome_final: bool, final_only: bool = False
    ) -> list[WindowPartial]:
        """Partials of the panes that changed since they were last taken, or have become final."""
        partials = []
        for (kind, segment, late), pane in self.panes.items():
            final = not late and (input_final if kind == "input" else outcome_final)
            if pane.finished or pane.stats is None or not (pane.dirty or final) or (final_only and not (final or late)):
                continue
            span = pane.span
            partials.append(
                WindowPartial(
                    model_id=self.version.model.spec.model,
                    model_version=self.version.version,
                    kind=kind,
                    segment=segment,
                    window_start_ms=self.start_ms,
                    window_end_ms=self.end_ms,
                    late=late,
                    final=final,
                    source=SourceRange(
                        partition=partition,
                        predictions_first=span.predictions_first,
                        predictions_end=span.predictions_end,
                        labels_first=span.labels_first,
                        labels_end=span.labels_end,
                    ),
                    stats=msgspec.Raw(pane.stats.encode()),
                )
            )
            _finish(pane, final)
        return partials

    def mark_clean(self, *, input_final: bool, outcome_final: bool) -> None:
        """All of this has been published by an earlier owner of the partition."""
        for (kind, _, late), pane in self.panes.items():
            _finish(pane, not late and (input_final if kind == "input" else outcome_final))


def _finish(pane: Pane, final: bool) -> None:
    pane.dirty = pane.saved = False
    pane.finished = final
    if final and isinstance(pane, InputPane):
        pane.stats = None
