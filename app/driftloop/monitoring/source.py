"""One source partition: predictions and labels in, labeled rows, dead letters and window partials out.

The path of a batch: decode it, settle what is late, join, update the statistics once per batch and column, emit.
Everything is a function of the two logs: cutting them into other batches, or interleaving them otherwise, changes no
final partial.
"""

from __future__ import annotations

from collections.abc import Iterator

from driftloop.events.batch import RecordBatch
from driftloop.events.messages import SourceProgress, WindowPartial
from driftloop.events.time import NEVER_MS
from driftloop.joining.pending import WaitingLabel
from driftloop.joining.store import StateStore, StoreWrite
from driftloop.monitoring.arrivals import count_refused, take_predictions
from driftloop.monitoring.catalog import Catalog
from driftloop.monitoring.cohort import Cohort, LogPoint
from driftloop.monitoring.intake import Intake, Limits
from driftloop.monitoring.joins import join_label
from driftloop.monitoring.outputs import MonitorOutputs
from driftloop.monitoring.saved import SavedSource, SourceHead, read_source, write_cohorts
from driftloop.monitoring.state import SourceState
from driftloop.monitoring.sweep import Sweep
from driftloop.monitoring.updates import OutcomeUpdates
from driftloop.windows.watermark import maxima_before

__all__ = ["SourceMonitor"]


