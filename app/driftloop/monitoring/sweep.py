"""Forgetting what has expired: cohorts, and labels whose prediction can't come any more."""

from __future__ import annotations

from driftloop.events.time import NEVER_MS
from driftloop.monitoring.state import SourceState

__all__ = ["Sweep"]

#: Labels that are given up in one step, so that any number of them may be due at once.
_GIVEN_UP_AT_ONCE = 10_000


class Sweep:
    """Made once per half window or so of event time, in steps.

    ``settled_ms``: labels that were due when predictions had come to this event time have been given up; None if nobody
    knows. ``next_ms``: the next sweep is due when both topics have come to this event time.
    """

    def __init__(self, state: SourceState, settled_ms: int | None) -> None:
        self._state = state
        self.settled_ms = settled_ms
        self.next_ms = NEVER_MS

    def begin_after_rebuild(self, predictions_max_ms: int) -> None:
        """What could be forgotten at the published offsets had been: it is here in part only, or was reported then."""
        if self.settled_ms is None:
            self.settled_ms = predictions_max_ms
        self.next_ms = NEVER_MS

    def due(self, predictions_max_ms: int, labels_max_ms: int) -> bool:
        """There is a step to make."""
        if self._state.silent or not (self._state.cohorts or self._state.pending.labels):
            return False
        return min(predictions_max_ms, labels_max_ms) >= self.next_ms

    def step(self, predictions_max_ms: int, labels_max_ms: int) -> None:
        """Give up at most some thousand labels; if those were all, forget cohorts."""
        if not self._give_up_labels(predictions_max_ms):
            return
        cohorts = self._state.cohorts.values()
        shortest_ms = min((cohort.version.model.window_ms for cohort in cohorts), default=60_000)
        now_ms = min(predictions_max_ms, labels_max_ms)
        self.next_ms = now_ms + shortest_ms // 2
        # After the labels, since a rebuild can't tell labels of forgotten cohorts from such that wait in vain.
        for cohort in list(cohorts):
            if now_ms - cohort.version.model.lateness_ms >= cohort.drop_ms and cohort.published:
                self._state.drop(cohort)

    def _give_up_labels(self, predictions_max_ms: int) -> bool:
        """In the order of due time and offset. Whether those were all."""
        assert self.settled_ms is not None, "nothing is given up while the state is being rebuilt"
        labels = self._state.pending.labels.take_due(predictions_max_ms, _GIVEN_UP_AT_ONCE)
        for label in labels:
            # Those due by the last sweep of an earlier owner were given up then; or they belong to forgotten cohorts,
            # which are kept for longer than their labels can be due.
            if label.due_ms > self.settled_ms:
                self._state.give_up(label)
        if len(labels) < _GIVEN_UP_AT_ONCE:
            self.settled_ms = predictions_max_ms
            return True
        self.settled_ms = max(self.settled_ms, labels[-1].due_ms - 1)
        return False
