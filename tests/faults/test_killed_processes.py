"""SIGKILL of any process at any moment changes nothing of what is said and stored in the end.

``DRIFTLOOP_TEST_FAULTS=50`` runs so many seeds; every failure prints its own.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from conftest import Broker
from faults import workload
from support.cluster import Cluster, Outcome, differences

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SEEDS = int(os.environ.get("DRIFTLOOP_TEST_FAULTS", "1"))
KILLS = 6


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_killed_processes_change_nothing(apache_kafka: Broker, undisturbed: Outcome, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    settings = workload.settings_of(apache_kafka.bootstrap, f"killed{seed}x{os.getpid()}", tmp_path)
    moments: set[int] = set()

    def disturb(cluster: Cluster, piece: int, pieces: int) -> None:
        if not moments:
            moments.update(chance.sample(range(pieces // 5, pieces), KILLS))
        if piece in moments:
            time.sleep(chance.uniform(0, 0.5))
            victim = chance.choice(cluster.names)
            print(f"seed {seed}: {victim} killed before piece {piece} of {pieces}")
            cluster.kill(victim)

    disturbed = workload.run(settings, tmp_path, disturb, monitors=2)
    assert (found := differences(undisturbed, disturbed)) == [], "\n".join(found[:20])


@pytest.mark.timeout(600)
def test_a_trainer_killed_in_the_middle_of_a_training_trains_once(
    apache_kafka: Broker, undisturbed: Outcome, tmp_path: Path
) -> None:
    settings = workload.settings_of(apache_kafka.bootstrap, f"trainer{os.getpid()}", tmp_path)
    killed: list[int] = []

    def disturb(cluster: Cluster, piece: int, pieces: int) -> None:
        if piece == pieces - 1:
            # Everything but the end of time is published: the command comes, and its training begins.
            cluster.wait_for("the retrain command", lambda: "retrain command" in cluster.processes["trainer"].text())
            cluster.kill("trainer")
            killed.append(piece)

    disturbed = workload.run(settings, tmp_path, disturb)
    assert killed
    assert (found := differences(undisturbed, disturbed)) == [], "\n".join(found[:20])