class SourceMonitor:
    """State and statistics of one source partition (a partition of predictions and the same one of labels).

    ``restart`` is the progress that an earlier owner published: the monitor then begins at its restart offsets and is
    silent until both topics have come to the offsets that were published.

    ``store`` keeps pending rows that :meth:`evict` takes out of memory, and the whole state whenever :meth:`save` is
    called. With ``go_on`` the monitor begins with what the store holds (if it does not hold anything: with nothing),
    and is silent from there to the published offsets; raises ``UnusableState`` if it can't. Without, an empty store is
    expected.
    """

    def __init__(
        self,
        partition: int,
        catalog: Catalog,
        limits: Limits,
        *,
        predictions_topic: str,
        labels_topic: str,
        restart: SourceProgress | None = None,
        store: StateStore | None = None,
        go_on: bool = False,
    ) -> None:
        self.partition = partition
        self._intake = Intake(catalog, limits)
        self._state = SourceState(partition, labels_topic, store)
        self._pending = self._state.pending
        self._sweep = Sweep(self._state, NEVER_MS if restart is None else restart.settled_ms)
        self._restart = restart
        self._state.silent = restart is not None
        self.predictions_offset = self.labels_offset = 0
        self.predictions_max_ms = self.labels_max_ms = NEVER_MS
        saved = read_source(store, self._intake, restart) if store is not None and go_on else None
        #: It began with the state that the store held.
        self.went_on = saved is not None
        if saved is not None:
            self._begin_with(saved)
        elif restart is not None:
            self.predictions_offset = restart.restart_predictions_offset
            self.predictions_max_ms = restart.restart_predictions_max_ms
            self.labels_offset = restart.restart_labels_offset
            self.labels_max_ms = restart.restart_labels_max_ms
            self._end_rebuild_if_reached()

    # -- what a shell asks ---------------------------------------------------------------------------------------

    @property
    def outputs(self) -> MonitorOutputs:
        """What has come out since :meth:`drain` was called."""
        return self._state.outputs

    @property
    def latest_ms(self) -> dict[str, tuple[int, int]]:
        """By model: largest event time of its predictions, and the record time of the last one. Not part of any
        report."""
        return self._state.latest_ms

    @property
    def rebuilding(self) -> bool:
        """Still below the offsets that were published before: nothing is emitted."""
        return self._restart is not None

    @property
    def pending_rows(self) -> int:
        return len(self._pending)

    @property
    def pending_in_memory(self) -> int:
        return self._pending.pending_in_memory

    @property
    def waiting_labels(self) -> int:
        """Labels that came before their prediction."""
        return len(self._pending.labels)

    @property
    def waiting_in_memory(self) -> int:
        return self._pending.labels.in_memory

    @property
    def rows_in_memory(self) -> int:
        """Pending predictions and waiting labels, and what else a :meth:`save` frees."""
        return self._pending.rows_in_memory

    def rebuild_stops(self) -> tuple[int, int]:
        """Offsets (predictions, labels) up to which the state must be rebuilt before it can emit."""
        if self._restart is None:
            return self.predictions_offset, self.labels_offset
        return self._restart.predictions_offset, self._restart.labels_offset

    def end_rebuild(self) -> None:
        """Both topics were read up to :meth:`rebuild_stops` (offsets may jump: the last record can stand before it).
        Labels that had waited in vain are given up by the next :meth:`sweep`."""
        if self._restart is not None:
            self.predictions_offset = max(self.predictions_offset, self._restart.predictions_offset)
            self.labels_offset = max(self.labels_offset, self._restart.labels_offset)
            self._end_rebuild_if_reached()

    def drain(self) -> MonitorOutputs:
        """What has come out since the last call."""
        outputs, self._state.outputs = self._state.outputs, MonitorOutputs()
        return outputs

    # -- predictions ---------------------------------------------------------------------------------------------

    def take_predictions(self, batch: RecordBatch) -> None:
        """Take in consecutive records of the predictions topic; those taken in before are skipped."""
        batch = batch.since(self.predictions_offset)
        if not len(batch):
            return
        self._finish_sweep()
        self._check_rebuild(batch, self.rebuild_stops()[0])
        rows = self._intake.predictions(batch)
        before, self.predictions_max_ms = maxima_before(rows.times_ms, self.predictions_max_ms)
        updates = OutcomeUpdates()
        keys = (
            (version.model.spec.model, event.prediction_id)
            for version, group in rows.groups.items()
            for event in group.events
        )
        self._pending.load(keys, labels=True)
        for version, group in rows.groups.items():
            take_predictions(self._state, batch, version, group, before[group.indexes], updates)
        updates.apply()
        self._pending.settle()
        for refused in rows.refused:
            count_refused(self._state, refused, batch.offsets[refused.index], int(before[refused.index]))
        self._state.refuse(rows.dead_letters)
        self.predictions_offset = batch.offsets[-1] + 1
        if not self._end_rebuild_if_reached():
            self.sweep()

    # -- labels --------------------------------------------------------------------------------------------------

    def take_labels(self, batch: RecordBatch) -> None:
        """Take in consecutive records of the labels topic; those taken in before are skipped."""
        batch = batch.since(self.labels_offset)
        if not len(batch):
            return
        self._finish_sweep()
        self._check_rebuild(batch, self.rebuild_stops()[1])
        rows = self._intake.labels(batch)
        before, self.labels_max_ms = maxima_before(rows.times_ms, self.labels_max_ms)
        updates = OutcomeUpdates()
        self._pending.load((event.model_id, event.prediction_id) for _, _, event, _ in rows.labels)
        for index, model, event, value in rows.labels:
            label = WaitingLabel(
                key=(event.model_id, event.prediction_id),
                event_time_ms=event.event_time_ms,
                due_ms=event.event_time_ms + model.wait_ms,
                revision=event.revision,
                value=value,
                raw=event.label,
                offset=batch.offsets[index],
                max_before_ms=int(before[index]),
                record_key=batch.keys[index],
                record_value=batch.values[index] or b"",
            )
            self.outputs.labels[event.model_id] += 1
            pending = self._pending.find(label.key)
            if pending is not None:
                join_label(self._state, model, pending, label, updates)
            elif self.predictions_max_ms >= label.due_ms and not self.rebuilding:
                self._state.give_up(label)
            else:
                self._pending.labels.add(label)
        updates.apply()
        self._pending.settle()
        self._state.refuse(rows.dead_letters)
        self.labels_offset = batch.offsets[-1] + 1
        if not self._end_rebuild_if_reached():
            self.sweep()

    # -- windows -------------------------------------------------------------------------------------------------

    def _finality(self, cohort: Cohort) -> tuple[bool, bool]:
        """Whether this partition's part of the input window, and of the outcome window, can change no more."""
        model = cohort.version.model
        input_final = self.predictions_max_ms - model.lateness_ms >= cohort.end_ms
        labels_done = self.labels_max_ms - model.lateness_ms >= cohort.end_ms + model.horizon_ms
        return input_final, input_final and labels_done

    def take_partials(self, *, final_only: bool = False) -> Iterator[WindowPartial]:
        """Partials that changed or became final since the last call; with ``final_only`` none of rows in time whose
        window is still open. Publish them before :meth:`progress`."""
        for cohort in self._state.cohorts.values():
            input_final, outcome_final = self._finality(cohort)
            yield from cohort.take_partials(
                self.partition, input_final=input_final, outcome_final=outcome_final, final_only=final_only
            )

    def progress(
        self, *, predictions_idle: bool = False, labels_idle: bool = False, worker_id: str = ""
    ) -> SourceProgress:
        """How far both topics have been taken in, and from where the state can be rebuilt."""
        predictions = LogPoint(self.predictions_offset, self.predictions_max_ms)
        labels = LogPoint(self.labels_offset, self.labels_max_ms)
        for cohort in self._state.cohorts.values():
            if cohort.first_prediction is not None:
                predictions = min(predictions, cohort.first_prediction)
            if cohort.first_label is not None:
                labels = min(labels, cohort.first_label)
        waiting = self._pending.labels.first()
        if waiting is not None:
            labels = min(labels, LogPoint(waiting.offset, waiting.max_before_ms))
        return SourceProgress(
            source_partition=self.partition,
            predictions_offset=self.predictions_offset,
            predictions_max_ms=self.predictions_max_ms,
            labels_offset=self.labels_offset,
            labels_max_ms=self.labels_max_ms,
            restart_predictions_offset=predictions.offset,
            restart_predictions_max_ms=predictions.max_before_ms,
            restart_labels_offset=labels.offset,
            restart_labels_max_ms=labels.max_before_ms,
            predictions_idle=predictions_idle,
            labels_idle=labels_idle,
            worker_id=worker_id,
            settled_ms=self._sweep.settled_ms,
        )

    # -- memory and store ----------------------------------------------------------------------------------------

    def save(self) -> None:
        """Bring the store to the present state, in one atomic step. Raises ``StoreError``, after which the state here
        is what it was. Unless it is still being rebuilt, the progress must have been published before."""
        head = SourceHead(
            predictions_offset=self.predictions_offset,
            predictions_max_ms=self.predictions_max_ms,
            labels_offset=self.labels_offset,
            labels_max_ms=self.labels_max_ms,
            needs_predictions_offset=max(self.predictions_offset, self.rebuild_stops()[0]),
            needs_labels_offset=max(self.labels_offset, self.rebuild_stops()[1]),
            swept_at_ms=self._sweep.next_ms,
            next_cohort=self._state.next_cohort,
            latest_ms=self.latest_ms,
            waiting_labels=self.waiting_labels,
        )
        write = StoreWrite()
        cohorts = [(cohort, self._pending.count(cohort)) for cohort in self._state.cohorts.values()]
        written = write_cohorts(write, head, cohorts, self._state.unsaved_drops)
        self._pending.save(write)
        self._state.unsaved_drops.clear()
        for pane in written:
            pane.saved = True

    def evict(self, rows: int) -> int:
        """Take so many pending predictions and waiting labels out of memory, the oldest of each first; only those are
        that were saved. Returns how many were."""
        return self._pending.evict(rows)

    def _begin_with(self, saved: SavedSource) -> None:
        head = saved.head
        self.predictions_offset, self.predictions_max_ms = head.predictions_offset, head.predictions_max_ms
        self.labels_offset, self.labels_max_ms = head.labels_offset, head.labels_max_ms
        self._sweep.next_ms = head.swept_at_ms
        self._state.latest_ms = head.latest_ms
        self._state.restore((cohort for cohort, _ in saved.cohorts), head.next_cohort)
        self._pending.restore(saved.cohorts)
        self._pending.labels.restore(head.waiting_labels, saved.first_label, head.labels_offset)
        restart = self._restart
        if (
            restart is not None
            and self.predictions_offset == restart.predictions_offset
            and self.labels_offset == restart.labels_offset
        ):
            # Just where it was left: nothing is to be rebuilt, nothing to be forgotten.
            self._restart, self._state.silent = None, False

    # -- rebuilding and forgetting -------------------------------------------------------------------------------

    def _check_rebuild(self, batch: RecordBatch, stop: int) -> None:
        if self.rebuilding and batch.offsets[-1] >= stop:
            raise ValueError(
                f"{batch.topic}[{self.partition}] must be rebuilt up to offset {stop} in both topics first, "
                f"got offset {batch.offsets[-1]}"
            )

    def _end_rebuild_if_reached(self) -> bool:
        restart = self._restart
        if (
            restart is None
            or self.predictions_offset < restart.predictions_offset
            or self.labels_offset < restart.labels_offset
        ):
            return False
        for cohort in self._state.cohorts.values():
            input_final, outcome_final = self._finality(cohort)
            cohort.mark_clean(input_final=input_final, outcome_final=outcome_final)
        self._state.outputs = MonitorOutputs()
        self._restart, self._state.silent = None, False
        # What a sweep says must be published before it is saved, so it is the shell's to begin it.
        self._sweep.begin_after_rebuild(self.predictions_max_ms)
        return True

    @property
    def sweeping(self) -> bool:
        """A sweep has more to do, or none was made after a rebuild. Call :meth:`sweep`, and publish in between; else
        the next batch does, all at once."""
        return self._sweep.due(self.predictions_max_ms, self.labels_max_ms)

    def sweep(self) -> None:
        """Forget what has expired, once per half window or so of event time; of labels that are given up at most some
        thousands at a time."""
        if self.sweeping:
            self._sweep.step(self.predictions_max_ms, self.labels_max_ms)

    def _finish_sweep(self) -> None:
        while self.sweeping:
            self.sweep()
