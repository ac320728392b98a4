"""What it takes to run through the logs of some source partitions: the same in this process and in one of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from driftloop.kafka.config import client_config
from driftloop.monitoring.catalog import Catalog
from driftloop.replay.source import ReplayStep, replay_source
from driftloop.settings import Settings
from driftloop.spec.model import ModelSpec
from driftloop.streaming.made_by import limits_of

__all__ = ["ReplayJob", "sources_of"]

#: Two logs of each partition are read ahead by so much at most; the client's own default is 64 MiB each.
_READ_AHEAD_KB = 8_192


@dataclass(frozen=True)
class ReplayJob:
    """Which partitions, of which logs, for which models."""

    settings: Settings
    specs: Mapping[str, ModelSpec]
    partitions: tuple[int, ...]


def sources_of(job: ReplayJob, catalog: Catalog) -> dict[int, Iterator[ReplayStep]]:
    """The steps of each partition; reading begins with the first one that is asked for."""
    settings, topics = job.settings, job.settings.topics
    config = client_config(settings, queued_max_messages_kbytes=_READ_AHEAD_KB)
    limits = limits_of(settings)
    rows = settings.pending_in_memory // len(job.partitions) if job.partitions else 0
    return {
        partition: replay_source(
            config, topics.predictions, topics.labels, partition, catalog, limits, rows_in_memory=max(1, rows)
        )
        for partition in job.partitions
    }
