"""Reads topic partitions in order, from an offset to an offset, without a consumer group.

Recovery, replay and training-set building all read through :func:`read_partition`. Ends are not taken from ListOffsets,
which some brokers (Tansu) answer with the base offset of the last batch; they come from the high watermark in fetch
responses and from librdkafka's partition EOF, which are right everywhere.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from driftloop.events.batch import RecordBatch
from driftloop.kafka.config import ClientConfig

__all__ = [
    "LogReadError",
    "Record",
    "at_their_ends",
    "end_offset",
    "end_offsets",
    "partition_count",
    "read_batches",
    "read_partition",
    "read_topic",
    "reader_config",
    "start_offsets",
]

log = logging.getLogger(__name__)

#: Without a record or an end-of-partition for this long the broker counts as gone.
STALL_TIMEOUT_S = 30.0

#: A partition was just made, or has moved to another broker.
_NO_LEADER = frozenset({KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION})
#: What the client says while it reconnects by itself.
_PASSING = _NO_LEADER | frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._RESOLVE,
    }
)


class LogReadError(RuntimeError):
    """A partition could not be read. The message names topic, partition, reason, and what to do."""


class Record(NamedTuple):
    """One record of a topic partition. ``timestamp_ms`` is the record's own time, not event time; -1 if it has none."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    topic: str = ""


def reader_config(config: ClientConfig) -> dict[str, Any]:
    """Consumer configuration for reading without a group: nothing is committed, ends are reported."""
    return {
        "fetch.wait.max.ms": 50,
        "fetch.error.backoff.ms": 100,
        **config,
        "group.id": config.get("group.id", "driftloop-log-reader"),
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
    }


def as_record(message: Message) -> Record:
    """The record in a message of confluent-kafka."""
    return Record(
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        message.key(),
        message.value(),
        message.headers() or [],
        message.topic(),
    )


def partition_count(config: ClientConfig, topic: str, timeout_s: float = 10.0) -> int:
    """Number of partitions of the topic. Raises :class:`LogReadError` if the topic or the broker is not there."""
    consumer = Consumer(reader_config(config))
    try:
        return count_partitions(consumer, topic, timeout_s)
    finally:
        consumer.close()


def read_partition(
    config: ClientConfig,
    topic: str,
    partition: int,
    start: int = 0,
    stop: int | None = None,
    batch: int = 5000,
    *,
    stall_timeout_s: float = STALL_TIMEOUT_S,
) -> Iterator[list[Record]]:
    """Records with ``start <= offset < stop`` in offset order, in lists of at most ``batch``.

    ``stop`` None is the end of the log as it was at the first fetch, so that reading ends even while others write.
    A ``stop`` beyond the end stops at the end; a ``start`` below the log's start begins there (and logs a warning); a
    ``start`` beyond the end gives nothing. Offsets may jump (compaction, transaction markers): ``stop`` holds all the
    same. Raises :class:`LogReadError` if the partition does not exist or nothing comes for ``stall_timeout_s``.
    """
    for messages in _messages(config, topic, partition, start, stop, batch, stall_timeout_s):
        yield [as_record(message) for message in messages]


def read_batches(
    config: ClientConfig,
    topic: str,
    partition: int,
    start: int = 0,
    stop: int | None = None,
    batch: int = 5000,
    *,
    stall_timeout_s: float = STALL_TIMEOUT_S,
) -> Iterator[RecordBatch]:
    """Like :func:`read_partition`, column by column, as the core takes them."""
    for messages in _messages(config, topic, partition, start, stop, batch, stall_timeout_s):
        yield RecordBatch(
            topic,
            partition,
            [message.offset() for message in messages],
            [message.timestamp()[1] for message in messages],
            [message.key() for message in messages],
            [message.value() for message in messages],
            [message.headers() or () for message in messages],
        )


