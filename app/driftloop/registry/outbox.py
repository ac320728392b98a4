"""The outbox: events written in the transaction that they belong to, published to Kafka afterwards.

What is published may come twice (a crash after sending and before marking): readers deduplicate by the event's id. It
comes in the order in which it was written, for every key.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection, Engine, delete, func, select, update

from driftloop.events.topics import Topics
from driftloop.registry.database import insert_new, reading, writing
from driftloop.registry.lease import Lease
from driftloop.registry.tables import outbox

__all__ = [
    "ALERTS",
    "MESSAGE_TIMEOUT_MS",
    "MODEL_EVENTS",
    "POLICY_DECISIONS",
    "RETRAIN_COMMANDS",
    "WINDOW_REPORTS",
    "OutboxRow",
    "Relay",
    "add",
    "kafka_sender",
]

#: Topic names without their prefix.
WINDOW_REPORTS = "window-reports"
ALERTS = "alerts"
POLICY_DECISIONS = "policy-decisions"
RETRAIN_COMMANDS = "retrain-commands"
MODEL_EVENTS = "model-events"

log = logging.getLogger(__name__)

_LEASE_NAME = "outbox"
#: A record that the broker has not taken by then is given up. A relay's producer is its own and has this as its
#: ``message.timeout.ms``: what is still in its queue when the lease is another one's would come after later events.
MESSAGE_TIMEOUT_MS = 10_000
_SEND_S = 15.0
_LEASE_S = 20.0


@dataclass(frozen=True)
class OutboxRow:
    """One event to be published. ``topic`` is the name without prefix; ``key`` the record key (the model id)."""

    id: int
    event_key: str
    topic: str
    key: str
    value: bytes


def add(connection: Connection, *, event_key: str, topic: str, key: str, value: bytes) -> bool:
    """Put an event into the outbox, in the caller's transaction. False if one with this ``event_key`` is there."""
    return insert_new(
        connection, outbox, {"event_key": event_key, "topic": topic, "key": key, "value": value, "published": False}
    )


class ProducerLike(Protocol):
    """What :func:`kafka_sender` needs of a producer."""

    def produce(self, topic: str, value: bytes | None, key: bytes | None = None) -> None: ...

    def flush(self, timeout_s: float) -> None: ...


def kafka_sender(
    producer: ProducerLike, topics: Topics, timeout_s: float = _SEND_S
) -> Callable[[Sequence[OutboxRow]], None]:
    """A ``send`` for :class:`Relay`: produces every row and waits until the broker has all of them."""

    def send(rows: Sequence[OutboxRow]) -> None:
        for row in rows:
            producer.produce(f"{topics.prefix}.{row.topic}", row.value, row.key.encode())
        producer.flush(timeout_s)

    return send


def _never_will_be(error: Exception) -> bool:
    """Whether a record is refused for what it is; any other error may pass."""
    return bool(getattr(error, "refused", False))


class Relay:
    """Publishes the outbox: reads unpublished rows in order, sends them, marks them.

    Several processes may each have one: a lease in the database lets one of them publish at a time, so that nothing is
    sent twice and the order holds. If its holder dies, the lease ends after ``lease_s`` (seconds of wall time, as told
    by ``now_s``); a ``send`` that takes longer than that may lead to a second copy.

    ``send`` gets rows and returns when they are safely with the broker, or raises: then they stay unpublished. An error
    with a true ``refused`` says that one of them never will be: they are sent one by one then, without that one. Of the
    published rows the last ``keep_published`` stay in the table, for people who look.
    """

    def __init__(
        self,
        engine: Engine,
        send: Callable[[list[OutboxRow]], None],
        *,
        lease_s: float = _LEASE_S,
        batch_rows: int = 500,
        keep_published: int = 10_000,
        now_s: Callable[[], float] = time.time,
        owner: str | None = None,
    ) -> None:
        self._engine = engine
        self._send = send
        self._lease = Lease(engine, _LEASE_NAME, lease_s, now_s=now_s, owner=owner)
        self._batch_rows = batch_rows
        self._keep_published = keep_published
        self._busy = threading.Lock()

    def pending(self) -> int:
        """How many events wait to be published."""
        with reading(self._engine) as connection:
            statement = select(func.count()).select_from(outbox).where(outbox.c.published.is_(False))
            return int(connection.execute(statement).scalar_one())

    def publish_pending(self) -> int:
        """Publish what is unpublished. Returns how many events were sent; 0 also if another relay is at it."""
        if not self._busy.acquire(blocking=False):
            return 0
        try:
            if not self._read() or not self._lease.take():
                return 0
            try:
                return self._publish()
            finally:
                self._lease.give_back()
        finally:
            self._busy.release()

    def _publish(self) -> int:
        sent = 0
        while rows := self._read():
            try:
                self._send(rows)
            except Exception as error:
                if not _never_will_be(error):
                    raise
                self._send_each(rows)
            sent += len(rows)
            if not self._mark(rows):
                break
        return sent

    def _send_each(self, rows: Sequence[OutboxRow]) -> None:
        """One of them can never be sent, and must not hold up the others for ever: it is left out, and said."""
        for row in rows:
            try:
                self._send([row])
            except Exception as error:
                if not _never_will_be(error):
                    raise
                log.error(
                    "an event cannot be published, it is in the database alone: %s (%s, %d bytes): %s",
                    row.event_key,
                    row.topic,
                    len(row.value),
                    error,
                )

    def _read(self) -> list[OutboxRow]:
        columns = (outbox.c.id, outbox.c.event_key, outbox.c.topic, outbox.c.key, outbox.c.value)
        statement = select(*columns).where(outbox.c.published.is_(False)).order_by(outbox.c.id).limit(self._batch_rows)
        with reading(self._engine) as connection:
            return [
                OutboxRow(row.id, row.event_key, row.topic, row.key, bytes(row.value))
                for row in connection.execute(statement)
            ]

    def _mark(self, rows: Sequence[OutboxRow]) -> bool:
        """Mark the rows, which were sent whoever has the lease now. True if this relay still has it, then renewed."""
        with writing(self._engine) as connection:
            connection.execute(update(outbox).where(outbox.c.id.in_([row.id for row in rows])).values(published=True))
            old = outbox.c.id <= rows[-1].id - self._keep_published
            connection.execute(delete(outbox).where(outbox.c.published.is_(True), old))
            return self._lease.renew(connection)
