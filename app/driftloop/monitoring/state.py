"""What is known of one source partition, and what has come out of it."""

from __future__ import annotations

from collections.abc import Iterable

from driftloop.joining.pending import WaitingLabel
from driftloop.joining.pending_store import PendingStore
from driftloop.joining.store import StateStore
from driftloop.monitoring.catalog import VersionContext
from driftloop.monitoring.cohort import Cohort
from driftloop.monitoring.outputs import DeadLetter, MonitorOutputs
from driftloop.monitoring.rows import CohortRowCodec

__all__ = ["SourceState"]


class SourceState:
    """Open windows, both sides of the join, and outputs since the last time.

    While it is ``silent``, since all of it has been published before, neither labeled rows nor dead letters come out.
    """

    def __init__(self, partition: int, labels_topic: str, store: StateStore | None) -> None:
        self.partition = partition
        self.silent = False
        self.outputs = MonitorOutputs()
        #: By model: largest event time of its predictions, and the record time of the last one. Not part of any report.
        self.latest_ms: dict[str, tuple[int, int]] = {}
        self.pending: PendingStore[Cohort] = PendingStore(store, CohortRowCodec(lambda at: self._by_number.get(at)))
        #: By model, version and start, in the order in which they were made.
        self.cohorts: dict[tuple[str, str, int], Cohort] = {}
        self.next_cohort = 0
        #: Numbers of those that were dropped since the last save.
        self.unsaved_drops: list[int] = []
        self._by_number: dict[int, Cohort] = {}
        self._labels_topic = labels_topic
        self._saves = store is not None

    def cohort(self, version: VersionContext, start_ms: int) -> Cohort:
        """The version's cohort that begins there, made if there is none."""
        key = (version.model.spec.model, version.version, start_ms)
        cohort = self.cohorts.get(key)
        if cohort is None:
            cohort = Cohort(self.next_cohort, version, start_ms)
            self.cohorts[key] = self._by_number[cohort.number] = cohort
            self.next_cohort += 1
        return cohort

    def restore(self, cohorts: Iterable[Cohort], next_cohort: int) -> None:
        """Begin with cohorts that were saved."""
        for cohort in cohorts:
            self.cohorts[cohort.version.model.spec.model, cohort.version.version, cohort.start_ms] = cohort
            self._by_number[cohort.number] = cohort
        self.next_cohort = next_cohort

    def drop(self, cohort: Cohort) -> None:
        """Forget a cohort and its rows."""
        self.pending.drop(cohort)
        del self.cohorts[cohort.version.model.spec.model, cohort.version.version, cohort.start_ms]
        del self._by_number[cohort.number]
        if self._saves:
            self.unsaved_drops.append(cohort.number)

    # -- dead letters --------------------------------------------------------------------------------------------

    def refuse(self, letters: list[DeadLetter]) -> None:
        if not self.silent:
            self.outputs.dead_letters += letters

    def refuse_label(self, label: WaitingLabel, code: str, message: str) -> None:
        if not self.silent:
            topic, partition, value = self._labels_topic, self.partition, label.record_value
            letter = DeadLetter(topic, partition, label.offset, label.record_key, value, (), code, message)
            self.outputs.dead_letters.append(letter)

    def give_up(self, label: WaitingLabel) -> None:
        """No prediction can be joined with it any more."""
        message = f"no prediction {label.key[1]!r} came within a window after the label"
        self.refuse_label(label, "no_prediction", message)
