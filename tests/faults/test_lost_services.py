"""The broker or the database goes away in the middle and comes back: nothing is lost, nothing is said twice."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from conftest import Broker
from faults import workload
from support.apache_kafka import ApacheKafka
from support.cluster import Cluster, Outcome, differences
from support.postgres import PostgresServer

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(500)]


@pytest.mark.parametrize("how", ["stopped", "killed", "paused"])
def test_a_broker_that_goes_away_and_comes_back(
    own_apache_kafka: ApacheKafka, undisturbed: Outcome, tmp_path: Path, how: str
) -> None:
    settings = workload.settings_of(own_apache_kafka.bootstrap, f"broker{how}", tmp_path)

    def disturb(cluster: Cluster, piece: int, pieces: int) -> None:
        if piece != pieces // 2:
            return
        if how == "paused":
            own_apache_kafka.pause()
            time.sleep(10)
            own_apache_kafka.resume()
            return
        (own_apache_kafka.stop if how == "stopped" else own_apache_kafka.kill)()
        time.sleep(8)
        own_apache_kafka.start()

    disturbed = workload.run(settings, tmp_path, disturb)
    assert (found := differences(undisturbed, disturbed)) == [], "\n".join(found[:20])


def test_a_database_that_goes_away_and_comes_back(
    apache_kafka: Broker, undisturbed: Outcome, tmp_path: Path, postgres: PostgresServer
) -> None:
    settings = workload.settings_of(
        apache_kafka.bootstrap, f"database{os.getpid()}", tmp_path, database_url=postgres.url
    )

    def disturb(cluster: Cluster, piece: int, pieces: int) -> None:
        if piece == pieces // 2:
            postgres.stop()
        if piece == pieces // 2 + 4:
            time.sleep(10)
            postgres.start()

    disturbed = workload.run(settings, tmp_path, disturb)
    assert (found := differences(undisturbed, disturbed)) == [], "\n".join(found[:20])
