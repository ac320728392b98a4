"""All source partitions' histories through one assessor, in about event-time order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from driftloop.events.reports import WindowReport
from driftloop.judging.assess import Judged
from driftloop.judging.assessor import Assessor, Lookups
from driftloop.replay.job import ReplayJob, sources_of
from driftloop.replay.order import in_time_order
from driftloop.replay.processes import PartitionProcesses
from driftloop.replay.source import ReplayCounts, ReplayStep
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
    processes: int = 1,
) -> History:
    """Read the source topics again from their beginning through the same core, with these specs.

    ``catalog`` must be one of the same specs. Sequential decisions need everything before them, so reading starts at
    the beginning whatever is asked for. With ``until_ms`` it ends once every window up to then is final. Nothing is
    written anywhere.

    ``processes``: so many run through the source partitions, in which most of the work is, and this one puts windows
    together and judges them; 1: all is done in this process. Steps are taken in the same order whatever their number
    is, so the result is the same to the last bit. Raises
    :class:`~driftloop.replay.processes.ReplayProcessDied` if one of them fails.
    """
    history = History()
    finals: dict[str, tuple[WindowReport, bytes]] = {}
    lookups = Lookups(catalog.known_profile, lambda _: None, finals.get, catalog.approved, catalog.promoted)
    assessor = Assessor(specs, settings.source_partitions, lookups)
    wait_ms = max((spec.label_horizon_ms + spec.allowed_lateness_ms for spec in specs.values()), default=0)
    offset = 0
    with _steps(ReplayJob(settings, specs, tuple(range(settings.source_partitions))), catalog, processes) as steps:
        for _, step in steps:
            if step is None:
                continue
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


@contextlib.contextmanager
def _steps(
    job: ReplayJob, catalog: RegistryCatalog, processes: int
) -> Iterator[Iterator[tuple[int, ReplayStep | None]]]:
    """The steps of all partitions, from this process or from others, which end with it."""
    if processes == 1:
        yield in_time_order(sources_of(job, catalog))
    else:
        with PartitionProcesses(job, min(processes, len(job.partitions))) as others:
            yield in_time_order(others.sources())
