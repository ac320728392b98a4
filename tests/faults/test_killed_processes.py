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
from support.cluster import Cluster, Outcome, differences, versions_of

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SEEDS = int(os.environ.get("DRIFTLOOP_TEST_FAULTS", "1"))
#: Between the first piece and the last. One more process is killed while it starts, and one in the final drain.
KILLS = 5
#: The latest kill while the processes start, and the latest one after the last piece is published.
START_S, DRAIN_S = 4.0, 2.0
#: More pieces a second than in the other tests with a ``pace_s``: the two kills at the ends take their time.
PACE_S = 0.35


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_killed_processes_change_nothing(apache_kafka: Broker, undisturbed: Outcome, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    settings = workload.settings_of(apache_kafka.bootstrap, f"killed{seed}x{os.getpid()}", tmp_path)
    moments: set[int] = set()
    victims: list[str] = []

    def disturb(cluster: Cluster, piece: int, pieces: int) -> None:
        if not moments:
            moments.update(chance.sample(range(pieces), KILLS), [workload.STARTING, pieces])
        if piece in moments:
            after_s = chance.uniform(0, {workload.STARTING: START_S, pieces: DRAIN_S}.get(piece, 0.5))
            time.sleep(after_s)
            victims.append(chance.choice(cluster.names))
            state = "at work" if cluster.started(victims[-1]) else "starting"
            print(f"seed {seed}: {victims[-1]}, {state}, killed {after_s:.2f} s before piece {piece} of {pieces}")
            cluster.kill(victims[-1])

    disturbed = workload.run(settings, tmp_path, disturb, monitors=2, pace_s=PACE_S)
    assert len(victims) == KILLS + 2
    assert (found := differences(undisturbed, disturbed)) == [], "\n".join(found[:20])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_trainer_killed_at_any_moment_of_a_training_trains_once(
    apache_kafka: Broker, undisturbed: Outcome, training_s: float, tmp_path: Path, seed: int
) -> None:
    """From the command's arrival until its events are published: data set, training, registration, publishing."""
    # Not the numbers of the test above.
    after_s = random.Random(f"trainer {seed}").uniform(0, training_s)
    settings = workload.settings_of(apache_kafka.bootstrap, f"trainer{seed}x{os.getpid()}", tmp_path)
    ended: list[bool] = []

    def disturb(cluster: Cluster, piece: int, pieces: int) -> None:
        if piece == pieces - 1:
            # Everything but the end of time is published: the command comes, and its training begins.
            cluster.wait_for("the retrain command", lambda: "retrain command" in cluster.log("trainer"))
            time.sleep(after_s)
            cluster.kill("trainer")
            log = cluster.log("trainer")
            steps = [step for step in ("retrain command", "training set cut", "training ended") if step in log]
            versions = [entry["version"] for entry in versions_of(settings)[:-1]]
            print(f"seed {seed}: killed {after_s:.2f} s after the command; a training takes {training_s:.2f} s")
            print(f"it had said: {', '.join(steps)}; versions: {', '.join(versions)}")
            ended.append(workload.only_run(settings).outcome is not None)

    disturbed = workload.run(settings, tmp_path, disturb)
    assert workload.only_run(settings).attempts == (1 if ended == [True] else 2)
    assert (found := differences(undisturbed, disturbed)) == [], "\n".join(found[:20])
