"""The core against an answer computed without it: any interleaving, any cut into batches, restarts at any place."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from functools import cache

import msgspec
import pytest

from driftloop.events.batch import RecordBatch
from driftloop.events.messages import Labeled, PartialMessage, SourceProgress
from driftloop.events.reports import WindowReport
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.source import SourceMonitor
from faults.answer import Answer, answer, partition_of
from faults.differences import differences_from_answer
from faults.history import MAX_MESSAGE_BYTES, Sent, history
from support import core_world, world

PARTITIONS, DAYS, PER_DAY = 2, 4, 400
SEEDS = int(os.environ.get("DRIFTLOOP_TEST_FAULTS", "1"))
NOW_MS = world.START + 1000 * world.DAY
LIMITS = Limits(max_message_bytes=MAX_MESSAGE_BYTES)
Logs = dict[tuple[str, int], list[bytes | None]]


class Run:
    """Monitors and an assessor as a worker drives them; killed monitors go on from what was published."""

    def __init__(self, logs: Logs, chance: random.Random) -> None:
        self.logs = logs
        self.chance = chance
        self.published: list[PartialMessage] = []
        self.dead: dict[tuple[str, int, int], tuple[str, bytes | None]] = {}
        self.labeled: dict[str, Labeled] = {}
        self.stored = core_world.Stored()
        self.assessor = self.stored.assessor(PARTITIONS)
        self.progress: dict[int, SourceProgress] = {}
        self.monitors = {at: self.start(at) for at in range(PARTITIONS)}
        self.kills = 0

    def start(self, at: int) -> SourceMonitor:
        monitor = SourceMonitor(
            at,
            core_world.Catalog(),
            LIMITS,
            predictions_topic="predictions",
            labels_topic="labels",
            restart=self.progress.get(at),
        )
        if monitor.rebuilding:
            stops = monitor.rebuild_stops()
            self.take(monitor, "predictions", stops[0] - monitor.predictions_offset)
            self.take(monitor, "labels", stops[1] - monitor.labels_offset)
            monitor.end_rebuild()
            while monitor.sweeping:
                monitor.sweep()
        return monitor

    def take(self, monitor: SourceMonitor, topic: str, count: int) -> bool:
        start = monitor.predictions_offset if topic == "predictions" else monitor.labels_offset
        values = self.logs[topic, monitor.partition][start : start + count]
        if not values:
            return False
        batch = RecordBatch(
            topic,
            monitor.partition,
            range(start, start + len(values)),
            [NOW_MS] * len(values),
            [b""] * len(values),
            values,
        )
        (monitor.take_predictions if topic == "predictions" else monitor.take_labels)(batch)
        self.emit(monitor)
        return True

    def emit(self, monitor: SourceMonitor) -> None:
        outputs = monitor.drain()
        for letter in outputs.dead_letters:
            self.dead[letter.topic, letter.partition, letter.offset] = (letter.code, letter.value)
        for _, value in outputs.labeled:
            row = msgspec.json.decode(value, type=Labeled)
            known = self.labeled.get(row.prediction_id)
            if known is None or (row.revision, row.labeled_at_ms) > (known.revision, known.labeled_at_ms):
                self.labeled[row.prediction_id] = row

    def publish(self, at: int) -> None:
        monitor = self.monitors[at]
        progress = monitor.progress()
        self.published += [*monitor.take_partials(), progress]
        self.emit(monitor)
        self.progress[at] = progress
        self.assessor.take(list(enumerate(self.published))[self.assessor.next_offset :])
        self.stored.commit(self.assessor)

    def to_the_end(self, *, kill_share: float, favourite: str | None) -> None:
        open_logs = set(self.logs)
        while open_logs:
            candidates = sorted(open_logs)
            if favourite is not None and self.chance.random() < 0.9:
                candidates = [log for log in candidates if log[0] == favourite] or candidates
            topic, at = self.chance.choice(candidates)
            if not self.take(self.monitors[at], topic, self.chance.choice([1, 20, 200])):
                open_logs.discard((topic, at))
            if self.chance.random() < 0.5:
                self.publish(at)
            if self.chance.random() < kill_share:
                self.kills += 1
                self.monitors[at] = self.start(at)
                open_logs |= {log for log in self.logs if log[1] == at}
        for at in self.monitors:
            self.publish(at)

    def reports(self, status: str) -> dict[str, WindowReport]:
        return {report.report_id: report for report, _ in self.stored.judged.reports if report.status == status}


@cache
def world_of(seed: int) -> tuple[list[Sent], Answer]:
    sent = [*history(DAYS, PER_DAY, seed=seed), *((event, None) for event in world.end_of_time(PARTITIONS, DAYS))]
    return sent, answer(sent, PARTITIONS)


@pytest.mark.parametrize("favourite", [None, "predictions", "labels"])
@pytest.mark.parametrize("kill_share", [0.0, 0.1, 0.4])
def test_every_interleaving_and_restart_gives_the_known_answer(kill_share: float, favourite: str | None) -> None:
    check(5, random.Random(f"{kill_share}{favourite}"), kill_share, favourite)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_other_histories(seed: int) -> None:
    chance = random.Random(seed)
    check(100 + seed, chance, chance.choice([0.0, 0.02, 0.1, 0.4]), chance.choice([None, "predictions", "labels"]))


def check(seed: int, chance: random.Random, kill_share: float, favourite: str | None) -> None:
    sent, known = world_of(seed)
    logs: Logs = defaultdict(list)
    for (_, topic, key, value), _ in sent:
        logs[topic, partition_of(key.encode(), PARTITIONS)].append(value)
    run = Run(logs, chance)
    run.to_the_end(kill_share=kill_share, favourite=favourite)
    assert run.kills > 0 or kill_share < 0.1
    found = differences_from_answer(
        known,
        until_ms=world.START + DAYS * world.DAY,
        final=run.reports("final"),
        restated=run.reports("restated"),
        labeled=run.labeled,
        dead={origin: code for origin, (code, _) in run.dead.items()},
        dead_values={origin: value for origin, (_, value) in run.dead.items()},
    )
    assert found == [], "\n".join(found[:20])
