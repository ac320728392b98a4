"""Monitors that join and leave under load: partitions move while labels are pending, and no report changes."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from conftest import Broker
from driftloop.kafka.embedded import free_port
from driftloop.replay.published import read_published
from integration.test_kill import DAYS, PER_DAY, REPORTS, run, settings_of
from support import world
from support.cluster import differences, outcome_of

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


@pytest.mark.timeout(280)
def test_a_worker_that_joins_and_one_that_leaves_change_nothing(apache_kafka: Broker, tmp_path: Path) -> None:
    calm = run(apache_kafka, f"one{os.getpid()}", tmp_path / "one", None, random.Random(0))
    settings = settings_of(apache_kafka, f"two{os.getpid()}", tmp_path / "two")
    world.prepare(settings)

    def monitor(name: str) -> world.Process:
        own = settings.model_copy(update={"web_port": free_port()})
        return world.Process(own, "worker", "--role", "monitor", log=tmp_path / f"{name}.log")

    events = [*world.history(DAYS, PER_DAY, drift_from_day=4), *world.end_of_time(settings, DAYS)]
    assessor = world.Process(settings, "worker", "--role", "assessor", log=tmp_path / "assessor.log")
    first = monitor("first")
    second = None
    try:
        world.wait_for("the first monitor", lambda: "partitions ready" in first.text(), first)
        world.publish(settings, events[: len(events) // 3])
        second = monitor("second")
        world.wait_for("the second monitor", lambda: "partitions ready" in second.text(), second)
        world.publish(settings, events[len(events) // 3 : 2 * len(events) // 3])
        assert first.stop() == 0, first.text()
        world.publish(settings, events[2 * len(events) // 3 :])
        expected = REPORTS
        world.wait_for("all published", lambda: len(read_published(settings).reports) >= expected, second, 120)
        assert second.stop() == 0, second.text()
        assert assessor.stop() == 0, assessor.text()
    finally:
        for process in (first, second, assessor):
            if process is not None and process.process.poll() is None:
                process.kill()
    assert (found := differences(calm, outcome_of(settings))) == [], "\n".join(found[:20])
