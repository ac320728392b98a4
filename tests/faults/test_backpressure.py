"""A burst that a worker cannot keep up with stays in the topics: no event is lost, and memory does not grow with it.

Two backlogs with the same rows in every window, one some times as long as the other one, and a worker whose monitor and
assessor are slow on purpose: the assessor falls behind the monitor as the monitor does behind the topics.
``DRIFTLOOP_TEST_BURST=5000000`` makes the longer backlog so many events.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conftest import Broker
from driftloop.kafka.embedded import free_port
from support import world
from support.backlog import Run, work_off, write_backlog
from support.own_settings import own_settings

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SHORT = 200_000
LONG = int(os.environ.get("DRIFTLOOP_TEST_BURST", "600000"))
#: Seconds more for every batch. The monitor publishes twice a second, and the assessor takes that up once a second.
SLOW = {"FAULTY_SLOW": "monitor:0.02 assessor:1"}
#: Between two runs of the same worker on the same backlog peaks differ by some MiB; every event of the longer backlog
#: that were kept would add a kilobyte or so.
ROOM_BYTES = 48 * 1024 * 1024


def burst(broker: Broker, name: str, folder: Path, events: int) -> Run:
    folder.mkdir()
    settings = own_settings(
        broker.bootstrap, f"{name}{os.getpid()}", folder, specs=folder / "specs", web_port=free_port()
    )
    world.prepare(settings)
    backlog = write_backlog(settings, events)
    run = work_off(
        settings,
        backlog,
        folder / "worker.log",
        timeout_s=max(150.0, events / 4_000),
        module="faults.faulty",
        environment=SLOW,
    )
    log = (folder / "worker.log").read_text(errors="replace")
    assert log.count("slow monitor:") >= events // settings.batch_records
    assert log.count("slow assessor:") >= 3
    print(f"{events:,} events: {run.seconds:.0f} s, peak {run.peak_bytes / 2**20:.0f} MiB, {run.rows:,} rows")
    assert (run.rows, run.labeled, run.dead_letters) == (backlog.predictions, backlog.predictions, 0)
    return run


@pytest.mark.timeout(400 + LONG // 2_000)
def test_a_burst_is_counted_to_the_last_event_in_bounded_memory(apache_kafka: Broker, tmp_path: Path) -> None:
    short = burst(apache_kafka, "short", tmp_path / "short", SHORT)
    long = burst(apache_kafka, "long", tmp_path / "long", LONG)
    assert short.peak_bytes > 0
    assert long.peak_bytes < short.peak_bytes + ROOM_BYTES
