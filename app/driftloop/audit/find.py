"""Finding a prediction, its labels and its joined rows in the topics, which are keyed by prediction id.

The key says the partition, as the producers place it, so one partition of each topic is read, from its end backwards in
blocks that double.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
from aiokafka.partitioner import murmur2
from msgspec import Struct

from driftloop.events.batch import RecordBatch
from driftloop.events.decoding import UNDECODABLE
from driftloop.events.messages import Label, Labeled, Prediction
from driftloop.kafka.config import ClientConfig
from driftloop.kafka.log_reader import end_offset, partition_count, read_batches
from driftloop.training.newest_rows import rank

__all__ = [
    "AuditError", "Found", "Trace", "find_labeled", "find_labels", "find_prediction", "newest_first", "partition_of",
    "trace",
]  # fmt: skip

_FIRST_BLOCK = 4_000
_LARGEST_BLOCK = 256_000
#: Records are appended about in the order of their times: a label's record is not older than its prediction's by more.
_SLACK_MS = 86_400_000

EventT = TypeVar("EventT", Prediction, Label, Labeled)


class AuditError(Exception):
    """There is nothing to tell; the message says why and what to do."""


@dataclass(frozen=True)
class Found(Generic[EventT]):
    """An event and where it lies. ``timestamp_ms``: the record's own time, -1 if it has none."""

    event: EventT
    partition: int
    offset: int
    timestamp_ms: int


@dataclass(frozen=True)
class Trace:
    """What the topics have of one prediction. ``labels`` and ``labeled`` oldest first. ``prediction`` None: its record
    is gone, and the joined row tells what was said."""

    prediction: Found[Prediction] | None
    labels: list[Found[Label]]
    labeled: list[Found[Labeled]]
    notes: list[str]

    @property
    def joined(self) -> Found[Labeled] | None:
        """The joined row that counts; None: there is none. The last one written need not be it: rows are delivered at
        least once, and a copy may land after what corrected its original."""
        return best_joined(self.labeled)


class _Time(Struct):
    event_time_ms: int = 0
    predicted_at_ms: int | None = None


_decode_time = msgspec.json.Decoder(_Time).decode


def best_joined(labeled: Iterable[Found[Labeled]]) -> Found[Labeled] | None:
    """Of the joined rows of one prediction the one that counts, as for training sets."""
    return max(labeled, key=lambda one: rank(one.event), default=None)


def partition_of(key: str, partitions: int) -> int:
    """Where a key's records lie: murmur2 of its UTF-8 bytes, as Java's clients and the producer here place them.

    >>> partition_of("p1", 4), partition_of("p2", 4)
    (2, 2)
    """
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def newest_first(config: ClientConfig, topic: str, partition: int) -> Iterator[RecordBatch]:
    """The partition's records in blocks, the last block first; within a block in order."""
    stop, size = end_offset(config, topic, partition), _FIRST_BLOCK
    while stop > 0:
        start = max(0, stop - size)
        batches = list(read_batches(config, topic, partition, start, stop))
        yield from reversed(batches)
        if not batches or batches[0].offsets[0] > start:
            return  # the log begins there
        stop, size = start, min(2 * size, _LARGEST_BLOCK)


def trace(
    config: ClientConfig,
    topics: Any,
    prediction_id: str,
    *,
    model: str | None = None,
    from_ms: int | None = None,
    to_ms: int | None = None,
) -> Trace:
    """Everything that ``topics`` (:class:`driftloop.events.topics.Topics`) have of the prediction.

    Raises :class:`AuditError` if nothing has, or if several models use the id and ``model`` names none of them, and
    :class:`~driftloop.kafka.log_reader.LogReadError`.
    """

    def blocks(topic: str) -> Iterator[RecordBatch]:
        partition = partition_of(prediction_id, partition_count(config, topic))
        return newest_first(config, topic, partition)

    notes: list[str] = []
    found = find_prediction(blocks(topics.predictions), prediction_id, model, from_ms, to_ms)
    since_ms = None
    if found is not None:
        model = found.event.model_id
        since_ms = found.timestamp_ms - _SLACK_MS if found.timestamp_ms >= 0 else None
    labeled = find_labeled(blocks(topics.labeled), prediction_id, model, since_ms, from_ms)
    if found is None:
        if not labeled:
            where = f" of model {model}" if model else ""
            raise AuditError(
                f"no prediction {prediction_id!r}{where} is on {topics.predictions} or {topics.labeled} in the "
                "partition of its key; check the id, --model, --from and --to, and that its producer keys records by "
                "prediction_id"
            )
        _one_model([one.event for one in labeled], prediction_id)
        model = labeled[0].event.model_id
        notes.append(
            f"its record is no longer on {topics.predictions} (retention): what was said is told from {topics.labeled}"
        )
    labels = find_labels(blocks(topics.labels), prediction_id, model, since_ms)
    if labeled and not labels:
        notes.append(f"its label is no longer on {topics.labels}: what came true is told from {topics.labeled}")
    joined = best_joined(labeled)
    if found is not None and joined is not None and joined.event.prediction_offset != found.offset:
        notes.append(
            f"several records have this id: the one at offset {found.offset:,} is told, the one at offset "
            f"{joined.event.prediction_offset:,} was joined with the label"
        )
    return Trace(found, labels, labeled, notes)


