"""The outbox and its relay: whichever side of a commit or publish the crash comes, nothing is lost, nothing is out of
order, and copies have the id of what they are copies of."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from conftest import Broker
from driftloop.events.topics import Topics
from driftloop.kafka.admin import create_topics
from driftloop.kafka.config import client_config
from driftloop.kafka.log_reader import read_topic
from driftloop.kafka.producer import DeliveryError, Producer
from driftloop.registry import Relay, create_schema, kafka_sender, open_engine
from driftloop.registry.database import writing
from driftloop.registry.outbox import ALERTS, RETRAIN_COMMANDS, add
from driftloop.settings import Settings
from faults.relay_child import BATCH_ROWS, LEASE_S, publish_all
from support.apache_kafka import ApacheKafka
from support.own_settings import own_settings
from support.postgres import PostgresServer

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SEEDS = int(os.environ.get("DRIFTLOOP_TEST_FAULTS", "1"))
KEYS = ("credit", "flights", "churn")

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["faults.relay_child"])


class RolledBack(Exception):
    """A decision that did not come to be."""


class Outbox:
    """An outbox with its topics, what was committed to it, and the relays at work."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.settings = settings
        self.chance = random.Random(seed)
        self.engine: Engine = open_engine(settings.resolved_database_url)
        create_schema(self.engine)
        create_topics(settings)
        self.written: list[tuple[str, str, str]] = []  # topic, key, id
        self.relays: list[multiprocessing.process.BaseProcess] = []

    def write(self, rows: int) -> None:
        """Commit so many events in transactions of several; others are rolled back and must never be seen."""
        while rows > 0:
            count = min(rows, self.chance.randint(1, 5))
            lost = self.chance.random() < 0.2
            batch = [
                (self.chance.choice((ALERTS, RETRAIN_COMMANDS)), self.chance.choice(KEYS), f"{len(self.written) + at}")
                for at in range(count)
            ]
            try:
                with writing(self.engine) as connection:
                    for topic, key, name in batch:
                        assert add(connection, event_key=name, topic=topic, key=key, value=name.encode())
                    if lost:
                        raise RolledBack
            except RolledBack:
                continue
            # The same decision again, as after a crash of who made it: the outbox has it already.
            with writing(self.engine) as connection:
                assert not add(connection, event_key=batch[0][2], topic=batch[0][0], key=batch[0][1], value=b"again")
            self.written += batch
            rows -= count

    def relay(self, fault: str = "none", *, until_empty: bool = False) -> multiprocessing.process.BaseProcess:
        arguments = (self.settings.resolved_database_url, self.settings.bootstrap, self.settings.topic_prefix)
        process = PROCESSES.Process(target=publish_all, args=(*arguments, fault, until_empty))
        process.start()
        self.relays.append(process)
        return process

    def pending(self) -> int:
        return Relay(self.engine, lambda rows: None).pending()

    def published(self) -> dict[tuple[str, str], list[str]]:
        """By topic and key, in order, copies included."""
        found: dict[tuple[str, str], list[str]] = {}
        for topic in (ALERTS, RETRAIN_COMMANDS):
            name = f"{Topics(self.settings.topic_prefix).prefix}.{topic}"
            for records in read_topic(client_config(self.settings), name):
                for record in records:
                    assert record.key is not None
                    assert record.value is not None
                    found.setdefault((topic, record.key.decode()), []).append(record.value.decode())
        return found

    def check(self, *, copies: int) -> None:
        """Everything is there, in order by first appearance, with no more than so many copies."""
        published = self.published()
        for topic, key in {(topic, key) for topic, key, _ in self.written}:
            expected = [name for of, at, name in self.written if (of, at) == (topic, key)]
            assert list(dict.fromkeys(published[topic, key])) == expected, f"{topic} of {key}"
        assert sum(map(len, published.values())) - len(self.written) <= copies

    def close(self) -> None:
        for process in self.relays:
            if process.is_alive():
                process.kill()
            process.join(10)
        self.engine.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str | None:
    """None: the SQLite file of the test's own folder."""
    if request.param == "sqlite":
        return None
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.url


