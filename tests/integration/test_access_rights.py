"""The closed loop on Apache Kafka with an authorizer: every component under a name of its own, with the rights that
``driftloop topics rights`` lists and no other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from conftest import _skip_unless_ci
from driftloop.cli._publishing import publish_outbox
from driftloop.client import ModelSubscriber
from driftloop.events.decisions import ModelEvent
from driftloop.kafka.acl import COMPONENTS, create_acls
from driftloop.kafka.admin import BrokerError, check_topics, create_topics
from driftloop.kafka.config import client_config
from driftloop.kafka.embedded import free_port
from driftloop.kafka.log_reader import LogReadError, read_partition
from driftloop.kafka.producer import DeliveryError, Producer
from driftloop.registry import ArtifactStore, NewVersion, Registry, create_schema, open_engine
from driftloop.replay.published import read_events, read_published
from driftloop.settings import Settings
from support import world
from support.apache_kafka import ApacheKafka, KafkaUnavailable, kafka_jars
from support.own_settings import own_settings

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

DAYS, PER_DAY = 9, 150


class Guarded:
    """A broker that asks for names, and settings for each of them. Without a name one is the administrator."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        users = " ".join(f'user_{name}="secret of {name}"' for name in (*COMPONENTS, "nobody"))
        self.kafka = ApacheKafka(
            folder / "kafka",
            more_properties=(
                f"listeners=PLAINTEXT://127.0.0.1:{{port}},NAMED://127.0.0.1:{self.port},"
                "CONTROLLER://127.0.0.1:{controller_port}\n"
                f"advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},NAMED://127.0.0.1:{self.port}\n"
                "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,NAMED:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT\n"
                "sasl.enabled.mechanisms=PLAIN\n"
                "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n"
                "super.users=User:ANONYMOUS\n"
                "listener.name.named.plain.sasl.jaas.config="
                f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};\n"
            ),
        )
        self.administrator = self._settings(self.kafka.bootstrap)

    def settings(self, name: str) -> Settings:
        return self._settings(
            f"127.0.0.1:{self.port}",
            security_protocol="SASL_PLAINTEXT",
            sasl_username=name,
            sasl_password=SecretStr(f"secret of {name}"),
            metrics_port=0,
            web_port=free_port(),
        )

    def _settings(self, bootstrap: str, **more: object) -> Settings:
        return own_settings(
            bootstrap, "guarded", self.folder, specs=self.folder / "specs", publish_interval_ms=100, **more
        )


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    try:
        kafka_jars()
    except KafkaUnavailable as error:
        _skip_unless_ci(str(error))
    guarded = Guarded(tmp_path_factory.mktemp("guarded"))
    try:
        guarded.kafka.start()
        for name in COMPONENTS:
            create_acls(guarded.administrator, name, f"User:{name}")
        yield guarded
    finally:
        guarded.kafka.kill()
        shutil.rmtree(guarded.kafka.folder, ignore_errors=True)


def test_the_loop_closes_with_these_rights(guarded: Guarded) -> None:
    with pytest.raises(BrokerError, match="uthoriz"):
        create_topics(guarded.settings("nobody"))
    create_topics(guarded.settings("topics"))
    world.write_spec(guarded.administrator.specs)
    world.register_first_version(guarded.administrator)
    commands = {"monitor": ("worker", "--role", "monitor"), "assessor": ("worker", "--role", "assessor")}
    processes = {
        name: world.Process(
            guarded.settings(name), *commands.get(name, ("trainer",)), log=guarded.folder / f"{name}.log"
        )
        for name in ("monitor", "assessor", "trainer")
    }
    try:
        events = [*world.history(DAYS, PER_DAY, drift_from_day=4), *world.end_of_time(guarded.administrator, DAYS)]
        world.publish(guarded.settings("service"), events)
        reader = guarded.settings("subscriber")

        def decided() -> bool:
            found = read_events(reader, reader.topics.model_events, ModelEvent)
            return any(event.kind in ("promoted", "rejected") and event.command_id for event in found)

        world.wait_for("a challenger that is decided on", decided, processes["trainer"], 120)
        published = read_published(guarded.settings("replay"))
        assert published.reports
        assert published.alerts
        assert published.commands
        with ModelSubscriber(client_config(guarded.settings("service")), "credit", "guarded") as subscriber:
            # One poll ends early, and may be empty, where a partition ends.
            world.wait_for("model events", lambda: bool(subscriber.poll(1.0)), None, 30)
        for name, process in processes.items():
            assert process.stop() == 0, process.text()
            assert "uthorization" not in process.log.read_text(), f"{name} was refused something"
    finally:
        for process in processes.values():
            if process.process.poll() is None:
                process.kill()


def test_a_persons_decision_is_published_with_the_operators_rights(guarded: Guarded) -> None:
    create_topics(guarded.administrator)
    settings = guarded.settings("operator")
    assert [check.problem for check in check_topics(settings) if check.problem] == []
    engine = open_engine(f"sqlite:///{guarded.folder / 'operator.db'}")
    create_schema(engine)
    registry = Registry(engine, ArtifactStore(guarded.folder / "operator-files"))
    registry.ensure_model("by-hand", "binary", "d")
    registry.register_version(NewVersion(model_id="by-hand", version="v1"))
    registry.promote("by-hand", "v1", "reviewed", 1)
    assert publish_outbox(engine, settings, 20.0) is None
    engine.dispose()
    found = read_events(guarded.settings("subscriber"), settings.topics.model_events, ModelEvent)
    assert [event.kind for event in found if event.model_id == "by-hand"] == ["registered", "promoted"]


WRITES = [
    ("monitor", "retrain-commands"),
    ("monitor", "model-events"),
    ("monitor", "predictions"),
    ("assessor", "predictions"),
    ("assessor", "window-partials"),
    ("trainer", "window-partials"),
    ("trainer", "labels"),
    ("service", "labeled"),
    ("service", "model-events"),
    ("service", "retrain-commands"),
    ("subscriber", "alerts"),
    ("replay", "window-reports"),
    ("operator", "predictions"),
    ("operator", "labeled"),
    ("nobody", "predictions"),
]
READS = [
    ("assessor", "predictions"),
    ("assessor", "labeled"),
    ("trainer", "predictions"),
    ("service", "predictions"),
    ("service", "labeled"),
    ("subscriber", "predictions"),
    ("operator", "predictions"),
    ("nobody", "alerts"),
]


@pytest.mark.parametrize(("name", "topic"), WRITES)
def test_nobody_writes_what_is_not_theirs(guarded: Guarded, name: str, topic: str) -> None:
    producer = Producer(client_config(guarded.settings(name)) | {"message.timeout.ms": 10_000})
    producer.produce(f"guarded.{topic}", b"{}", b"k", 0)
    with pytest.raises(DeliveryError, match="uthorization"):
        producer.flush(15.0)


@pytest.mark.parametrize(("name", "topic"), READS)
def test_nobody_reads_what_is_not_theirs(guarded: Guarded, name: str, topic: str) -> None:
    with pytest.raises(LogReadError, match=r"may not see it|uthoriz"):
        list(read_partition(client_config(guarded.settings(name)), f"guarded.{topic}", 0))
