"""The broker or the database goes away in the middle and comes back: nothing is lost, nothing is said twice."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Broker
from faults import workload
from support.apache_kafka import ApacheKafka
from support.cluster import Cluster, Outcome, differences
from support.health import PROBES_S, Health
from support.postgres import PostgresServer

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]


def _without(service: str) -> Callable[[Health], bool]:
    return lambda health: health.live is True and health.ready is False and service in health.problems


def test_a_broker_that_goes_away_and_comes_back(
    own_apache_kafka: ApacheKafka, undisturbed: Outcome, tmp_path: Path
) -> None:
    """Shut down in order, killed, and silent, in turn."""
    settings = workload.settings_of(own_apache_kafka.bootstrap, "broker", tmp_path)
    left: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "stopped": (own_apache_kafka.stop, own_apache_kafka.start),
        "killed": (own_apache_kafka.kill, own_apache_kafka.start),
        "silent": (own_apache_kafka.pause, own_apache_kafka.resume),
    }

    def disturb(cluster: Cluster, piece: int, pieces: int) -> None:
        if piece not in (pieces // 4, pieces // 2, 3 * pieces // 4):
            return
        how = next(iter(left))
        go, come = left.pop(how)
        print(f"the broker is {how} before piece {piece} of {pieces}")
        gone_s = time.monotonic()
        go()
        # Alive, and nobody should count on it. That nobody ever says that it is dead is for the run to see.
        cluster.wait_for_health(cluster.names, "alive and not ready", _without("broker"))
        time.sleep(max(0.0, gone_s + 8 - time.monotonic()))
        come()
        cluster.wait_for_health(cluster.names, "ready again", lambda health: health.ready is True, 90)

    disturbed = workload.run(settings, tmp_path, disturb)
    assert not left
    assert (found := differences(undisturbed, disturbed)) == [], "\n".join(found[:20])


def test_a_database_that_goes_away_and_comes_back(
    apache_kafka: Broker, undisturbed: Outcome, tmp_path: Path, postgres: PostgresServer
) -> None:
    """Silent, and then stopped."""
    settings = workload.settings_of(
        apache_kafka.bootstrap, f"database{os.getpid()}", tmp_path, database_url=postgres.url
    )

    def disturb(cluster: Cluster, piece: int, pieces: int) -> None:
        # The trainer ends without its database, and is started again and again.
        working = [name for name in cluster.names if name != "trainer"]
        if piece == pieces // 4:
            before = {name: cluster.processes[name] for name in working}
            postgres.pause()
            cluster.wait_for_health(working, "alive and not ready", _without("database"))
            for name in cluster.names * 5:
                health = cluster.health(name)
                assert _without("database")(health) or (name, health.ready) == ("trainer", None), f"{name}: {health}"
                assert health.seconds < PROBES_S, f"{name}: {health}"
            postgres.resume()
            cluster.wait_for_health(cluster.names, "ready again", lambda health: health.ready is True)
            assert {name: cluster.processes[name] for name in working} == before, "silence is waited out"
        if piece == pieces // 2:
            postgres.stop()
            cluster.wait_for_health(working, "alive and not ready", _without("database"))
        if piece == pieces // 2 + 4:
            time.sleep(10)
            postgres.start()

    disturbed = workload.run(settings, tmp_path, disturb)
    assert (found := differences(undisturbed, disturbed)) == [], "\n".join(found[:20])