@pytest.fixture
def outbox(
    request: pytest.FixtureRequest, apache_kafka: Broker, topic_prefix: str, tmp_path: Path, database: str | None
) -> Iterator[Outbox]:
    seed = request.node.callspec.params.get("seed", 0)
    settings = own_settings(apache_kafka.bootstrap, topic_prefix, tmp_path, database_url=database)
    (tmp_path / "data").mkdir()
    made = Outbox(settings, seed)
    try:
        yield made
    finally:
        made.close()


def test_a_crash_on_either_side_of_commit_and_publish(outbox: Outbox) -> None:
    faults = ["before", "amid", "after", "after"]
    for fault in faults:
        outbox.write(12)
        dying = outbox.relay(fault)
        dying.join(30)
        assert dying.exitcode == -signal.SIGKILL, fault
    last = outbox.relay(until_empty=True)
    last.join(30)
    assert last.exitcode == 0
    assert outbox.pending() == 0
    # Of a relay killed before it sends nothing is there twice, of the others no more than the batch in its hands.
    outbox.check(copies=BATCH_ROWS * sum(fault != "before" for fault in faults))


def test_relays_side_by_side_send_nothing_twice(outbox: Outbox) -> None:
    for _ in range(3):
        outbox.relay()
    for _ in range(10):
        outbox.write(10)
        time.sleep(outbox.chance.uniform(0, 0.05))
    _wait_until_empty(outbox)
    outbox.check(copies=0)


def test_a_relay_that_wakes_up_after_its_lease_only_repeats(outbox: Outbox) -> None:
    outbox.write(20)
    asleep = outbox.relay("stop", until_empty=True)
    _wait_until_stopped(asleep)
    time.sleep(LEASE_S)
    outbox.write(10)
    other = outbox.relay(until_empty=True)
    other.join(30)
    assert other.exitcode == 0
    assert asleep.pid is not None
    os.kill(asleep.pid, signal.SIGCONT)
    asleep.join(30)
    outbox.check(copies=BATCH_ROWS)


def test_what_could_not_be_sent_does_not_come_after_what_another_relay_sent(
    own_apache_kafka: ApacheKafka, tmp_path: Path
) -> None:
    """The broker is away for longer than a relay waits. What was in its hands another one publishes, with more."""
    settings = own_settings(own_apache_kafka.bootstrap, "away", tmp_path)
    (tmp_path / "data").mkdir()
    outbox, topics = Outbox(settings, 0), Topics(settings.topic_prefix)
    waiting = Producer(client_config(settings, message_timeout_ms=5_000))
    first = Relay(outbox.engine, kafka_sender(waiting, topics, timeout_s=8.0), owner="first")
    outbox.write(10)
    _wait_until_published(first)
    own_apache_kafka.stop()
    outbox.write(20)
    with pytest.raises(DeliveryError):
        first.publish_pending()
    own_apache_kafka.start()
    outbox.write(10)
    with Producer(client_config(settings)) as producer:
        assert Relay(outbox.engine, kafka_sender(producer, topics), owner="second").publish_pending() == 30
    waiting.flush(10)
    outbox.check(copies=0)
    outbox.close()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_relays_killed_at_random_moments(outbox: Outbox, seed: int) -> None:
    print(f"seed {seed}")
    relays = [outbox.relay(), outbox.relay()]
    kills = 6
    for _ in range(kills):
        outbox.write(outbox.chance.randint(1, 40))
        time.sleep(outbox.chance.uniform(0, 0.4))
        victim = relays.pop(outbox.chance.randrange(2))
        victim.kill()
        relays.append(outbox.relay())
    _wait_until_empty(outbox)
    outbox.check(copies=BATCH_ROWS * kills)


def _wait_until_published(relay: Relay) -> None:
    """A broker that was started a moment ago may take its time for a first producer."""
    deadline_s = time.monotonic() + 60
    while relay.pending():
        assert time.monotonic() < deadline_s
        with contextlib.suppress(DeliveryError):
            relay.publish_pending()


def _wait_until_empty(outbox: Outbox) -> None:
    deadline_s = time.monotonic() + 60
    while outbox.pending():
        assert time.monotonic() < deadline_s, f"{outbox.pending()} events are not published"
        time.sleep(0.05)


def _wait_until_stopped(process: multiprocessing.process.BaseProcess) -> None:
    deadline_s = time.monotonic() + 30
    while " T " not in Path(f"/proc/{process.pid}/stat").read_text():
        assert time.monotonic() < deadline_s, "the relay did not stop amid its rows"
        time.sleep(0.02)
