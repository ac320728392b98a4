"""The relay: order, one at a time, at least once."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import Engine, func, select

from driftloop.events.topics import Topics
from driftloop.registry import OutboxRow, Relay, kafka_sender
from driftloop.registry.database import reading, writing
from driftloop.registry.outbox import ALERTS, add
from driftloop.registry.tables import outbox


class Broker:
    """Keeps what was sent; can be told to fail."""

    def __init__(self) -> None:
        self.batches: list[list[OutboxRow]] = []
        self.fail = False

    def __call__(self, rows: list[OutboxRow]) -> None:
        if self.fail:
            raise ConnectionError("the broker is away")
        self.batches.append(rows)

    @property
    def keys(self) -> list[str]:
        return [row.event_key for batch in self.batches for row in batch]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _fill(engine: Engine, count: int, first: int = 0) -> None:
    with writing(engine) as connection:
        for number in range(first, first + count):
            assert add(connection, event_key=f"e{number}", topic=ALERTS, key="late", value=b"%d" % number)


def test_publishes_in_order_and_once(engine: Engine) -> None:
    broker = Broker()
    relay = Relay(engine, broker, batch_rows=4)
    _fill(engine, 10)
    assert relay.pending() == 10
    assert relay.publish_pending() == 10
    assert broker.keys == [f"e{number}" for number in range(10)]
    assert [len(batch) for batch in broker.batches] == [4, 4, 2]
    row = broker.batches[2][1]
    assert (row.topic, row.key, row.value) == ("alerts", "late", b"9")
    assert relay.publish_pending() == 0
    assert relay.pending() == 0
    _fill(engine, 2, first=10)
    assert relay.publish_pending() == 2


def test_an_event_key_is_taken_once(engine: Engine) -> None:
    with writing(engine) as connection:
        assert add(connection, event_key="e", topic=ALERTS, key="a", value=b"1")
        assert not add(connection, event_key="e", topic=ALERTS, key="a", value=b"2")
    broker = Broker()
    assert Relay(engine, broker).publish_pending() == 1
    assert broker.batches[0][0].value == b"1"


def test_what_could_not_be_sent_stays_and_the_lease_is_given_back(engine: Engine) -> None:
    broker = Broker()
    broker.fail = True
    relay = Relay(engine, broker, owner="one")
    _fill(engine, 3)
    with pytest.raises(ConnectionError):
        relay.publish_pending()
    assert relay.pending() == 3
    broker.fail = False
    assert Relay(engine, broker, owner="two").publish_pending() == 3


class TooLarge(Exception):
    refused = True


def test_an_event_that_can_never_be_sent_holds_nobody_up(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    sent: list[str] = []
    away = True

    def send(rows: list[OutboxRow]) -> None:
        if any(row.event_key == "e2" for row in rows):
            raise TooLarge("Broker: Message size too large")
        if rows[0].event_key == "e3" and away:
            raise ConnectionError("the broker is away")
        sent.extend(row.event_key for row in rows)

    relay = Relay(engine, send)
    _fill(engine, 5)
    with pytest.raises(ConnectionError):
        relay.publish_pending()
    assert relay.pending() == 5
    away = False
    assert relay.publish_pending() == 5
    assert relay.pending() == 0
    assert list(dict.fromkeys(sent)) == ["e0", "e1", "e3", "e4"]
    assert "e2 (alerts, 1 bytes): Broker: Message size too large" in caplog.text


def test_a_crash_between_sending_and_marking_sends_again_in_order(engine: Engine) -> None:
    class Crash(BaseException):
        pass

    broker, clock = Broker(), Clock()
    _fill(engine, 3)

    def send_then_die(rows: list[OutboxRow]) -> None:
        broker(rows)
        raise Crash

    dying = Relay(engine, send_then_die, owner="dying", lease_s=20, now_s=clock)
    dying._lease.give_back = lambda: None  # type: ignore[method-assign]  # a killed process gives nothing back
    with pytest.raises(Crash):
        dying.publish_pending()
    successor = Relay(engine, broker, owner="successor", lease_s=20, now_s=clock)
    assert successor.publish_pending() == 0
    clock.now += 20
    assert successor.publish_pending() == 3
    assert broker.keys == ["e0", "e1", "e2"] * 2


def test_only_one_relay_publishes_at_a_time(engine: Engine) -> None:
    broker = Broker()
    inside, go_on = threading.Event(), threading.Event()

    def slow(rows: list[OutboxRow]) -> None:
        inside.set()
        assert go_on.wait(20)
        broker(rows)

    _fill(engine, 3)
    first = Relay(engine, slow)
    thread = threading.Thread(target=first.publish_pending)
    thread.start()
    assert inside.wait(20)
    assert Relay(engine, broker).publish_pending() == 0
    assert first.publish_pending() == 0
    go_on.set()
    thread.join(20)
    assert broker.keys == ["e0", "e1", "e2"]


def test_many_relays_send_everything_once(engine: Engine) -> None:
    broker = Broker()
    _fill(engine, 60)
    relays = [Relay(engine, broker, batch_rows=7) for _ in range(3)]
    threads = [threading.Thread(target=relay.publish_pending) for relay in relays]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert broker.keys == [f"e{number}" for number in range(60)]


def test_published_rows_do_not_pile_up(engine: Engine) -> None:
    relay = Relay(engine, Broker(), keep_published=5, batch_rows=10)
    for first in range(0, 60, 20):
        _fill(engine, 20, first=first)
        relay.publish_pending()
    with reading(engine) as connection:
        assert connection.execute(select(func.count()).select_from(outbox)).scalar_one() == 5


def test_kafka_sender_names_topics_and_flushes() -> None:
    class FakeProducer:
        def __init__(self) -> None:
            self.calls: list[object] = []

        def produce(self, topic: str, value: bytes | None, key: bytes | None = None) -> None:
            self.calls.append((topic, value, key))

        def flush(self, timeout_s: float) -> None:
            self.calls.append(timeout_s)

    producer = FakeProducer()
    kafka_sender(producer, Topics("mine"), timeout_s=3.0)([OutboxRow(1, "e", ALERTS, "late", b"v")])
    assert producer.calls == [("mine.alerts", b"v", b"late"), 3.0]
    plans = {plan.name for plan in Topics("mine").plans()}
    assert {"mine.alerts", "mine.window-reports", "mine.retrain-commands", "mine.model-events"} <= plans
