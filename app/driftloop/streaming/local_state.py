"""When the state of source partitions goes to the local disk: on an interval, when memory is full, at the end.

A state is saved right after the progress that it stands at was published, never ahead of it: what comes after it is
published after it too, by whoever goes on from there. Only while a partition is being rebuilt, silently, it is saved in
between, with the published progress beside it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import structlog

from driftloop.checkpoints.folders import PartitionStore, open_partition
from driftloop.checkpoints.identity import Identity
from driftloop.events.messages import SourceProgress
from driftloop.joining.store import StoreDamaged, StoreError
from driftloop.kafka.admin import log_ids
from driftloop.kafka.config import ClientConfig
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.source import SourceMonitor
from driftloop.settings import Settings
from driftloop.spec import ModelSpec

__all__ = ["LocalState", "SavedSource"]

log = structlog.get_logger(__name__)

#: A disk that failed is not asked again sooner than this, however full memory is.
_RETRY_S = 10.0


class SavedSource(Protocol):
    """A partition with its store, if it has one."""

    @property
    def monitor(self) -> SourceMonitor: ...

    @property
    def store(self) -> PartitionStore | None: ...

    @property
    def published(self) -> SourceProgress | None: ...


class LocalState:
    """Stores of one worker's partitions. Does not decide what is published, only what is saved after that."""

    def __init__(self, settings: Settings, config: ClientConfig, limits: Limits, specs: Sequence[ModelSpec]) -> None:
        self._settings = settings
        self._config = config
        self._limits = limits
        self._specs = specs
        self._root = settings.data_dir / "monitor" / settings.topic_prefix
        self._logs: tuple[str, ...] | None = None
        self._saved_s = time.monotonic()
        self._failed_s = -_RETRY_S
        self._at: dict[int, tuple[int, int]] = {}
        #: Partitions whose store can't be read any more, with the reason; for the service to rebuild.
        self.lost: dict[int, StoreDamaged] = {}

    @property
    def _keep(self) -> bool:
        return self._settings.checkpoint_interval_ms > 0

    def open(self, partition: int) -> PartitionStore | None:
        """The partition's store, with what an earlier owner left on this machine if that is of use."""
        if self._logs is None:
            topics = self._settings.topics
            self._logs = log_ids(self._config, (topics.predictions, topics.labels))
        limits = self._limits
        identity = Identity.of(
            logs=self._logs,
            topic_prefix=self._settings.topic_prefix,
            partition=partition,
            specs=self._specs,
            limits=(limits.max_message_bytes, limits.max_clock_ahead_ms, limits.oldest_event_ms),
        )
        return open_partition(self._root, identity, keep=self._keep)

    def open_empty(self, partition: int) -> PartitionStore | None:
        """The same, whatever was there."""
        store = self.open(partition)
        if store is None:
            return None
        try:
            store.clear()
        except StoreError as error:
            log.warning("no local state: what waits stays in memory", partition=partition, reason=str(error))
            store.close()
            return None
        return store

    def close(self, partition: int, store: PartitionStore | None) -> None:
        self._at.pop(partition, None)
        if store is not None:
            store.close()

    # -- when ----------------------------------------------------------------------------------------------------

    def due(self) -> bool:
        """The interval has passed."""
        return self._keep and (time.monotonic() - self._saved_s) * 1000 >= self._settings.checkpoint_interval_ms

    def full(self, sources: Iterable[SavedSource]) -> bool:
        """More rows are in memory than there should be, and something can be done about it."""
        if time.monotonic() - self._failed_s < _RETRY_S:
            return False
        held = [(source.monitor.rows_in_memory, source.store) for source in sources]
        return sum(rows for rows, _ in held) > self._settings.pending_in_memory and any(
            store is not None and rows for rows, store in held
        )

    # -- what ----------------------------------------------------------------------------------------------------

    def save_all(self, sources: Mapping[int, SavedSource]) -> None:
        """Save every partition that has moved on. Its progress must have been published."""
        for partition, source in sources.items():
            if self._at.get(partition) != _place(source.monitor):
                self._save_or_note(source)
        self._saved_s = time.monotonic()

    def save_last(self, source: SavedSource) -> None:
        """The partition goes: the next owner on this machine begins there."""
        if self._keep:
            self._save_or_note(source)
            self.lost.pop(source.monitor.partition, None)

    def _save_or_note(self, source: SavedSource) -> bool:
        try:
            return self._save(source)
        except StoreDamaged as error:
            self.lost[source.monitor.partition] = error
            return False

    def _save(self, source: SavedSource) -> bool:
        """Save one partition. False, with a line in the log, if the disk does not take it."""
        monitor, published = source.monitor, source.published
        if source.store is None:
            return False
        assert monitor.rebuilding or (
            published is not None and (published.predictions_offset, published.labels_offset) == _place(monitor)
        ), "a state must not be saved ahead of its progress"
        started_s = time.monotonic()
        try:
            monitor.save()
        except StoreDamaged:
            raise
        except StoreError as error:
            self._failed_s = time.monotonic()
            log.warning(
                "state was not saved, going on without",
                partition=monitor.partition,
                rows_in_memory=monitor.rows_in_memory,
                reason=str(error),
            )
            return False
        self._at[monitor.partition] = _place(monitor)
        log.debug("state saved", partition=monitor.partition, seconds=round(time.monotonic() - started_s, 3))
        return True

    def make_room(self, sources: Mapping[int, SavedSource]) -> None:
        """Save and evict, partitions with most rows in memory first, until half of the room is free. Their progress
        must have been published."""
        excess = sum(source.monitor.rows_in_memory for source in sources.values())
        excess -= self._settings.pending_in_memory // 2
        for source in sorted(sources.values(), key=lambda source: -source.monitor.rows_in_memory):
            if excess <= 0:
                break
            before = source.monitor.rows_in_memory
            if self._save_or_note(source):
                excess -= before - source.monitor.rows_in_memory
                excess -= source.monitor.evict(max(0, excess))

    def make_room_in(self, source: SavedSource, others: Iterable[SavedSource]) -> None:
        """The same while a partition is rebuilt. Raises :class:`StoreDamaged`."""
        if self.full([source, *others]) and self._save(source):
            source.monitor.evict(source.monitor.rows_in_memory)


def _place(monitor: SourceMonitor) -> tuple[int, int]:
    return monitor.predictions_offset, monitor.labels_offset
