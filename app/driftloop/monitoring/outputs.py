"""What comes out of the core of a monitor, for a shell to publish and count."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Self

from driftloop.events.batch import Headers, RecordBatch

__all__ = ["DEAD_LETTER_CODES", "DeadLetter", "MonitorOutputs"]

#: Every reason for which a record is not taken in.
DEAD_LETTER_CODES = (
    "absurd_time",
    "invalid_event",
    "label_before_prediction",
    "label_too_late",
    "malformed_json",
    "no_prediction",
    "null_value",
    "oversized",
    "too_late",
    "unknown_model",
    "unknown_version",
)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be taken in, byte for byte, with its place and the reason."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    code: str
    message: str

    @classmethod
    def of(cls, batch: RecordBatch, index: int, code: str, message: str) -> Self:
        """The record at a position of a batch. ``code`` is one of :data:`DEAD_LETTER_CODES`."""
        return cls(
            batch.topic,
            batch.partition,
            batch.offsets[index],
            batch.keys[index],
            batch.values[index],
            batch.headers[index] if batch.headers else (),
            code,
            message,
        )


@dataclass(slots=True)
class MonitorOutputs:
    """Collected while batches are taken in; the shell drains it. Counters are by model."""

    labeled: list[tuple[bytes, bytes]] = field(default_factory=list)  # key, value
    dead_letters: list[DeadLetter] = field(default_factory=list)
    predictions: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    joined: Counter[str] = field(default_factory=Counter)
    duplicates: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)
    corrections: Counter[str] = field(default_factory=Counter)
    delays_ms: dict[str, list[int]] = field(default_factory=dict)
