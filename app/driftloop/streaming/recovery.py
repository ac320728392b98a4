"""Rebuilding a source partition's state from the logs.

The source topics are the changelog. A worker publishes, with its progress, the offsets from which its state can be
rebuilt; the next owner reads from there through the same core, silent until it has come to the offsets that had been
published. Faust's committed offsets are never trusted for this: they only say what will be delivered next.
"""

from __future__ import annotations

import msgspec

from driftloop.events.messages import SourceProgress
from driftloop.kafka.config import ClientConfig
from driftloop.kafka.log_reader import read_batches, read_partition
from driftloop.monitoring.source import SourceMonitor

__all__ = ["latest_progress", "rebuild"]

_decode = msgspec.json.Decoder(SourceProgress).decode


def latest_progress(config: ClientConfig, progress_topic: str) -> dict[int, SourceProgress]:
    """The furthest progress of each source partition that was ever published."""
    latest: dict[int, SourceProgress] = {}
    for records in read_partition(config, progress_topic, 0):
        for record in records:
            if record.value is None:
                continue
            progress = _decode(record.value)
            known = latest.get(progress.source_partition)
            if known is None or _position(progress) >= _position(known):
                latest[progress.source_partition] = progress
    return latest


def _position(progress: SourceProgress) -> tuple[int, int]:
    return progress.predictions_offset + progress.labels_offset, progress.predictions_offset


def rebuild(monitor: SourceMonitor, config: ClientConfig, predictions_topic: str, labels_topic: str) -> list[str]:
    """Read both topics up to the offsets that were published. Returns what is wrong, in sentences: parts of the logs
    that open windows need and retention has removed."""
    if not monitor.rebuilding:
        return []
    problems: list[str] = []
    stops = monitor.rebuild_stops()
    starts = (monitor.predictions_offset, monitor.labels_offset)
    takes = (monitor.take_predictions, monitor.take_labels)
    for topic, start, stop, take in zip((predictions_topic, labels_topic), starts, stops, takes, strict=True):
        first: int | None = None
        for batch in read_batches(config, topic, monitor.partition, start, stop):
            first = batch.offsets[0] if first is None else first
            take(batch)
        if start < stop and first != start:
            problems.append(
                f"{topic}[{monitor.partition}] no longer has all records from offset {start} to {stop} (the first is "
                f"{first}): open windows miss them; the topic's retention must be longer than label horizon and window"
            )
    monitor.end_rebuild()
    return problems
