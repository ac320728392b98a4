"""Replay equals live on real flights: workers come, one is killed, and a replay says the same to the last bit.

The demo's stream, all of its year; its first six weeks with ``DRIFTLOOP_TEST_YEAR=0``. No version is trained, so that
what is measured is the replay.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import Broker
from driftloop.kafka.config import client_config
from driftloop.kafka.embedded import free_port
from driftloop.kafka.log_reader import end_offsets
from driftloop.replay.published import read_published
from driftloop.settings import Settings
from driftloop.streaming.recovery import latest_progress
from support import flight_year, world
from support.own_settings import own_settings

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

YEAR = os.environ.get("DRIFTLOOP_TEST_YEAR", "1") != "0"
STOP_MS = flight_year.YEAR_MS if YEAR else flight_year.SIX_WEEKS_MS
#: Of processor time, which other work on the machine does not change.
REPLAY_LIMIT_S = 60.0


@pytest.mark.timeout(1500 if YEAR else 400)
def test_a_replay_of_a_disturbed_live_run_has_no_difference(apache_kafka: Broker, tmp_path: Path) -> None:
    settings = own_settings(
        apache_kafka.bootstrap,
        f"flights{os.getpid()}",
        tmp_path,
        specs=flight_year.SPECS,
        source_partitions=3,
        web_port=free_port(),
    )
    began_s = time.monotonic()
    flight_year.prepare(settings)
    published = flight_year.publish(settings, flight_year.events(settings, STOP_MS))
    said("published", began_s, f"{published:,} events")
    workers: dict[str, world.Process] = {}

    def start(name: str) -> None:
        own = settings.model_copy(update={"web_port": free_port()})
        workers[name] = world.Process(own, "worker", log=tmp_path / f"{name}.log", life_s=800)

    began_s = time.monotonic()
    try:
        start("first")
        start("second")
        wait_until_read(settings, workers, published // 4)
        start("third")  # it gets partitions of the others while their labels are pending
        wait_until_read(settings, workers, published // 2)
        workers.pop("second").kill()
        wait_until_read(settings, workers, published)
        wait_until_reported(settings, workers)
        said("live", began_s, f"{published:,} events")
        for name, worker in workers.items():
            assert worker.stop() == 0, f"{name}:\n{worker.text()}"
    finally:
        for worker in workers.values():
            if worker.process.poll() is None:
                worker.kill()
    assert "partitions ready" in (tmp_path / "third.log").read_text(), "the third worker got nothing to do"
    for processes in (1, 2):
        replay(settings, processes)


def replay(settings: Settings, processes: int) -> None:
    environment = {f"DRIFTLOOP_{name.upper()}": str(value) for name, value in fields(settings).items()}
    before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "driftloop", "replay", "--verify", "--processes", str(processes)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    said(f"replay over {processes}", began_s, f"{cpu_s:.1f} s of processors: {done.stdout.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "compared field by field: 0 differences." in done.stdout
    assert not done.stdout.startswith("0 window reports")
    assert cpu_s < REPLAY_LIMIT_S


def fields(settings: Settings) -> dict[str, object]:
    return settings.model_dump(exclude_none=True, exclude={"topics"})


def wait_until_read(settings: Settings, workers: dict[str, world.Process], count: int) -> None:
    """Until so many events are in the state that workers have published."""

    def enough() -> bool:
        for name, worker in workers.items():
            assert worker.process.poll() is None, f"{name} has ended:\n{worker.text()}"
        time.sleep(1)
        progress = latest_progress(client_config(settings), settings.topics.monitor_progress)
        return sum(at.predictions_offset + at.labels_offset for at in progress.values()) >= count

    world.wait_for(f"{count:,} events", enough, next(iter(workers.values())), 600)


def wait_until_reported(settings: Settings, workers: dict[str, world.Process]) -> None:
    """Until the last window that can be final is reported for both models and kinds."""
    last_ms = flight_year.last_window_end_ms(settings, STOP_MS)

    def enough() -> bool:
        time.sleep(1)
        until = read_published(settings).judged_until_ms()
        return len(until) == 4 and min(until.values()) >= last_ms

    world.wait_for("the last reports", enough, next(iter(workers.values())), 240)
    config, topics = client_config(settings), settings.topics
    assert sum(end_offsets(config, topics.dead_letters).values()) == 0


def said(what: str, began_s: float, text: str) -> None:
    print(f"{what}: {time.monotonic() - began_s:.1f} s, {text}")
