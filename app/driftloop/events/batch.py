"""Records of one topic partition, as the pure core takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Headers", "RecordBatch"]

Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Consecutive records of one topic partition, in offset order, column by column.

    ``timestamps_ms`` are the records' own (broker or producer) times, not event times.
    """

    topic: str
    partition: int
    offsets: Sequence[int]
    timestamps_ms: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Headers] = ()

    def __len__(self) -> int:
        return len(self.offsets)

    def since(self, offset: int) -> RecordBatch:
        """The records at or after the offset."""
        if not self.offsets or self.offsets[0] >= offset:
            return self
        keep = [index for index, at in enumerate(self.offsets) if at >= offset]
        first = keep[0] if keep else len(self.offsets)
        return RecordBatch(
            self.topic,
            self.partition,
            self.offsets[first:],
            self.timestamps_ms[first:],
            self.keys[first:],
            self.values[first:],
            self.headers[first:] if self.headers else (),
        )
