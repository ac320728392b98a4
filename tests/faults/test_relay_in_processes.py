"""Assessor and trainer as they are die at exact points of publishing what they have committed."""

from __future__ import annotations

import os
from itertools import permutations
from pathlib import Path

import pytest

from conftest import Broker
from faults import workload
from support.cluster import Outcome, differences

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SEEDS = int(os.environ.get("DRIFTLOOP_TEST_FAULTS", "1"))
#: Twelve seeds have each of them at the first publish and at the second.
ORDERS = list(permutations(["before", "amid", "after"]))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_process_that_dies_between_commit_publish_and_mark(
    apache_kafka: Broker, undisturbed: Outcome, tmp_path: Path, seed: int
) -> None:
    # What the first crash leaves is published, or not, by the next life, so that the others come at once.
    first, *others = ORDERS[seed % len(ORDERS)]
    points = [f"{first}:{(seed + seed // len(ORDERS)) % 2}", *(f"{point}:0" for point in others)]
    print(f"seed {seed}: {points}")
    settings = workload.settings_of(apache_kafka.bootstrap, f"relay{seed}x{os.getpid()}", tmp_path)
    reached = tmp_path / "reached"
    reached.mkdir()
    environment = {"FAULTY_RELAY": " ".join(points), "FAULTY_FOLDER": str(reached)}
    disturbed = workload.run(settings, tmp_path, environment=environment, module="faults.faulty")
    assert {path.name for path in reached.iterdir()} == {
        f"{role}-{number}" for role in ("assessor", "trainer") for number in range(len(points))
    }
    assert (found := differences(undisturbed, disturbed)) == [], "\n".join(found[:20])