def at_their_ends(
    config: ClientConfig, offsets: Mapping[tuple[str, int], int], timeout_s: float = 5.0
) -> set[tuple[str, int]]:
    """Of topic partitions those that have no record at the given offset or after it (markers of transactions are
    none). One that does not answer in time is not among them; :class:`LogReadError` for one that cannot be read."""
    consumer = Consumer(reader_config(config))
    try:
        consumer.assign([TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()])
        waiting, ended = set(offsets), set()
        deadline_s = time.monotonic() + timeout_s
        while waiting and time.monotonic() < deadline_s:
            for message in consume(consumer, 100, 0.1):
                at = (message.topic(), message.partition())
                if is_end(message) and at in waiting:
                    ended.add(at)
                elif at in waiting:
                    consumer.pause([TopicPartition(*at)])
                waiting.discard(at)
        return ended
    finally:
        consumer.close()


def read_topic(
    config: ClientConfig, topic: str, partitions: Iterable[int] | None = None, batch: int = 5000
) -> Iterator[list[Record]]:
    """Every record of the topic (or of these partitions), one partition after the other."""
    if partitions is None:
        partitions = range(partition_count(config, topic))
    for partition in partitions:
        yield from read_partition(config, topic, partition, batch=batch)


def end_offset(config: ClientConfig, topic: str, partition: int) -> int:
    """The offset that the next record of the partition will get."""
    return end_offsets(config, topic, [partition])[partition]


def end_offsets(
    config: ClientConfig,
    topic: str,
    partitions: Iterable[int] | None = None,
    *,
    stall_timeout_s: float = STALL_TIMEOUT_S,
) -> dict[int, int]:
    """Partition -> the offset that its next record will get.

    Starts at what the broker says is the end (exact on Kafka, within the last batch on Tansu) and fetches from there.
    """
    consumer = Consumer(reader_config(config))
    try:
        if partitions is None:
            partitions = range(count_partitions(consumer, topic))
        starts = [TopicPartition(topic, partition) for partition in sorted(set(partitions))]
        for start in starts:
            _, start.offset = _claimed_span(consumer, start, stall_timeout_s)
        waiting = {start.partition for start in starts}
        ends: dict[int, int] = {}
        consumer.assign(starts)
        quiet = _Patience(stall_timeout_s, f"the ends of {topic}")
        while waiting:
            for message in consume(consumer, 1, 0.1):
                quiet.moved()
                partition = message.partition()
                if is_end(message):
                    ends[partition] = message.offset()
                    waiting.discard(partition)
                elif (high := _high_watermark(consumer, topic, partition)) is not None:
                    ends[partition] = high
                    waiting.discard(partition)
            quiet.check()
        return ends
    finally:
        consumer.close()


def start_offsets(
    config: ClientConfig, topic: str, partitions: Iterable[int], *, timeout_s: float = STALL_TIMEOUT_S
) -> dict[int, int]:
    """Partition -> the lowest offset that may still be there: what was below it, retention has removed."""
    consumer = Consumer(reader_config(config))
    try:
        return {at: _claimed_span(consumer, TopicPartition(topic, at), timeout_s)[0] for at in sorted(set(partitions))}
    finally:
        consumer.close()


def _messages(
    config: ClientConfig, topic: str, partition: int, start: int, stop: int | None, batch: int, stall_timeout_s: float
) -> Iterator[list[Message]]:
    if batch < 1:
        raise ValueError(f"a batch holds at least 1 record, got {batch}")
    if start < 0:
        raise ValueError(f"cannot read {topic}[{partition}] from offset {start}: offsets start at 0")
    if stop is not None and stop <= start:
        return
    consumer = Consumer(reader_config(config))
    try:
        count = count_partitions(consumer, topic)
        if not 0 <= partition < count:
            raise LogReadError(
                f"cannot read {topic}[{partition}]: the topic has {count} partitions; "
                "check DRIFTLOOP_SOURCE_PARTITIONS and DRIFTLOOP_MODEL_PARTITIONS"
            )
        consumer.assign([TopicPartition(topic, partition, start)])
        quiet = _Patience(stall_timeout_s, f"{topic}[{partition}] from offset {start}")
        # One message alone first: it tells where the log begins and, with its fetch response, where it ends.
        opening = _first(consumer, topic, partition, start, quiet)
        if opening is None:
            return
        if stop is None:
            stop = _high_watermark(consumer, topic, partition)
        messages, at = [opening], opening.offset() + 1
        while True:
            room = batch - len(messages) if stop is None else min(batch - len(messages), stop - at)
            messages += consume(consumer, room, 0.1) if room > 0 else []
            if messages:
                quiet.moved()
            kept, ended = _before_stop(messages, stop)
            if kept:
                at = kept[-1].offset() + 1
                yield kept
                quiet.moved()
            if ended or (stop is not None and at >= stop):
                return
            quiet.check()
            messages = []
    finally:
        consumer.close()


