"""One source partition's history as a stream of steps in event time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from driftloop.checkpoints.scratch import ScratchStore
from driftloop.events.messages import PartialMessage, SourceProgress
from driftloop.kafka.config import ClientConfig
from driftloop.kafka.log_reader import read_batches
from driftloop.monitoring.catalog import Catalog
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.source import SourceMonitor

__all__ = ["ReplayCounts", "ReplayStep", "replay_source"]

_BATCH_RECORDS = 2_000


@dataclass
class ReplayCounts:
    """What went through."""

    predictions: int = 0
    labels: int = 0
    joined: int = 0
    dead_letters: int = 0
    other_models: int = 0  # records of models without a spec here

    def add(self, other: ReplayCounts) -> None:
        self.predictions += other.predictions
        self.labels += other.labels
        self.joined += other.joined
        self.dead_letters += other.dead_letters
        self.other_models += other.other_models


@dataclass
class ReplayStep:
    """What a worker would have published after a piece of the logs."""

    progress: SourceProgress
    messages: list[PartialMessage]
    counts: ReplayCounts = field(default_factory=ReplayCounts)

    @property
    def time_ms(self) -> int:
        """How far the partition has come: the lower of the two topics."""
        return min(self.progress.predictions_max_ms, self.progress.labels_max_ms)


def replay_source(
    config: ClientConfig,
    predictions_topic: str,
    labels_topic: str,
    partition: int,
    catalog: Catalog,
    limits: Limits,
    *,
    rows_in_memory: int,
) -> Iterator[ReplayStep]:
    """Read both logs of a partition to their present ends, the one that is behind in event time first.

    Yields a step whenever partials changed; the last step holds whatever is left. Pending predictions and waiting
    labels beyond ``rows_in_memory`` are in a temporary folder.
    """
    with ScratchStore(rows_in_memory) as scratch:
        monitor = SourceMonitor(
            partition, catalog, limits, predictions_topic=predictions_topic, labels_topic=labels_topic, store=scratch
        )
        for _ in _taken(monitor, config, predictions_topic, labels_topic):
            yield _step(monitor)
            scratch.bound(monitor)


def _taken(monitor: SourceMonitor, config: ClientConfig, predictions_topic: str, labels_topic: str) -> Iterator[None]:
    """Hand the monitor one batch after the other, and let it forget piece by piece."""
    partition = monitor.partition
    predictions = read_batches(config, predictions_topic, partition, batch=_BATCH_RECORDS)
    labels = read_batches(config, labels_topic, partition, batch=_BATCH_RECORDS)
    next_predictions, next_labels = next(predictions, None), next(labels, None)
    while next_predictions is not None or next_labels is not None:
        if next_labels is None or (
            next_predictions is not None and monitor.predictions_max_ms <= monitor.labels_max_ms
        ):
            assert next_predictions is not None
            monitor.take_predictions(next_predictions)
            next_predictions = next(predictions, None)
        else:
            monitor.take_labels(next_labels)
            next_labels = next(labels, None)
        yield
        while monitor.sweeping:
            monitor.sweep()
            yield


def _step(monitor: SourceMonitor) -> ReplayStep:
    outputs = monitor.drain()
    others = sum(letter.code == "unknown_model" for letter in outputs.dead_letters)
    counts = ReplayCounts(
        outputs.predictions.total(),
        outputs.labels.total(),
        outputs.joined.total(),
        len(outputs.dead_letters) - others,
        others,
    )
    progress = monitor.progress()
    # Partials of windows that are still open would be replaced by the next step's: only the final and the late count.
    messages: list[PartialMessage] = [*monitor.take_partials(final_only=True), progress]
    return ReplayStep(progress, messages, counts)
