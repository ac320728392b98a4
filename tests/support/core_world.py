"""Monitors and an assessor driven without a broker: events in, reports, alerts and commands out."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass, field

from driftloop.events.batch import RecordBatch
from driftloop.events.messages import PartialMessage
from driftloop.events.reports import WindowReport
from driftloop.judging.assess import Judged
from driftloop.judging.assessor import Assessor, Lookups
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.source import SourceMonitor
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec import ModelSpec, parse_spec
from support import world

__all__ = ["PROFILE", "SPEC", "Catalog", "Logs", "Stored", "logs_of", "run"]

SPEC = parse_spec(world.SPEC)
PROFILE = world.reference_profile(SPEC)


@dataclass
class Catalog:
    """One model, ``credit``, with one version, ``v1``."""

    given: ModelSpec = SPEC
    reference: ReferenceProfile = PROFILE

    def spec(self, model_id: str) -> ModelSpec | None:
        return self.given if model_id == "credit" else None

    def profile(self, model_id: str, model_version: str) -> ReferenceProfile | None:
        return self.reference if model_version == "v1" else None


Logs = dict[tuple[str, int], list[bytes | None]]


def logs_of(events: list[world.Event], partitions: int) -> Logs:
    logs: Logs = {(topic, at): [] for topic in ("predictions", "labels") for at in range(partitions)}
    for _, topic, key, value in events:
        logs[topic, zlib.crc32(key.encode()) % partitions].append(value)
    return logs


@dataclass
class Stored:
    """What a database would hold."""

    judged: Judged = field(default_factory=Judged)
    states: dict[str, bytes] = field(default_factory=dict)
    restart_offset: int = 0
    progress: bytes | None = None
    spec: ModelSpec = SPEC
    profile: ReferenceProfile = PROFILE

    def final(self, report_id: str) -> tuple[WindowReport, bytes] | None:
        found = [pair for pair in self.judged.reports if pair[0].report_id == report_id and pair[0].status == "final"]
        return found[0] if found else None

    def assessor(self, partitions: int) -> Assessor:
        return Assessor(
            {"credit": self.spec},
            partitions,
            Lookups(lambda *_: self.profile, self.states.get, self.final),
            start_offset=self.restart_offset,
            progress=self.progress,
        )

    def commit(self, assessor: Assessor) -> None:
        advance = assessor.advance()
        if advance:
            self.judged.reports += advance.judged.reports
            self.judged.alerts += advance.judged.alerts
            self.judged.decisions += advance.judged.decisions
            self.judged.commands += advance.judged.commands
            self.states.update(advance.states)
            self.restart_offset, self.progress = advance.restart_offset, advance.progress


def run(
    logs: Logs,
    partitions: int,
    seed: int,
    *,
    restarts: int = 0,
    spec: ModelSpec = SPEC,
    profile: ReferenceProfile = PROFILE,
) -> Stored:
    """Monitors and assessor in random steps; with ``restarts`` the assessor crashes and starts from what is stored."""
    chance = random.Random(seed)
    monitors = [
        SourceMonitor(at, Catalog(spec, profile), Limits(), predictions_topic="predictions", labels_topic="labels")
        for at in range(partitions)
    ]
    at = dict.fromkeys(logs, 0)
    partials: list[PartialMessage] = []
    stored = Stored(spec=spec, profile=profile)
    assessor = stored.assessor(partitions)
    while at:
        topic, partition = chance.choice(list(at))
        values = logs[topic, partition]
        start = at[topic, partition]
        stop = min(len(values), start + chance.choice([1, 20, 200]))
        if start < stop:
            count = stop - start
            record_time = world.START + 1000 * world.DAY
            batch = RecordBatch(
                topic, partition, range(start, stop), [record_time] * count, [b""] * count, values[start:stop]
            )
            monitor = monitors[partition]
            (monitor.take_predictions if topic == "predictions" else monitor.take_labels)(batch)
            at[topic, partition] = stop
        else:
            del at[topic, partition]
        monitor = monitors[partition]
        partials += [*monitor.take_partials(), monitor.progress()]
        if chance.random() < 0.5 or not at:
            assessor.take(list(enumerate(partials))[assessor.next_offset :])
            if restarts and chance.random() < 0.2:
                restarts -= 1
                assessor = stored.assessor(partitions)  # before the commit: what was judged is judged again
                assessor.take(list(enumerate(partials))[assessor.next_offset :])
            stored.commit(assessor)
    return stored
