"""Record batches through Faust: the hot path.

Faust hands agents one event at a time, which costs some 70 microseconds each. This scheduler hands a whole chunk of
consecutive records of one partition through the same door as *one* event whose value is the list of records and whose
offset is that of the last one. Faust's own gap handling then commits the whole chunk when it is acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from faust.serializers import codecs
from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP

from driftloop.events.batch import RecordBatch

__all__ = ["RECORDS_CODEC", "RecordChunk", "batch_of", "batch_scheduler"]

#: Name of the codec that returns what it is given.
RECORDS_CODEC = "driftloop_records"


class _Identity(codecs.Codec):  # type: ignore[misc]
    def _loads(self, s: Any) -> Any:
        return s

    def _dumps(self, s: Any) -> Any:
        return s


codecs.register(RECORDS_CODEC, _Identity())


class RecordChunk:
    """Consecutive records of one topic partition in the guise of one record: it has an aiokafka record's attributes."""

    __slots__ = (
        "checksum",
        "headers",
        "key",
        "offset",
        "partition",
        "serialized_key_size",
        "serialized_value_size",
        "timestamp",
        "timestamp_type",
        "topic",
        "value",
    )

    def __init__(self, records: list[Any]) -> None:
        last = records[-1]
        self.topic: str = last.topic
        self.partition: int = last.partition
        self.offset: int = last.offset
        self.timestamp: int = last.timestamp
        self.timestamp_type: int = last.timestamp_type
        self.headers: tuple[tuple[str, bytes], ...] = ()
        self.key = None
        self.value = records
        self.checksum = None
        self.serialized_key_size = self.serialized_value_size = 0


def batch_scheduler(batch_records: int) -> type[DefaultSchedulingStrategy]:
    """A ``ConsumerScheduler`` for Faust that yields chunks of at most so many records, in turn over partitions.

    All topics that the app consumes must be read with :data:`RECORDS_CODEC`.
    """

    class BatchScheduler(DefaultSchedulingStrategy):  # type: ignore[misc]
        def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Any]]:
            starts = dict.fromkeys(records, 0)
            while starts:
                for tp, start in list(starts.items()):
                    chunk = records[tp][start : start + batch_records]
                    if not chunk:
                        del starts[tp]
                        continue
                    starts[tp] = start + batch_records
                    yield tp, RecordChunk(chunk)

    return BatchScheduler


def batch_of(topic: str, partition: int, records: list[Any]) -> RecordBatch:
    """Columns of aiokafka records."""
    return RecordBatch(
        topic,
        partition,
        [record.offset for record in records],
        [record.timestamp for record in records],
        [record.key for record in records],
        [record.value for record in records],
        [record.headers for record in records],
    )