def find_prediction(
    blocks: Iterable[RecordBatch], prediction_id: str, model: str | None, from_ms: int | None, to_ms: int | None
) -> Found[Prediction] | None:
    """The newest record of the prediction, made in [``from_ms``, ``to_ms``). Reading ends at the first block that has
    one, or whose event times are all before ``from_ms``."""
    for block in blocks:
        found = [
            one
            for one in _matches(block, prediction_id, msgspec.json.Decoder(Prediction).decode)
            if one.event.prediction_id == prediction_id
            and (model is None or one.event.model_id == model)
            and (from_ms is None or one.event.event_time_ms >= from_ms)
            and (to_ms is None or one.event.event_time_ms < to_ms)
        ]
        if found:
            _one_model([one.event for one in found], prediction_id)
            return found[-1]
        if from_ms is not None and _all_before(block, from_ms):
            return None
    return None


def find_labels(
    blocks: Iterable[RecordBatch], prediction_id: str, model: str | None, since_ms: int | None
) -> list[Found[Label]]:
    """All labels of the prediction, oldest first. Reading ends at a block whose records are all older than
    ``since_ms``."""
    return _all(blocks, prediction_id, model, since_ms, None, msgspec.json.Decoder(Label).decode)


def find_labeled(
    blocks: Iterable[RecordBatch],
    prediction_id: str,
    model: str | None,
    since_ms: int | None,
    from_ms: int | None,
) -> list[Found[Labeled]]:
    """All joined rows of the prediction, oldest first; as :func:`find_labels`, or of predictions before ``from_ms``."""
    return _all(blocks, prediction_id, model, since_ms, from_ms, msgspec.json.Decoder(Labeled).decode)


def _all(
    blocks: Iterable[RecordBatch],
    prediction_id: str,
    model: str | None,
    since_ms: int | None,
    from_ms: int | None,
    decode: Callable[[bytes], EventT],
) -> list[Found[EventT]]:
    found: list[Found[EventT]] = []
    for block in blocks:
        here = [
            one
            for one in _matches(block, prediction_id, decode)
            if one.event.prediction_id == prediction_id and (model is None or one.event.model_id == model)
        ]
        found = here + found
        if since_ms is not None and len(block) and 0 <= max(block.timestamps_ms) < since_ms:
            break
        if from_ms is not None and _all_before(block, from_ms):
            break
    return found


def _matches(block: RecordBatch, prediction_id: str, decode: Callable[[bytes], EventT]) -> Iterator[Found[EventT]]:
    wanted = prediction_id.encode()
    for offset, timestamp_ms, key, value in zip(
        block.offsets, block.timestamps_ms, block.keys, block.values, strict=True
    ):
        if key != wanted or value is None:
            continue
        try:
            event = decode(value)
        except UNDECODABLE:
            continue
        yield Found(event, block.partition, offset, timestamp_ms)


def _all_before(block: RecordBatch, from_ms: int) -> bool:
    """Whether every event that can be read is of a prediction before ``from_ms``."""
    for value in block.values:
        if value is None:
            continue
        try:
            time = _decode_time(value)
        except UNDECODABLE:
            continue
        made_ms = time.event_time_ms if time.predicted_at_ms is None else time.predicted_at_ms
        if made_ms >= from_ms:
            return False
    return True


def _one_model(events: Iterable[Prediction | Labeled], prediction_id: str) -> None:
    models = sorted({event.model_id for event in events})
    if len(models) > 1:
        names = ", ".join(models)
        raise AuditError(f"several models have a prediction {prediction_id!r}: {names}; name one by --model")
