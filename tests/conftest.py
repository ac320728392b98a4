"""Shared fixtures: brokers, and settings under a topic prefix of each test's own."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from driftloop.kafka.admin import wait_for_broker
from driftloop.kafka.embedded import EmbeddedBroker
from driftloop.settings import Settings
from support.apache_kafka import ApacheKafka, KafkaCluster, KafkaUnavailable, kafka_jars
from support.own_settings import own_settings

TEST_KAFKA = "DRIFTLOOP_TEST_KAFKA"


class Broker(Protocol):
    """What tests need to know of a broker."""

    @property
    def bootstrap(self) -> str: ...


class GivenBroker:
    """A broker that somebody else runs (DRIFTLOOP_TEST_KAFKA=host:port)."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap


class SettingsFor(Protocol):
    def __call__(self, broker: Broker, /, **overrides: Any) -> Settings: ...


def _skip_unless_ci(reason: str) -> None:
    if os.environ.get("CI", "").lower() in {"1", "true", "yes"}:
        pytest.fail(f"CI must not skip the tests on Apache Kafka: {reason}")
    pytest.skip(f"APACHE KAFKA TESTS SKIPPED: {reason}")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of whoever runs the tests must not reach into them."""
    for name in os.environ:
        if name.startswith("DRIFTLOOP_") and not name.startswith("DRIFTLOOP_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def embedded_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    """The embedded broker, one for the whole test run."""
    with EmbeddedBroker(log_file=tmp_path_factory.mktemp("embedded") / "broker.log") as broker:
        yield broker


@pytest.fixture(scope="session")
def apache_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Apache Kafka, one for the whole test run: the given one, or from its jars. Tests must not stop it."""
    if given := os.environ.get(TEST_KAFKA):
        wait_for_broker({"bootstrap.servers": given}, 30)
        yield GivenBroker(given)
        return
    try:
        kafka_jars()
    except KafkaUnavailable as error:
        _skip_unless_ci(str(error))
    broker = ApacheKafka(tmp_path_factory.mktemp("kafka"))
    try:
        yield broker.start()
    finally:
        broker.stop()


@pytest.fixture
def own_apache_kafka(tmp_path: Path) -> Iterator[ApacheKafka]:
    """Apache Kafka of this test alone, started: it may be stopped, killed, paused and started again."""
    try:
        kafka_jars()
    except KafkaUnavailable as error:
        _skip_unless_ci(str(error))
    broker = ApacheKafka(tmp_path / "kafka")
    try:
        yield broker.start()
    finally:
        broker.kill()
        shutil.rmtree(broker.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def kafka_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """Three brokers, started. Tests may kill any of them, and must leave all of them running."""
    try:
        kafka_jars()
    except KafkaUnavailable as error:
        _skip_unless_ci(str(error))
    folder = tmp_path_factory.mktemp("kafka-cluster")
    cluster = KafkaCluster(folder)
    try:
        yield cluster.start()
    finally:
        cluster.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(
    params=[
        pytest.param("embedded_broker", marks=pytest.mark.broker, id="embedded"),
        pytest.param("apache_kafka", marks=pytest.mark.kafka, id="apache"),
    ]
)
def any_broker(request: pytest.FixtureRequest) -> Broker:
    """Runs the test on the embedded broker and on Apache Kafka."""
    broker: Broker = request.getfixturevalue(request.param)
    return broker


@pytest.fixture
def topic_prefix() -> str:
    """A topic prefix that no other test has."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def settings_for(tmp_path: Path, topic_prefix: str) -> SettingsFor:
    """``settings_for(broker, **overrides)``: settings under this test's own topic prefix and folder."""

    def build(broker: Broker, /, **overrides: Any) -> Settings:
        return own_settings(broker.bootstrap, topic_prefix, tmp_path, **overrides)

    return build
