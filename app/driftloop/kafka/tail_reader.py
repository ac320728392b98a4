"""Follows topics as they grow, without a consumer group: for screens, subscribers and progress."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Literal

from confluent_kafka import Consumer, TopicPartition

from driftloop.kafka.config import ClientConfig
from driftloop.kafka.log_reader import (
    Record,
    as_record,
    consume,
    count_partitions,
    end_offsets,
    is_end,
    reader_config,
)

__all__ = ["TailReader"]


class TailReader:
    """All partitions of some topics, from the beginning or from the end as it is now, as they grow.

    Every reader sees every record; nothing is committed. Records of one partition come in order. Raises
    :class:`LogReadError` if a topic is not there. Not safe for use from several threads at once.
    """

    def __init__(
        self,
        config: ClientConfig,
        topics: Iterable[str],
        start: Literal["beginning", "end"] | Mapping[tuple[str, int], int] = "beginning",
    ) -> None:
        """``start`` may also give offsets: (topic, partition) -> offset; partitions not named start at 0."""
        self._consumer = Consumer(reader_config(config))
        self._unread: set[tuple[str, int]] = set()
        try:
            assignment: list[TopicPartition] = []
            for topic in topics:
                partitions = range(count_partitions(self._consumer, topic))
                offsets: Mapping[int, int] = {}
                if start == "end":
                    offsets = end_offsets(config, topic, partitions)
                elif start != "beginning":
                    offsets = {partition: start.get((topic, partition), 0) for partition in partitions}
                assignment += [TopicPartition(topic, partition, offsets.get(partition, 0)) for partition in partitions]
            self._unread = {(part.topic, part.partition) for part in assignment}
            self._consumer.assign(assignment)
        except BaseException:
            self._consumer.close()
            raise

    @property
    def caught_up(self) -> bool:
        """Whether the end of every partition was reached and nothing came from it since."""
        return not self._unread

    def poll(self, timeout_s: float = 0.5, limit: int = 5000) -> list[Record]:
        """Records that came, at most ``limit``; empty after ``timeout_s`` without any.

        Returns early, possibly empty, when the end of a partition is reached. Raises :class:`LogReadError` on what does
        not pass by itself; a lost connection passes.
        """
        records: list[Record] = []
        first = consume(self._consumer, 1, timeout_s)
        for message in first + (consume(self._consumer, limit - 1, 0) if first and limit > 1 else []):
            place = (str(message.topic()), int(message.partition()))
            if is_end(message):
                self._unread.discard(place)
            else:
                self._unread.add(place)
                records.append(as_record(message))
        return records

    def close(self) -> None:
        self._consumer.close()

    def __enter__(self) -> TailReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
