"""Whether the broker answers, for readiness probes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException

from driftloop.kafka.config import ClientConfig
from driftloop.kafka.log_reader import reader_config

__all__ = ["BrokerCheck"]

_ASK_EVERY_S = 1.0
#: Less than probes have (a second by default in Kubernetes), and a broker that is well answers in milliseconds.
_PATIENCE_S = 0.7


class BrokerCheck:
    """A check for ``/readyz``: asks any broker of the cluster for one topic's metadata, at most once a second.

    One broker of several that is away does not fail it, as it does not stop the clients.
    """

    def __init__(self, config: ClientConfig, topic: str, clock: Callable[[], float] = time.monotonic) -> None:
        # A consumer's question creates no topic, unlike a producer's or an admin client's. Lines about refused
        # connections are expected here.
        self._client = Consumer({**reader_config(config), "log_level": 0, "reconnect.backoff.max.ms": 1000})
        self._topic = topic
        self._clock = clock
        self._lock = threading.Lock()
        self._asked_s: float | None = None
        self._problem: str | None = None

    def __call__(self) -> str | None:
        with self._lock:
            if self._asked_s is None or self._clock() - self._asked_s >= _ASK_EVERY_S:
                self._problem = self._ask()
                self._asked_s = self._clock()
            return self._problem

    def _ask(self) -> str | None:
        try:
            self._client.list_topics(self._topic, timeout=_PATIENCE_S)
        except KafkaException as error:
            return f"no broker answers: {error.args[0].str()}"
        return None
