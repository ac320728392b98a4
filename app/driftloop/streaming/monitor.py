"""The live monitor: record batches into the core of each source partition, what comes out to Kafka.

A batch is decoded, joined and counted by the core; labeled rows and dead letters are produced at once; every
``publish_interval_ms`` changed partials are produced, everything is flushed, and only then progress says so. Whatever
happened after the last progress is done again after a crash.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import structlog

from driftloop.checkpoints.folders import PartitionStore
from driftloop.events.batch import RecordBatch
from driftloop.events.messages import SourceProgress
from driftloop.joining.store import StoreError
from driftloop.kafka.config import ClientConfig, client_config
from driftloop.kafka.log_reader import LogReadError, at_their_ends, read_batches
from driftloop.kafka.producer import Producer
from driftloop.monitoring.catalog import Catalog
from driftloop.monitoring.outputs import MonitorOutputs
from driftloop.monitoring.source import SourceMonitor
from driftloop.observability.metrics import Metrics
from driftloop.settings import Settings
from driftloop.spec import ModelSpec
from driftloop.streaming.alignment import Position
from driftloop.streaming.dead_letters import produce_dead_letters
from driftloop.streaming.idleness import Idleness
from driftloop.streaming.local_state import LocalState
from driftloop.streaming.made_by import limits_of
from driftloop.streaming.placement import model_partition
from driftloop.streaming.recovery import Recovered, latest_progress, recover

__all__ = ["MonitorService"]

log = structlog.get_logger(__name__)
_encode = msgspec.json.Encoder().encode
ArgumentT = TypeVar("ArgumentT")


@dataclass
class _Source:
    """One assigned source partition."""

    monitor: SourceMonitor
    store: PartitionStore | None = None
    published: SourceProgress | None = None


class MonitorService:
    """Source partitions of one worker. Not thread-safe: one asyncio loop. ``specs``: all that the catalog has."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        producer: Producer,
        metrics: Metrics,
        worker_id: str,
        specs: Iterable[ModelSpec],
    ) -> None:
        self._settings = settings
        self._topics = settings.topics
        self._config: ClientConfig = client_config(settings)
        self._catalog = catalog
        self._producer = producer
        self._metrics = metrics
        self._worker_id = worker_id
        self._limits = limits_of(settings)
        self._local = LocalState(settings, self._config, self._limits, list(specs))
        self._sources: dict[int, _Source] = {}
        self._idleness = Idleness(settings.idle_timeout_ms / 1000)
        self._lock = asyncio.Lock()
        self._last_publish_s = 0.0

    def show_lag(self, end_offset: Callable[[str, int], int | None]) -> None:
        """Export how many records wait; ``end_offset`` tells a partition's end as known from the last fetch."""
        for partition, source in self._sources.items():
            monitor = source.monitor
            for topic, offset in (
                (self._topics.predictions, monitor.predictions_offset),
                (self._topics.labels, monitor.labels_offset),
            ):
                end = end_offset(topic, partition)
                if end is not None:
                    self._metrics.progress(topic, partition, lag=end - offset)

    def positions(self) -> list[Position]:
        """How far each source partition that is here has been taken in."""
        return [
            Position(
                partition,
                source.monitor.predictions_offset,
                source.monitor.predictions_max_ms,
                source.monitor.labels_offset,
                source.monitor.labels_max_ms,
            )
            for partition, source in self._sources.items()
        ]

    @property
    def partitions(self) -> list[int]:
        """Source partitions whose state is there."""
        return sorted(self._sources)

    # -- partitions come and go ----------------------------------------------------------------------------------

    async def assign(self, partitions: Iterable[int]) -> None:
        """Rebuild the state of partitions that are new here."""
        async with self._lock:
            new = [partition for partition in partitions if partition not in self._sources]
            if not new:
                return
            started_s = time.monotonic()
            progress = await asyncio.to_thread(latest_progress, self._config, self._topics.monitor_progress)
            await self._make_room()
            found: list[Recovered] = []
            for partition in new:
                store = await asyncio.to_thread(self._local.open, partition)
                found.append(await self._recover(partition, progress.get(partition), store))
            for partition in new:
                await self._mending(partition, self._finish_sweep, partition)
            self._idleness.not_served(time.monotonic())
            self._show_latest()
            log.info(
                "partitions ready",
                partitions=new,
                from_checkpoint=[at for at, one in zip(new, found, strict=True) if one.from_checkpoint],
                records_read=sum(one.records for one in found),
                seconds=round(time.monotonic() - started_s, 2),
            )

    async def _recover(
        self, partition: int, progress: SourceProgress | None, store: PartitionStore | None
    ) -> Recovered:
        def make(store: PartitionStore | None, *, go_on: bool) -> SourceMonitor:
            return SourceMonitor(
                partition,
                self._catalog,
                self._limits,
                predictions_topic=self._topics.predictions,
                labels_topic=self._topics.labels,
                restart=progress,
                store=store,
                go_on=go_on,
            )

        def taken(monitor: SourceMonitor, store: PartitionStore | None) -> None:
            self._local.make_room_in(_Source(monitor, store, progress), self._sources.values())

        predictions, labels = self._topics.predictions, self._topics.labels
        found = await asyncio.to_thread(recover, make, store, progress, self._config, predictions, labels, taken)
        self._sources[partition] = _Source(found.monitor, found.store, progress)
        for topic in (predictions, labels):
            self._idleness.seen((topic, partition), time.monotonic())
        return found

    async def _rebuild_lost(self, partition: int, error: StoreError, *, use_disk: bool = True) -> None:
        """What is on disk can't be read any more: rebuild the state from the logs, at the progress published last."""
        log.error("local state was lost, rebuilding it from the logs", partition=partition, reason=str(error))
        source = self._sources.pop(partition)
        await asyncio.to_thread(self._local.close, partition, source.store)
        store = await asyncio.to_thread(self._local.open_empty, partition) if use_disk else None
        found = await self._recover(partition, source.published, store)
        self._idleness.not_served(time.monotonic())
        log.info("partitions ready", partitions=[partition], from_checkpoint=[], records_read=found.records)

    async def revoke(self, partitions: Iterable[int]) -> None:
        """Publish what the partitions have, and forget them: another worker goes on from there."""
        async with self._lock:
            gone = [partition for partition in partitions if partition in self._sources]
            if gone:
                await self._publish(gone)
            for partition in gone:
                source = self._sources.pop(partition)
                self._idleness.forget(partition)
                await asyncio.to_thread(self._local.save_last, source)
                await asyncio.to_thread(self._local.close, partition, source.store)
                for topic in (self._topics.predictions, self._topics.labels):
                    self._metrics.forget_partition(topic, partition)

    # -- events --------------------------------------------------------------------------------------------------

    async def take(self, batch: RecordBatch) -> None:
        """One batch from the stream. Returns when it is in the state; publishing follows on its interval."""
        if batch.partition not in self._sources:
            await self.assign([batch.partition])
        async with self._lock:
            if batch.partition not in self._sources:
                return  # it went to another worker while this waited
            await self._mending(batch.partition, self._take_all, batch)
            if time.monotonic() - self._last_publish_s >= self._settings.publish_interval_ms / 1000:
                await self._publish(self._sources)

    async def _mending(self, partition: int, work: Callable[[ArgumentT], Awaitable[None]], argument: ArgumentT) -> None:
        """Do something that may read from the partition's store, and again if its state had to be rebuilt."""
        for use_disk in (True, False, None):
            try:
                await work(argument)
                break
            except StoreError as error:
                assert use_disk is not None, "without a store none can fail"
                await self._rebuild_lost(partition, error, use_disk=use_disk)

    async def _take_all(self, batch: RecordBatch) -> None:
        await self._finish_sweep(batch.partition)
        await self._fill_gap(batch)
        started_s = time.perf_counter()
        self._take(self._sources[batch.partition], batch)
        self._metrics.batch(batch.topic, len(batch), time.perf_counter() - started_s)
        await self._make_room()
        await self._finish_sweep(batch.partition)

    async def _finish_sweep(self, partition: int) -> None:
        """Any number of labels may be given up at once: what a rebuild or the last batch has left, piece by piece."""
        while (monitor := self._sources[partition].monitor).sweeping:
            await asyncio.to_thread(monitor.sweep)
            self._emit(monitor.drain(), self._topics.labels)
            await self._make_room()

    def _take(self, source: _Source, batch: RecordBatch) -> None:
        if batch.topic == self._topics.predictions:
            source.monitor.take_predictions(batch)
        else:
            source.monitor.take_labels(batch)
        self._idleness.seen((batch.topic, batch.partition), time.monotonic())
        self._emit(source.monitor.drain(), batch.topic)

    async def _fill_gap(self, batch: RecordBatch) -> None:
        """Faust delivers from its committed offset, which may be ahead of what the state was rebuilt from."""
        is_predictions = batch.topic == self._topics.predictions
        monitor = self._sources[batch.partition].monitor
        have = monitor.predictions_offset if is_predictions else monitor.labels_offset
        if batch.offsets[0] <= have:
            return
        for missing in await asyncio.to_thread(
            lambda: list(read_batches(self._config, batch.topic, batch.partition, have, batch.offsets[0]))
        ):
            self._take(self._sources[batch.partition], missing)
            await self._make_room()
            await self._finish_sweep(batch.partition)

    async def _make_room(self) -> None:
        """Rows beyond what memory may hold go to disk."""
        if self._local.full(self._sources.values()):
            await self._publish(self._sources)
            await asyncio.to_thread(self._local.make_room, self._sources)
            await self._mend()

    async def _mend(self) -> None:
        for partition, error in list(self._local.lost.items()):
            del self._local.lost[partition]
            await self._rebuild_lost(partition, error)

    def _emit(self, outputs: MonitorOutputs, topic: str) -> None:
        for key, value in outputs.labeled:
            self._producer.produce(self._topics.labeled, value, key)
        produce_dead_letters(self._producer, self._topics.dead_letters, outputs.dead_letters, "monitor")
        for letter in outputs.dead_letters:
            self._metrics.dead_letter(letter.code)
        for model_id, count in outputs.predictions.items():
            self._metrics.predictions(model_id, count)
        for model_id, count in outputs.labels.items():
            self._metrics.labels(model_id, count)
        for model_id, delays_ms in outputs.delays_ms.items():
            self._metrics.joined(model_id, delays_ms)
        for model_id, count in outputs.late.items():
            self._metrics.late(model_id, topic, count)
        for model_id, count in outputs.duplicates.items():
            self._metrics.duplicates(model_id, topic, count)

    # -- publishing ----------------------------------------------------------------------------------------------

    async def publish(self) -> None:
        """Publish what has changed; for a timer, so that quiet partitions speak too."""
        await self._look_for_idle_ones()
        async with self._lock:
            await self._publish(self._sources)
            if self._local.due():
                await asyncio.to_thread(self._local.save_all, self._sources)
                await self._mend()

    async def _look_for_idle_ones(self) -> None:
        """Outside of the lock: the broker may take its time."""
        looked_at = {
            at: offset
            for at in self._idleness.to_look_at(time.monotonic())
            if (offset := self._next_offset(*at)) is not None
        }
        if not looked_at:
            return
        try:
            ended = await asyncio.to_thread(at_their_ends, self._config, looked_at)
        except LogReadError as error:
            log.warning("cannot see whether more is to come, windows wait", reason=str(error))
            return
        async with self._lock:
            still = [at for at, offset in looked_at.items() if self._next_offset(*at) == offset]
            self._idleness.found(still, ended, time.monotonic())

    def _next_offset(self, topic: str, partition: int) -> int | None:
        source = self._sources.get(partition)
        if source is None:
            return None
        monitor = source.monitor
        return monitor.predictions_offset if topic == self._topics.predictions else monitor.labels_offset

    async def _publish(self, partitions: Iterable[int]) -> None:
        self._last_publish_s = time.monotonic()
        spoken: list[SourceProgress] = []
        for partition in list(partitions):
            source = self._sources[partition]
            progress = self._progress(source)
            if progress == source.published:
                continue
            for partial in source.monitor.take_partials():
                key = "|".join(
                    (
                        partial.model_id,
                        partial.model_version,
                        partial.kind,
                        str(partial.window_start_ms),
                        str(partial.window_end_ms),
                        partial.segment,
                        "late" if partial.late else "in time",
                        str(partition),
                    )
                )
                at = model_partition(partial.model_id, self._topics.model_partitions)
                self._producer.produce(self._topics.window_partials, _encode(partial), key.encode(), at)
            spoken.append(progress)
            source.published = progress
        if not spoken:
            await asyncio.to_thread(self._producer.flush)  # dead letters of a sweep that goes on
            return
        for progress in spoken:
            value, key_bytes = _encode(progress), f"progress|{progress.source_partition}".encode()
            for at in range(self._topics.model_partitions):
                self._producer.produce(self._topics.window_partials, value, key_bytes, at)
        await asyncio.to_thread(self._producer.flush)
        # Only now, when all that it vouches for is written.
        for progress in spoken:
            self._producer.produce(
                self._topics.monitor_progress, _encode(progress), str(progress.source_partition).encode(), 0
            )
            self._show(progress)
        await asyncio.to_thread(self._producer.flush)
        self._show_latest()

    def _show_latest(self) -> None:
        """Export how fresh each model's predictions are, over the partitions that are here."""
        latest: dict[str, tuple[int, int]] = {}
        for source in self._sources.values():
            for model_id, (event_ms, record_ms) in source.monitor.latest_ms.items():
                known = latest.get(model_id, (event_ms, record_ms))
                latest[model_id] = (max(event_ms, known[0]), max(record_ms, known[1]))
        for model_id, (event_ms, record_ms) in latest.items():
            self._metrics.latest_prediction(model_id, event_ms, record_ms)

    def _progress(self, source: _Source) -> SourceProgress:
        partition = source.monitor.partition
        return source.monitor.progress(
            predictions_idle=self._idleness.is_idle((self._topics.predictions, partition)),
            labels_idle=self._idleness.is_idle((self._topics.labels, partition)),
            worker_id=self._worker_id,
        )

    def _show(self, progress: SourceProgress) -> None:
        partition = progress.source_partition
        self._metrics.progress(self._topics.predictions, partition, event_time_ms=progress.predictions_max_ms)
        self._metrics.progress(self._topics.labels, partition, event_time_ms=progress.labels_max_ms)
        monitor = self._sources[partition].monitor
        self._metrics.pending(partition, monitor.pending_rows, monitor.pending_in_memory)
        self._metrics.waiting_labels(partition, monitor.waiting_labels, monitor.waiting_in_memory)
