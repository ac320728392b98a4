"""An idempotent producer whose ``flush`` tells the truth."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, Message

from driftloop.kafka.config import ClientConfig

__all__ = ["MAX_MESSAGE_BYTES", "DeliveryError", "Producer"]

#: Above Kafka's own limit of about 1 MB, so that a dead letter may hold the largest record and its headers.
MAX_MESSAGE_BYTES = 2_097_152


#: What is wrong is the record, and not the moment.
_REFUSED = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_RECORD})


class DeliveryError(RuntimeError):
    """Records that were not written, or not known to be written. ``failed`` says how many of them.

    Without retrying they are lost: produce them again, or do not acknowledge what they were made from. ``broken`` says
    that this producer will never write anything again, ``refused`` that at least one of the records never will be, as
    one that is too large.
    """

    def __init__(self, message: str, failed: int, *, broken: bool = False, refused: bool = False) -> None:
        super().__init__(message)
        self.failed = failed
        self.broken = broken
        self.refused = refused


class Producer:
    """Writes records; :meth:`flush` returns only when all of them are written, else raises.

    Keys are placed by murmur2 like Java's clients, aiokafka and Faust do it, so that all agree where a key lives.
    Safe for use from several threads.
    """

    def __init__(self, config: ClientConfig) -> None:
        """``config`` wins over the defaults given here."""
        self._lock = threading.Lock()
        self._failed = 0
        self._first_failure = ""
        self._refused = False
        self._producer = confluent_kafka.Producer(
            {
                "enable.idempotence": True,
                "linger.ms": 5,
                "partitioner": "murmur2_random",
                "message.max.bytes": MAX_MESSAGE_BYTES,
                # What comes first is waited for; partials are a thousand times larger than other records.
                "queue.buffering.max.messages": 200_000,
                "queue.buffering.max.kbytes": 131_072,
                **config,
                "delivery.report.only.error": True,
                "on_delivery": self._on_delivery,
            }
        )

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes | None]] | None = None,
        *,
        wait: bool = True,
    ) -> None:
        """Queues a record. Waits while the queue is full, unless ``wait`` is false.

        Raises :class:`DeliveryError` if the record can never be written (too large, no such partition, the producer has
        broken down) or the queue is full and ``wait`` is false; failures found later are raised by :meth:`flush`.
        """
        arguments: dict[str, Any] = {"topic": topic, "value": value, "key": key}
        if partition is not None:
            arguments["partition"] = partition
        if headers:
            arguments["headers"] = list(headers)
        while True:
            try:
                self._producer.produce(**arguments)
            except BufferError as error:
                if not wait:
                    self._producer.poll(0)
                    raise DeliveryError(
                        f"cannot write to {topic}: the send queue is full; check that the broker is up and reachable", 1
                    ) from error
                # Queued records are written or time out (message.timeout.ms), so this ends.
                self._producer.poll(0.1)
            except KafkaException as error:
                reason: KafkaError = error.args[0]
                broken = reason.fatal() or reason.code() == KafkaError._FATAL
                refused = reason.code() in _REFUSED
                raise DeliveryError(
                    f"cannot write to {topic}: {reason.str()}", 1, broken=broken, refused=refused
                ) from error
            else:
                return

    @property
    def failed(self) -> int:
        """Records known to have failed since the last :meth:`flush`."""
        return self._failed

    def poll(self) -> None:
        """Serves delivery reports. Only needed by who produces for long without :meth:`flush`."""
        self._producer.poll(0)

    def flush(self, timeout_s: float = 60.0) -> None:
        """Waits until everything queued is written.

        Raises :class:`DeliveryError` that names topic and reason if a record since the last flush was refused, or if
        some are still not written after ``timeout_s``.
        """
        try:
            waiting = self._producer.flush(timeout_s)
        except (KafkaException, SystemError) as error:
            # A fatal error is raised from inside of what is served; where a delivery report is served after it, the
            # interpreter finds an exception set already, and says so instead.
            cause = error if isinstance(error, KafkaException) else error.__cause__
            if not isinstance(cause, KafkaException):
                raise
            why = cause.args[0].str()
            raise DeliveryError(f"nothing can be written any more: {why}", len(self._producer), broken=True) from error
        with self._lock:
            failed, why, refused = self._failed, self._first_failure, self._refused
            self._failed, self._first_failure, self._refused = 0, "", False
        if failed:
            raise DeliveryError(
                f"{failed} records were not written; the first: {why}", failed + waiting, refused=refused
            )
        if waiting:
            raise DeliveryError(
                f"{waiting} records are not written after {timeout_s:g} s; check that the broker is up and reachable",
                waiting,
            )

    def close(self, timeout_s: float = 60.0) -> None:
        """Flushes, see there."""
        self.flush(timeout_s)

    def __enter__(self) -> Producer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            return
        with self._lock:
            self._failed += 1
            self._refused = self._refused or error.code() in _REFUSED
            if self._failed == 1:
                self._first_failure = f"{message.topic()}[{message.partition()}]: {error.str()}"
