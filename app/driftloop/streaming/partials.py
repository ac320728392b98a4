"""Records of the topic of partials: what the assessor can use, and what it cannot.

Only monitors write there. A record that is not theirs, or damaged, must not stop every model of its partition.
"""

from __future__ import annotations

import msgspec

from driftloop.events.batch import RecordBatch
from driftloop.events.decoding import UNDECODABLE
from driftloop.events.messages import PartialMessage, SourceProgress, WindowPartial
from driftloop.monitoring.outputs import DeadLetter

__all__ = ["MALFORMED_PARTIAL", "readable_partials"]

MALFORMED_PARTIAL = "malformed_partial"
#: What float64 holds exactly: the year 287396.
_LATEST_MS = 2**53
_decode = msgspec.json.Decoder(PartialMessage).decode


def readable_partials(
    batch: RecordBatch, source_partitions: int
) -> tuple[list[tuple[int, PartialMessage]], list[DeadLetter]]:
    """The messages of a batch with their offsets, and dead letters of what is none. Records without a value, which
    compaction leaves, are neither."""
    messages: list[tuple[int, PartialMessage]] = []
    letters: list[DeadLetter] = []
    for index, value in enumerate(batch.values):
        if value is None:
            continue
        try:
            message: PartialMessage = _decode(value)
            _check(message, source_partitions)
        except (*UNDECODABLE, ValueError) as error:
            letters.append(DeadLetter.of(batch, index, MALFORMED_PARTIAL, str(error)))
        else:
            messages.append((batch.offsets[index], message))
    return messages, letters


def _check(message: WindowPartial | SourceProgress, source_partitions: int) -> None:
    """Raises ``ValueError`` for what no monitor says."""
    at = message.source_partition if isinstance(message, SourceProgress) else message.source.partition
    if not 0 <= at < source_partitions:
        raise ValueError(
            f"source partition {at} is not one of the {source_partitions} of DRIFTLOOP_SOURCE_PARTITIONS: "
            "worker and assessor need the same setting"
        )
    if isinstance(message, SourceProgress):
        numbers = [value for value in msgspec.structs.astuple(message) if isinstance(value, int)]
        if any(not -(2**62) <= value <= 2**62 for value in numbers):
            raise ValueError("an offset or time of this progress is beyond 64 bits")
    elif not 0 <= message.window_start_ms < message.window_end_ms <= _LATEST_MS:
        raise ValueError(f"{message.window_start_ms} to {message.window_end_ms} is no window of event time")
