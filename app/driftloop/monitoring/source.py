"""One source partition: predictions and labels in, labeled rows, dead letters and window partials out.

The path of a batch: decode it, settle what is late, join, update the statistics once per batch and column, emit.
Everything is a function of the two logs: cutting them into other batches, or interleaving them otherwise, changes no
final partial.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftloop.events.batch import RecordBatch
from driftloop.events.messages import Labeled, SourceProgress, WindowPartial
from driftloop.events.time import NEVER_MS
from driftloop.joining.pending import LabelVerdict, Pending, WaitingLabel, judge_label
from driftloop.joining.pending_store import PendingStore
from driftloop.joining.store import StateStore, StoreWrite
from driftloop.monitoring.catalog import Catalog, ModelContext, VersionContext
from driftloop.monitoring.cohort import Cohort, LogPoint
from driftloop.monitoring.intake import Intake, Limits, PredictionRows, RefusedPrediction
from driftloop.monitoring.outputs import DeadLetter, MonitorOutputs
from driftloop.monitoring.rows import CohortRowCodec
from driftloop.monitoring.saved import SavedSource, SourceHead, read_source, write_cohorts
from driftloop.monitoring.updates import OutcomeUpdates, update_input_panes
from driftloop.profiles.segments import segment_names
from driftloop.windows.watermark import maxima_before

__all__ = ["SourceMonitor"]

_encode = msgspec.json.Encoder().encode

#: Labels that are given up in one step, so that any number of them may be due at once.
_GIVEN_UP_AT_ONCE = 10_000

_REFUSED = {
    LabelVerdict.TOO_LATE: ("label_too_late", "the label became known after label horizon and late retention"),
    LabelVerdict.BEFORE_PREDICTION: (
        "label_before_prediction",
        "the label became known before the prediction was made",
    ),
}


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
        self.outputs = MonitorOutputs()
        #: By model: largest event time of its predictions, and the record time of the last one. Not part of any report.
        self.latest_ms: dict[str, tuple[int, int]] = {}
        self._topics = (predictions_topic, labels_topic)
        self._intake = Intake(catalog, limits)
        self._store = store
        self._pending: PendingStore[Cohort] = PendingStore(store, CohortRowCodec(lambda at: self._by_number.get(at)))
        self._cohorts: dict[tuple[str, str, int], Cohort] = {}
        self._by_number: dict[int, Cohort] = {}
        self._next_cohort = 0
        self._unsaved_drops: list[int] = []
        self._swept_at_ms = NEVER_MS
        self._restart = restart
        #: Labels that were due when predictions had come to this event time have been given up; None if nobody knows.
        self._settled_ms: int | None = NEVER_MS if restart is None else restart.settled_ms
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
        outputs, self.outputs = self.outputs, MonitorOutputs()
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
            self._take_group(batch, version, group, before[group.indexes], updates)
        updates.apply()
        self._pending.settle()
        for refused in rows.refused:
            self._count_refused(refused, batch.offsets[refused.index], int(before[refused.index]))
        self._refuse(rows.dead_letters)
        self.predictions_offset = batch.offsets[-1] + 1
        if not self._end_rebuild_if_reached():
            self.sweep()

    def _take_group(
        self,
        batch: RecordBatch,
        version: VersionContext,
        group: PredictionRows,
        before: NDArray[np.int64],
        updates: OutcomeUpdates,
    ) -> None:
        model = version.model
        spec = model.spec
        watermarks = before - model.lateness_ms
        fresh: list[int] = []
        arrived: list[Pending[Cohort]] = []
        segment_columns = [
            (names, [group.column(name) for name in names]) for names in map(segment_names, spec.segments)
        ]
        weights = None if model.weight_column is None else np.asarray(group.column(model.weight_column), np.float64)
        for index, event in enumerate(group.events):
            time_ms = event.event_time_ms
            offset = group.offsets[index]
            watermark = int(watermarks[index])
            key = (spec.model, event.prediction_id)
            known = self._pending.find(key)
            if known is not None and watermark < known.cohort.drop_ms:
                self.outputs.duplicates[spec.model] += 1
                if watermark < known.cohort.end_ms:
                    known.cohort.count_repeated()
                continue
            start_ms = time_ms - time_ms % model.window_ms
            end_ms = start_ms + model.window_ms
            if end_ms + model.keep_ms <= watermark:
                self._refuse(
                    [
                        DeadLetter.of(
                            batch,
                            int(group.indexes[index]),
                            "too_late",
                            "the prediction's window was closed and forgotten",
                        )
                    ]
                )
                continue
            cohort = self._cohort(version, start_ms)
            cohort.saw_prediction(LogPoint(offset, int(before[index])))
            pending = Pending(
                key=key,
                cohort=cohort,
                event_time_ms=time_ms,
                offset=offset,
                features=event.features,
                prediction=event.prediction,
                value=group.values[index],
                segments=tuple(
                    version.segment(
                        names, [None if column[index] is None else str(column[index]) for column in columns]
                    )
                    for names, columns in segment_columns
                ),
                late=end_ms <= watermark,
                watermark_ms=watermark,
                variant=event.variant,
                weight=1.0 if weights is None else float(weights[index]),
            )
            self._pending.add(pending, known)
            fresh.append(index)
            arrived.append(pending)
        self._note_latest(batch, group)
        self.outputs.predictions[spec.model] += len(arrived)
        self.outputs.late[spec.model] += sum(pending.late for pending in arrived)
        update_input_panes(group, fresh, arrived)
        for pending in arrived:
            updates.predicted(pending)
        if self.waiting_labels:
            for pending in arrived:
                for waiting in self._pending.labels.claim(pending.key):
                    self._join(model, pending, waiting, updates)

    def _count_refused(self, refused: RefusedPrediction, offset: int, before_ms: int) -> None:
        """A dead letter counts in the window that it would have been in, unless that was forgotten."""
        model = refused.version.model
        start_ms = refused.event_time_ms - refused.event_time_ms % model.window_ms
        end_ms = start_ms + model.window_ms
        watermark = before_ms - model.lateness_ms
        if end_ms + model.keep_ms <= watermark:
            return
        cohort = self._cohort(refused.version, start_ms)
        cohort.saw_prediction(LogPoint(offset, before_ms))
        cohort.count_refused(refused.feature, refused.kind, offset, late=end_ms <= watermark)

    def _note_latest(self, batch: RecordBatch, group: PredictionRows) -> None:
        model_id = group.version.model.spec.model
        event_ms, record_ms = self.latest_ms.get(model_id, (NEVER_MS, NEVER_MS))
        event_ms = max(event_ms, int(group.times_ms.max()))
        self.latest_ms[model_id] = (event_ms, max(record_ms, batch.timestamps_ms[group.indexes[-1]]))

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
                self._join(model, pending, label, updates)
            elif self.predictions_max_ms >= label.due_ms and not self.rebuilding:
                self._refuse([self._dead_label(label, "no_prediction", _no_prediction(label))])
            else:
                self._pending.labels.add(label)
        updates.apply()
        self._pending.settle()
        self._refuse(rows.dead_letters)
        self.labels_offset = batch.offsets[-1] + 1
        if not self._end_rebuild_if_reached():
            self.sweep()

    def _join(
        self, model: ModelContext, pending: Pending[Cohort], label: WaitingLabel, updates: OutcomeUpdates
    ) -> None:
        cohort = pending.cohort
        if pending.watermark_ms >= label.event_time_ms + model.window_ms:
            # A label that had waited was given up when this prediction came; one that comes later fares alike.
            self._refuse([self._dead_label(label, "no_prediction", _no_prediction(label))])
            return
        rank = (label.revision, label.event_time_ms)
        verdict = judge_label(
            predicted_at_ms=pending.event_time_ms,
            labeled_at_ms=label.event_time_ms,
            label_watermark_ms=label.max_before_ms - model.lateness_ms,
            window_end_ms=cohort.end_ms,
            horizon_ms=model.horizon_ms,
            retention_ms=model.retention_ms,
            lateness_ms=model.lateness_ms,
            drop_ms=cohort.drop_ms,
        )
        cohort.saw_label(LogPoint(label.offset, label.max_before_ms))
        if verdict in _REFUSED:
            code, message = _REFUSED[verdict]
            self._refuse([self._dead_label(label, code, message)])
            return
        counts = verdict is not LabelVerdict.BEYOND_HORIZON and _outranks(rank, pending.counted_rank)
        stands = _outranks(rank, pending.standing_rank)
        if not counts and not stands:
            self.outputs.duplicates[model.spec.model] += 1
            return
        self._pending.changed(pending)
        late = verdict is LabelVerdict.LATE or pending.late
        delay_ms = max(0, label.event_time_ms - pending.event_time_ms)
        if counts:
            if pending.counted_rank is not None:
                self.outputs.corrections[model.spec.model] += 1
                updates.remove(pending, late=late)
            pending.label, pending.label_delay_ms, pending.counted_rank = label.value, delay_ms, rank
            updates.add(pending, label.offset, late=late)
        if stands:
            pending.standing_rank = rank
            self._emit_labeled(pending, label, delay_ms, late=late or not counts)

    def _emit_labeled(self, pending: Pending[Cohort], label: WaitingLabel, delay_ms: int, *, late: bool) -> None:
        model_id, prediction_id = pending.key
        outputs = self.outputs
        outputs.joined[model_id] += 1
        outputs.late[model_id] += late and not pending.late
        outputs.delays_ms.setdefault(model_id, []).append(delay_ms)
        if self.rebuilding:
            return
        row = Labeled(
            prediction_id=prediction_id,
            model_id=model_id,
            model_version=pending.cohort.version.version,
            predicted_at_ms=pending.event_time_ms,
            labeled_at_ms=label.event_time_ms,
            features=pending.features,
            prediction=pending.prediction,
            label=label.raw,
            revision=label.revision,
            late=late,
            source_partition=self.partition,
            prediction_offset=pending.offset,
            label_offset=label.offset,
            variant=pending.variant,
        )
        outputs.labeled.append((prediction_id.encode(), _encode(row)))

    # -- windows -------------------------------------------------------------------------------------------------

    def _cohort(self, version: VersionContext, start_ms: int) -> Cohort:
        model = version.model
        key = (model.spec.model, version.version, start_ms)
        cohort = self._cohorts.get(key)
        if cohort is None:
            cohort = self._cohorts[key] = self._by_number[self._next_cohort] = Cohort(
                self._next_cohort, version, start_ms
            )
            self._next_cohort += 1
        return cohort

    def _finality(self, cohort: Cohort) -> tuple[bool, bool]:
        """Whether this partition's part of the input window, and of the outcome window, can change no more."""
        model = cohort.version.model
        input_final = self.predictions_max_ms - model.lateness_ms >= cohort.end_ms
        labels_done = self.labels_max_ms - model.lateness_ms >= cohort.end_ms + model.horizon_ms
        return input_final, input_final and labels_done

    def take_partials(self, *, final_only: bool = False) -> Iterator[WindowPartial]:
        """Partials that changed or became final since the last call; with ``final_only`` none of rows in time whose
        window is still open. Publish them before :meth:`progress`."""
        for cohort in self._cohorts.values():
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
        for cohort in self._cohorts.values():
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
            settled_ms=self._settled_ms,
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
            swept_at_ms=self._swept_at_ms,
            next_cohort=self._next_cohort,
            latest_ms=self.latest_ms,
            waiting_labels=self.waiting_labels,
        )
        write = StoreWrite()
        cohorts = [(cohort, self._pending.count(cohort)) for cohort in self._cohorts.values()]
        written = write_cohorts(write, head, cohorts, self._unsaved_drops)
        self._pending.save(write)
        self._unsaved_drops = []
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
        self._swept_at_ms, self._next_cohort = head.swept_at_ms, head.next_cohort
        self.latest_ms = head.latest_ms
        for cohort, _ in saved.cohorts:
            self._cohorts[cohort.version.model.spec.model, cohort.version.version, cohort.start_ms] = cohort
            self._by_number[cohort.number] = cohort
        self._pending.restore(saved.cohorts)
        self._pending.labels.restore(head.waiting_labels, saved.first_label, head.labels_offset)
        restart = self._restart
        if (
            restart is not None
            and self.predictions_offset == restart.predictions_offset
            and self.labels_offset == restart.labels_offset
        ):
            self._restart = None  # just where it was left: nothing is to be rebuilt, nothing to be forgotten

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
        for cohort in self._cohorts.values():
            input_final, outcome_final = self._finality(cohort)
            cohort.mark_clean(input_final=input_final, outcome_final=outcome_final)
        self.outputs = MonitorOutputs()
        self._restart = None
        if self._settled_ms is None:
            self._settled_ms = self.predictions_max_ms
        # What could be forgotten at the published offsets had been: it is here in part only, or was reported already.
        # But what a sweep says must be published before it is saved, so it is the shell's to begin it.
        self._swept_at_ms = NEVER_MS
        return True

    @property
    def sweeping(self) -> bool:
        """A sweep has more to do, or none was made after a rebuild. Call :meth:`sweep`, and publish in between; else
        the next batch does, all at once."""
        if self.rebuilding or not (self._cohorts or self.waiting_labels):
            return False
        return min(self.predictions_max_ms, self.labels_max_ms) >= self._swept_at_ms

    def sweep(self) -> None:
        """Forget what has expired, once per half window or so of event time; of labels that are given up at most some
        thousands at a time."""
        if not self.sweeping:
            return
        if not self._give_up_labels():
            return
        shortest_ms = min((cohort.version.model.window_ms for cohort in self._cohorts.values()), default=60_000)
        self._swept_at_ms = min(self.predictions_max_ms, self.labels_max_ms) + shortest_ms // 2
        # After the labels, since a rebuild can't tell labels of forgotten cohorts from such that wait in vain.
        self._drop_expired_cohorts()

    def _finish_sweep(self) -> None:
        while self.sweeping:
            self.sweep()

    def _drop_expired_cohorts(self) -> None:
        """Forget expired cohorts that were published as final."""
        for key, cohort in list(self._cohorts.items()):
            lateness_ms = cohort.version.model.lateness_ms
            passed_ms = min(self.predictions_max_ms, self.labels_max_ms) - lateness_ms
            if passed_ms >= cohort.drop_ms and cohort.published:
                self._pending.drop(cohort)
                del self._cohorts[key], self._by_number[cohort.number]
                if self._store is not None:
                    self._unsaved_drops.append(cohort.number)

    def _give_up_labels(self) -> bool:
        """Dead letters of labels whose prediction can't come any more, in the order of due time and offset. Whether
        those were all."""
        assert self._settled_ms is not None, "nothing is given up while the state is being rebuilt"
        labels = self._pending.labels.take_due(self.predictions_max_ms, _GIVEN_UP_AT_ONCE)
        # Those due by the last sweep of an earlier owner were given up then; or they belong to forgotten cohorts, which
        # are kept for longer than their labels can be due.
        new = [label for label in labels if label.due_ms > self._settled_ms]
        self._refuse([self._dead_label(label, "no_prediction", _no_prediction(label)) for label in new])
        if len(labels) < _GIVEN_UP_AT_ONCE:
            self._settled_ms = self.predictions_max_ms
            return True
        self._settled_ms = max(self._settled_ms, labels[-1].due_ms - 1)
        return False

    def _dead_label(self, label: WaitingLabel, code: str, message: str) -> DeadLetter:
        return DeadLetter(
            self._topics[1], self.partition, label.offset, label.record_key, label.record_value, (), code, message
        )

    def _refuse(self, letters: list[DeadLetter]) -> None:
        if not self.rebuilding:
            self.outputs.dead_letters += letters


def _no_prediction(label: WaitingLabel) -> str:
    return f"no prediction {label.key[1]!r} came within a window after the label"


def _outranks(rank: tuple[int, int], other: tuple[int, int] | None) -> bool:
    return other is None or rank > other
