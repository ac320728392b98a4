"""A worker killed after a checkpoint goes on from there: the same reports, and only the rest of the logs is read."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from conftest import Broker
from driftloop.kafka.config import client_config
from driftloop.replay.published import read_published
from driftloop.settings import Settings
from driftloop.streaming.recovery import latest_progress
from integration.test_kill import DAYS, PER_DAY, REPORTS, settings_of
from support import world
from support.cluster import Outcome, differences, outcome_of

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

_READY = "partitions ready"


def lines(worker: world.Process, event: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in worker.text().splitlines() if line.startswith("{")]
    return [line for line in found if line.get("event") == event]


def needed(settings: Settings) -> int:
    """Records that would have to be read without a checkpoint."""
    progress = latest_progress(client_config(settings), settings.topics.monitor_progress).values()
    return sum(
        one.predictions_offset - one.restart_predictions_offset + one.labels_offset - one.restart_labels_offset
        for one in progress
    )


@pytest.mark.timeout(280)
def test_a_worker_killed_after_a_checkpoint_goes_on_from_there(
    apache_kafka: Broker, undisturbed: Outcome, tmp_path: Path
) -> None:
    settings = settings_of(apache_kafka, f"saved{os.getpid()}", tmp_path / "saved").model_copy(
        # Few rows in memory, so that most of those that wait are on disk when the kill comes.
        update={"checkpoint_interval_ms": 500, "pending_in_memory": 1_000, "log_level": "debug"}
    )
    world.prepare(settings)
    events = [*world.history(DAYS, PER_DAY, drift_from_day=4), *world.end_of_time(settings, DAYS)]
    half = len(events) * 6 // 10
    worker = world.Process(settings, "worker", log=tmp_path / "worker.log")
    try:
        world.wait_for("the worker", lambda: _READY in worker.text(), worker)
        world.publish(settings, events[:half])
        world.wait_for("reports before the kill", lambda: bool(world.final_reports(settings)), worker)
        world.wait_for("all of them taken in", lambda: world.taken_in(settings) == half, worker)
        time.sleep(3)  # several intervals
        assert lines(worker, "state saved")
        # Some more records, so that the logs go on after the checkpoint.
        world.publish(settings, events[half : half + 100])
        time.sleep(0.2)
        worker.kill()
        worker.process.wait(20)
        from_logs = needed(settings)
        worker = world.Process(settings, "worker", log=tmp_path / "again.log")
        world.wait_for("the partitions", lambda: bool(lines(worker, _READY)), worker)
        ready = lines(worker, _READY)[0]
        print(f"read {ready['records_read']} records in {ready['seconds']} s; from the logs it would be {from_logs}")
        assert ready["from_checkpoint"] == ready["partitions"] == [0, 1, 2, 3]
        assert ready["records_read"] < from_logs / 4
        assert from_logs > 1_000
        world.publish(settings, events[half + 100 :])
        world.wait_for("all reports", lambda: len(world.final_reports(settings)) >= REPORTS, worker)
        world.wait_for("all published", lambda: len(read_published(settings).reports) >= REPORTS, worker)
        world.wait_for("all taken in", lambda: world.taken_in(settings) == len(events), worker)
        assert worker.stop() == 0, worker.text()
    finally:
        if worker.process.poll() is None:
            worker.kill()
    assert (found := differences(undisturbed, outcome_of(settings))) == [], "\n".join(found[:20])
