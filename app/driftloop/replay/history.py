"""All source partitions' histories through one assessor for each model partition, in about event-time order."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from driftloop.events.reports import WindowReport
from driftloop.judging.assess import Judged
from driftloop.judging.assessor import Assessor, Lookups
from driftloop.kafka.config import client_config
from driftloop.monitoring.catalog import Catalog
from driftloop.monitoring.intake import Limits
from driftloop.replay.source import ReplayCounts, ReplayStep, replay_source
from driftloop.settings import Settings
from driftloop.spec.model import ModelSpec
from driftloop.streaming.catalog import RegistryCatalog

__all__ = ["History", "replay_history"]


@dataclass
class History:
    """Everything that the replay found, in the order of judging for each model."""

    judged: Judged = field(default_factory=Judged)
    counts: ReplayCounts = field(default_factory=ReplayCounts)

    @property
    def reports(self) -> list[WindowReport]:
        return [report for report, _ in self.judged.reports]


def replay_history(
    settings: Settings,
    specs: Mapping[str, ModelSpec],
    catalog: RegistryCatalog,
    *,
    until_ms: int | None = None,
    on_step: Callable[[ReplayStep], None] | None = None,
) -> History:
    """Read the source topics again from their beginning through the same core, with these specs.

    ``catalog`` must be one of the same specs. Sequential decisions need everything before them, so reading starts at
    the beginning whatever is asked for. With ``until_ms`` it ends once every window up to then is final. Nothing is
    written anywhere.
    """
    history = History()
    finals: dict[str, tuple[WindowReport, bytes]] = {}
    assessor = Assessor(specs, settings.source_partitions, Lookups(catalog.known_profile, lambda _: None, finals.get))
    wait_ms = max((spec.label_horizon_ms + spec.allowed_lateness_ms for spec in specs.values()), default=0)
    offset = 0
    for step in _in_time_order(settings, catalog):
        history.counts.add(step.counts)
        assessor.take((offset + index, message) for index, message in enumerate(step.messages))
        offset += len(step.messages)
        judged = assessor.advance().judged
        for report, stats in judged.reports:
            if report.status == "final":
                finals[report.report_id] = (report, stats)
        history.judged.add(judged)
        if on_step is not None:
            on_step(step)
        if until_ms is not None and min(assessor.maxima_ms) >= until_ms + wait_ms:
            break
    return history


def _in_time_order(settings: Settings, catalog: Catalog) -> Iterator[ReplayStep]:
    """Steps of all partitions, always the partition that is furthest behind next."""
    config, topics = client_config(settings), settings.topics
    limits = Limits(settings.max_message_bytes, settings.max_clock_ahead_ms, settings.oldest_event_ms)
    waiting: list[tuple[int, int, Iterator[ReplayStep]]] = []
    for partition in range(settings.source_partitions):
        steps = replay_source(config, topics.predictions, topics.labels, partition, catalog, limits)
        waiting.append((-(2**63), partition, steps))
    heapq.heapify(waiting)
    while waiting:
        _, partition, steps = heapq.heappop(waiting)
        step = next(steps, None)
        if step is not None:
            heapq.heappush(waiting, (step.time_ms, partition, steps))
            yield step
