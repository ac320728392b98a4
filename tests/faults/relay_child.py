"""A relay in a process of its own that dies, or stops, at a chosen point of its work."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence

from driftloop.events.topics import Topics
from driftloop.kafka.producer import Producer
from driftloop.registry import OutboxRow, Relay, kafka_sender, open_engine

__all__ = ["BATCH_ROWS", "LEASE_S", "Send", "faulty", "publish_all"]

Send = Callable[[Sequence[OutboxRow]], None]
LEASE_S = 0.8
BATCH_ROWS = 7


def faulty(send: Send, fault: str) -> Send:
    """``send`` that kills its process: ``before`` anything is sent, ``amid`` the rows, or ``after`` the last of them is
    with the broker and before it is marked. ``stop`` is a process that is not scheduled for a while, amid the rows."""

    def sending(rows: Sequence[OutboxRow]) -> None:
        if fault == "before":
            _signal(signal.SIGKILL)
        half = (len(rows) + 1) // 2
        if fault in ("amid", "stop"):
            send(rows[:half])
            _signal(signal.SIGKILL if fault == "amid" else signal.SIGSTOP)
            rows = rows[half:]
        send(rows)
        if fault == "after":
            _signal(signal.SIGKILL)

    return sending


def _signal(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def publish_all(database_url: str, bootstrap: str, prefix: str, fault: str, until_empty: bool) -> None:
    """Publish the outbox again and again; with ``until_empty`` until nothing is left."""
    engine = open_engine(database_url)
    producer = Producer({"bootstrap.servers": bootstrap})
    send: Send = kafka_sender(producer, Topics(prefix))
    relay = Relay(engine, faulty(send, fault), lease_s=LEASE_S, batch_rows=BATCH_ROWS)
    while True:
        relay.publish_pending()
        if until_empty and not relay.pending():
            break
        time.sleep(0.02)
    engine.dispose()
