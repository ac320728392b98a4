"""Getting a source partition's state back: from the checkpoint on the local disk if it is of use, else from the logs.

The source topics are the changelog. A worker publishes, with its progress, the offsets from which its state can be
rebuilt; the next owner reads from there (or from the checkpoint's offsets) through the same core, silent until it has
come to the offsets that had been published. Faust's committed offsets are never trusted for this: they only say what
will be delivered next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec
import structlog

from driftloop.checkpoints.folders import PartitionStore
from driftloop.events.decoding import UNDECODABLE
from driftloop.events.messages import SourceProgress
from driftloop.joining.store import StoreError
from driftloop.kafka.config import ClientConfig
from driftloop.kafka.log_reader import read_batches, read_partition, start_offsets
from driftloop.monitoring.saved import UnusableState
from driftloop.monitoring.source import SourceMonitor

__all__ = ["Recovered", "latest_progress", "rebuild", "recover"]

log = structlog.get_logger(__name__)
_decode = msgspec.json.Decoder(SourceProgress).decode


def latest_progress(config: ClientConfig, progress_topic: str) -> dict[int, SourceProgress]:
    """The furthest progress of each source partition that was ever published."""
    latest: dict[int, SourceProgress] = {}
    for records in read_partition(config, progress_topic, 0):
        for record in records:
            if record.value is None:
                continue
            try:
                progress = _decode(record.value)
            except UNDECODABLE as error:
                # No monitor writes such a record, and what they write later says all of it again.
                log.error("unreadable progress is skipped", offset=record.offset, reason=str(error))
                continue
            known = latest.get(progress.source_partition)
            if known is None or _position(progress) >= _position(known):
                latest[progress.source_partition] = progress
    return latest


def _position(progress: SourceProgress) -> tuple[int, int]:
    return progress.predictions_offset + progress.labels_offset, progress.predictions_offset


@dataclass
class Recovered:
    """A monitor that can go on from the published progress. ``records``: how many were read from the logs for it."""

    monitor: SourceMonitor
    store: PartitionStore | None
    records: int
    from_checkpoint: bool


class MakeMonitor(Protocol):
    """A monitor of the partition, with what :class:`SourceMonitor` says of ``store`` and ``go_on``."""

    def __call__(self, store: PartitionStore | None, *, go_on: bool) -> SourceMonitor: ...


def recover(
    make: MakeMonitor,
    store: PartitionStore | None,
    progress: SourceProgress | None,
    config: ClientConfig,
    predictions_topic: str,
    labels_topic: str,
    taken: Callable[[SourceMonitor, PartitionStore | None], None],
) -> Recovered:
    """The state at the published progress. ``taken`` is called after each batch that was read for it, and may save and
    evict. What the disk does wrong is logged, and then done without."""
    failures = 0
    while True:
        try:
            if failures and store is not None:
                store.clear()
            return _recover(make, store, progress, config, predictions_topic, labels_topic, taken)
        except StoreError as error:
            assert store is not None, "without a store none can fail"
            log.warning("local state cannot be used", partition=store.partition, reason=str(error))
            failures += 1
            if failures > 1:
                store.close()
                store = None


def _recover(
    make: MakeMonitor,
    store: PartitionStore | None,
    progress: SourceProgress | None,
    config: ClientConfig,
    predictions_topic: str,
    labels_topic: str,
    taken: Callable[[SourceMonitor, PartitionStore | None], None],
) -> Recovered:
    try:
        monitor = make(store, go_on=True)
        if monitor.went_on and progress is not None:
            _check_logs(monitor, progress, config, predictions_topic, labels_topic)
    except UnusableState as error:
        assert store is not None, "without a store there is no state that could be unusable"
        log.warning("checkpoint ignored", partition=store.partition, reason=str(error))
        store.clear()
        monitor = make(store, go_on=False)
    from_checkpoint = monitor.went_on
    records, problems = rebuild(monitor, config, predictions_topic, labels_topic, lambda monitor: taken(monitor, store))
    for problem in problems:
        log.error("recovery is incomplete", problem=problem)
    return Recovered(monitor, store, records, from_checkpoint)


def _check_logs(
    monitor: SourceMonitor, progress: SourceProgress, config: ClientConfig, predictions_topic: str, labels_topic: str
) -> None:
    """In one topic a checkpoint may be behind the restart offset: then records that a start without it does not need
    must be there still. Raises :class:`UnusableState`."""
    for topic, offset, restart in (
        (predictions_topic, monitor.predictions_offset, progress.restart_predictions_offset),
        (labels_topic, monitor.labels_offset, progress.restart_labels_offset),
    ):
        if offset < restart and (first := _first(config, topic, monitor.partition)) > offset:
            raise UnusableState(
                f"it is of offset {offset} of {topic}, and retention has removed what is before offset {first}"
            )


def rebuild(
    monitor: SourceMonitor,
    config: ClientConfig,
    predictions_topic: str,
    labels_topic: str,
    taken: Callable[[SourceMonitor], None] = lambda _: None,
) -> tuple[int, list[str]]:
    """Read both topics up to the offsets that were published. Returns how many records were read, and what is wrong, in
    sentences: parts of the logs that open windows need and retention has removed."""
    if not monitor.rebuilding:
        return 0, []
    problems: list[str] = []
    records = 0
    stops = monitor.rebuild_stops()
    starts = (monitor.predictions_offset, monitor.labels_offset)
    takes = (monitor.take_predictions, monitor.take_labels)
    for topic, start, stop, take in zip((predictions_topic, labels_topic), starts, stops, takes, strict=True):
        first: int | None = None
        for batch in read_batches(config, topic, monitor.partition, start, stop):
            first = batch.offsets[0] if first is None else first
            take(batch)
            records += len(batch)
            taken(monitor)
        if start < stop and first != start:
            problems.append(
                f"{topic}[{monitor.partition}] no longer has all records from offset {start} to {stop} (the first is "
                f"{first}): open windows miss them; the topic's retention must be longer than label horizon and window"
            )
    monitor.end_rebuild()
    return records, problems


def _first(config: ClientConfig, topic: str, partition: int) -> int:
    return start_offsets(config, topic, [partition])[partition]