def _first(consumer: Consumer, topic: str, partition: int, start: int, quiet: _Patience) -> Message | None:
    """The first message at or after ``start``; None if the log ends before."""
    while True:
        for message in consume(consumer, 1, 0.1):
            if is_end(message):
                return None
            offset = message.offset()
            if offset < start:
                # The broker refused the offset as out of range, and the client went back to the log's start.
                break
            if offset > start:
                log.warning("%s[%s]: asked for offset %s, the first there is %s", topic, partition, start, offset)
            return message
        else:
            high = _high_watermark(consumer, topic, partition)
            if high is None or start < high:
                quiet.check()
                continue
        log.warning("%s[%s]: offset %s is beyond the end of the log: nothing to read", topic, partition, start)
        return None


def _before_stop(messages: list[Message], stop: int | None) -> tuple[list[Message], bool]:
    """The records below ``stop``, and whether ``stop`` or the end of the log was met."""
    for index, message in enumerate(messages):
        if is_end(message) or (stop is not None and message.offset() >= stop):
            return messages[:index], True
    return messages, False


class _Patience:
    """Ends a wait in which nothing moves."""

    def __init__(self, timeout_s: float, what: str) -> None:
        self._timeout_s = timeout_s
        self._what = what
        self._since = time.monotonic()

    def moved(self) -> None:
        self._since = time.monotonic()

    def check(self) -> None:
        if time.monotonic() - self._since > self._timeout_s:
            raise LogReadError(
                f"cannot read {self._what}: nothing came for {self._timeout_s:g} s; "
                "check that the broker is up and DRIFTLOOP_BOOTSTRAP names it"
            )


def consume(consumer: Consumer, limit: int, timeout_s: float) -> list[Message]:
    """Messages and ends of partitions, without what passes by itself (a broker that is away for a while)."""
    messages = consumer.consume(limit, timeout_s)
    return [message for message in messages if (error := message.error()) is None or error.code() not in _PASSING]


def is_end(message: Message) -> bool:
    """Whether this is no record but the end of a partition. Raises :class:`LogReadError` if it is an error."""
    error = message.error()
    if error is None:
        return False
    if error.code() == KafkaError._PARTITION_EOF:
        return True
    raise LogReadError(f"cannot read {message.topic()}[{message.partition()}]: {error.str()}")


def _claimed_span(consumer: Consumer, place: TopicPartition, timeout_s: float) -> tuple[int, int]:
    """Start and end of a partition as the broker says. Waits while its leader is not known, as when it is just made."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            first, end = consumer.get_watermark_offsets(place, max(0.1, deadline_s - time.monotonic()), cached=False)
        except KafkaException as error:
            if error.args[0].code() in _NO_LEADER and time.monotonic() < deadline_s:
                time.sleep(0.05)
                continue
            raise LogReadError(
                f"cannot find start and end of {place.topic}[{place.partition}]: {error.args[0].str()}; check that the "
                "partition exists and the broker is up"
            ) from error
        return int(first), int(end)


def _high_watermark(consumer: Consumer, topic: str, partition: int) -> int | None:
    """The high watermark of the last fetch response, None before the first."""
    _, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
    return high if high >= 0 else None


def count_partitions(consumer: Consumer, topic: str, timeout_s: float = 10.0) -> int:
    try:
        metadata = consumer.list_topics(topic, timeout_s).topics[topic]
    except KafkaException as error:
        raise LogReadError(
            f"cannot read {topic}: {error.args[0].str()}; check that the broker is up and DRIFTLOOP_BOOTSTRAP names it"
        ) from error
    if metadata.error is not None or not metadata.partitions:
        raise LogReadError(
            f"cannot read {topic}: there is no such topic; `driftloop topics create` makes it (or this "
            "user may not see it: `driftloop topics rights`)"
        )
    return len(metadata.partitions)
