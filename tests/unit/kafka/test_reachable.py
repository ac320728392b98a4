"""The readiness check of the broker."""

from __future__ import annotations

import time

from driftloop.kafka.embedded import free_port
from driftloop.kafka.reachable import BrokerCheck


def test_a_broker_that_is_not_there_is_named_soon_and_not_asked_at_every_probe() -> None:
    now = [0.0]
    check = BrokerCheck({"bootstrap.servers": f"127.0.0.1:{free_port()}"}, "t", clock=lambda: now[0])
    started_s = time.monotonic()
    problem = check()
    assert problem is not None
    assert problem.startswith("no broker answers: ")
    assert time.monotonic() - started_s < 2.0
    asked: list[str] = []

    class Broker:
        def list_topics(self, topic: str, timeout: float) -> None:
            asked.append(topic)

    check._client = Broker()  # type: ignore[assignment]
    now[0] = 0.5
    assert check() == problem
    assert asked == []
    now[0] = 1.5
    assert check() is None
    assert asked == ["t"]
