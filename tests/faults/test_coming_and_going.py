"""One to four monitors join, leave and are killed under load; partitions move while labels are pending."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from conftest import Broker
from faults import workload
from support.cluster import Cluster, Outcome, differences

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]

SEEDS = int(os.environ.get("DRIFTLOOP_TEST_FAULTS", "1"))
MOST = 4


@pytest.mark.parametrize("seed", range(SEEDS))
def test_monitors_that_come_and_go_change_nothing(
    apache_kafka: Broker, undisturbed: Outcome, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    settings = workload.settings_of(apache_kafka.bootstrap, f"going{seed}x{os.getpid()}", tmp_path)
    made = 2
    plan: dict[int, str] = {}

    def step(cluster: Cluster, change: str) -> str:
        nonlocal made
        monitors = [name for name in cluster.names if name.startswith("monitor")]
        if change == "join" and len(monitors) < MOST:
            made += 1
            # A new name is a new machine: its disk is empty.
            cluster.join(f"monitor-{made}")
            return f"monitor-{made} joins"
        name = chance.choice(monitors)
        if change in ("leave", "vanish") and len(monitors) > 1:
            cluster.leave(name, kill=change == "vanish")
            return f"{name} leaves" if change == "leave" else f"{name} is killed for good"
        empty = chance.random() < 0.5
        cluster.kill(name, empty_disk=empty)
        return f"{name} is killed and comes back {'with an empty disk' if empty else 'where it was'}"

    def disturb(cluster: Cluster, piece: int, pieces: int) -> None:
        if not plan:
            moments = sorted(chance.sample(range(4, pieces - 1), 5))
            changes = ["join", "leave", "join", "vanish", "restart"]
            chance.shuffle(changes)
            plan.update(zip(moments, changes, strict=True))
        if piece in plan:
            # Rows of the day wait for their labels: what moves has something to lose.
            print(f"seed {seed}, before piece {piece} of {pieces}: {step(cluster, plan[piece])}")

    disturbed = workload.run(settings, tmp_path, disturb, monitors=2, pace_s=workload.SLOW_S)
    assert len(plan) == 5
    assert (found := differences(undisturbed, disturbed)) == [], "\n".join(found[:20])
    took_over = sum(log.read_text(errors="replace").count("partitions ready") for log in tmp_path.glob("monitor-*.log"))
    assert took_over > 5, "partitions have moved"
