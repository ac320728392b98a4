"""One of three brokers is killed under load and comes back: nothing is lost, nothing is said twice."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from driftloop.kafka.admin import create_topics
from driftloop.kafka.config import client_config
from driftloop.kafka.producer import DeliveryError, Producer
from faults import workload
from support.apache_kafka import KafkaCluster
from support.cluster import Cluster, Outcome, differences
from support.own_settings import own_settings

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]

SEEDS = int(os.environ.get("DRIFTLOOP_TEST_FAULTS", "1"))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_one_of_three_brokers_is_killed(
    kafka_cluster: KafkaCluster, undisturbed: Outcome, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    settings = workload.settings_of(
        kafka_cluster.bootstrap, f"three{seed}x{os.getpid()}", tmp_path, replication_factor=3
    )
    victims: list[int] = []

    def victim() -> int:
        """Half of the time one that matters: the leader of a partition in use, or who coordinates the monitors."""
        kind = chance.choice(["leader", "coordinator", "any", "any"])
        if kind == "leader":
            return kafka_cluster.leader(settings.topics.predictions, chance.randrange(settings.source_partitions))
        if kind == "coordinator":
            return kafka_cluster.coordinator(f"{settings.app_id}-monitor")
        return chance.choice(list(kafka_cluster.brokers))

    down_for = chance.randint(3, 5)

    def disturb(cluster: Cluster, piece: int, pieces: int) -> None:
        if piece == pieces // 3:
            victims.append(victim())
            time.sleep(chance.uniform(0, 0.3))
            print(f"seed {seed}: broker {victims[0]} is killed before piece {piece} of {pieces}, for {down_for} pieces")
            kafka_cluster.brokers[victims[0]].kill()
        if piece == pieces // 3 + 1:
            # The other two go on: what is ready is so with one broker away.
            cluster.wait_for_health(cluster.names, "ready with two brokers", lambda health: health.ready is True)
        if piece == pieces // 3 + down_for:
            kafka_cluster.brokers[victims[0]].start()

    disturbed = workload.run(settings, tmp_path, disturb, pace_s=workload.SLOW_S)
    assert victims
    assert (found := differences(undisturbed, disturbed)) == [], "\n".join(found[:20])
    cluster_is_whole(kafka_cluster, settings.topics.predictions)


def cluster_is_whole(kafka_cluster: KafkaCluster, topic: str) -> None:
    deadline_s = time.monotonic() + 60
    while not kafka_cluster.in_sync([topic]):
        assert time.monotonic() < deadline_s, "the broker that came back has not caught up"
        time.sleep(0.2)


def test_a_write_waits_for_the_copies_that_were_asked_for(
    kafka_cluster: KafkaCluster, topic_prefix: str, tmp_path: Path
) -> None:
    """With one of three brokers away, two copies can be had and three can not."""
    two = own_settings(kafka_cluster.bootstrap, f"{topic_prefix}two", tmp_path, replication_factor=3)
    three = own_settings(
        kafka_cluster.bootstrap, f"{topic_prefix}three", tmp_path, replication_factor=3, min_insync_replicas=3
    )
    for settings in (two, three):
        create_topics(settings)
        cluster_is_whole(kafka_cluster, settings.topics.alerts)
    leader = kafka_cluster.leader(three.topics.alerts, 0)
    follower = next(broker for node, broker in kafka_cluster.brokers.items() if node != leader)
    follower.kill()
    try:
        with Producer(client_config(two)) as producer:
            producer.produce(two.topics.alerts, b"two copies", b"key", 0)
        producer = Producer(client_config(three, message_timeout_ms=4000))
        producer.produce(three.topics.alerts, b"three copies", b"key", 0)
        with pytest.raises(DeliveryError):
            producer.flush(15.0)
    finally:
        follower.start()
    cluster_is_whole(kafka_cluster, two.topics.alerts)
