"""A worker that is killed in the middle ends with the same final reports as one that was left alone."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from conftest import Broker
from driftloop.kafka.embedded import free_port
from driftloop.replay.published import read_published
from driftloop.settings import Settings
from support import world
from support.cluster import Outcome, differences, outcome_of
from support.own_settings import own_settings

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

DAYS, PER_DAY = 10, 400
# Inputs and outcomes of every day, over all rows and two regions; and the empty day before the end of time.
REPORTS = DAYS * 2 * 3 + 1
#: Between two pieces: some batches, and a publish of the worker's.
PACE_S = 0.15
KILLS = int(os.environ.get("DRIFTLOOP_TEST_KILLS", "2"))


def settings_of(broker: Broker, name: str, folder: Path) -> Settings:
    return own_settings(
        broker.bootstrap,
        name,
        folder,
        specs=folder / "specs",
        web_port=free_port(),
        publish_interval_ms=100,
        # Small batches, so that a kill falls between many of them.
        batch_records=50,
    )


def run(broker: Broker, name: str, folder: Path, kill_after: float | None, chance: random.Random) -> Outcome:
    """Publish the history in pieces to a worker; with ``kill_after`` (share of the pieces) SIGKILL it there."""
    settings = settings_of(broker, name, folder)
    world.prepare(settings)
    events = [*world.history(DAYS, PER_DAY, drift_from_day=4), *world.end_of_time(settings, DAYS)]
    pieces = [events[start : start + 250] for start in range(0, len(events), 250)]
    worker = world.Process(settings, "worker", log=folder / "worker.log")
    kill_at = None if kill_after is None else round(kill_after * len(pieces))
    try:
        world.wait_for("a first report", lambda: "worker started" in worker.text(), worker)
        with world.publisher(settings) as publish:
            for index, piece in enumerate(pieces):
                if index == kill_at:
                    # The worker must be in the middle of it: windows reported before the kill, more records just sent.
                    world.wait_for("reports before the kill", lambda: bool(world.final_reports(settings)), worker)
                publish(piece)
                if index == kill_at:
                    time.sleep(chance.uniform(0, 0.3))
                    worker.kill()
                    reported = len(world.final_reports(settings))
                    print(f"killed with {reported} of {REPORTS} reports written")
                    assert 0 < reported < REPORTS, "the kill did not fall into the middle"
                    worker = world.Process(settings, "worker", log=folder / "worker.log")
                time.sleep(PACE_S)
        expected = REPORTS
        world.wait_for("all reports", lambda: len(world.final_reports(settings)) >= expected, worker)
        world.wait_for("all published", lambda: len(read_published(settings).reports) >= expected, worker)
        world.wait_for("all taken in", lambda: world.taken_in(settings) == len(events), worker)
        assert worker.stop() == 0, worker.text()
    finally:
        if worker.process.poll() is None:
            worker.kill()
    return outcome_of(settings)


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_killed_worker_ends_with_the_same_reports(
    apache_kafka: Broker, undisturbed: Outcome, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    kill_after = chance.uniform(0.3, 0.9)
    print(f"seed {seed}: killed after {kill_after:.0%} of the events")
    killed = run(apache_kafka, f"kill{seed}x{os.getpid()}", tmp_path, kill_after, chance)
    assert (found := differences(undisturbed, killed)) == [], "\n".join(found[:20])
