"""Reads the ``labeled`` topic for training sets, and remembers which parts of it hold which event times."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from driftloop.events.decoding import UNDECODABLE
from driftloop.events.messages import Labeled
from driftloop.events.time import NEVER_MS
from driftloop.training.dataset import OffsetRange
from driftloop.training.newest_rows import NewestRows

__all__ = ["LabeledLog", "ReadRecords"]

log = logging.getLogger(__name__)


class LogRecord(Protocol):
    """What is needed of a record: its offset and its value."""

    @property
    def offset(self) -> int: ...

    @property
    def value(self) -> bytes | None: ...


#: ``read(partition, start)``: records from an offset to the end of the log, in order, in lists.
ReadRecords = Callable[[int, int], Iterator[Iterable[Any]]]


@dataclass
class _Stretch:
    """Consecutive records: offsets ``first`` to ``end`` exclusive, and each model's latest prediction time in them."""

    first: int
    end: int
    records: int = 0
    latest_ms: dict[str, int] = field(default_factory=dict)


class LabeledLog:
    """The labeled predictions of every partition.

    A sparse index (one entry for some thousand records) says from which offset on a model has rows of a time, so that
    later cuts read the tail of the log and not all of it. It only grows with what was read, and lives in the process.
    """

    def __init__(self, read: ReadRecords, partitions: Iterable[int], *, stretch_records: int = 5000) -> None:
        self._read = read
        self._index: dict[int, list[_Stretch]] = {partition: [] for partition in partitions}
        self._stretch_records = stretch_records
        self._decoder = msgspec.json.Decoder(Labeled)

    def rows(
        self, model_id: str, from_ms: int, to_ms: int, most_rows: int | None = None
    ) -> tuple[list[Labeled], list[OffsetRange]]:
        """All records of the model's predictions made in [``from_ms``, ``to_ms``) that are in the log now.

        Also the offsets that were read. Copies and superseded revisions are among them. With ``most_rows`` only those
        of the newest so many predictions are sure to be there, and memory is bounded by that.
        """
        found = NewestRows(most_rows)
        ranges = []
        for partition in sorted(self._index):
            start = end = self._start(partition, model_id, from_ms)
            for records in self._read(partition, start):
                batch = list(records)
                decoded = self._decode(partition, batch)
                self._remember(partition, batch, decoded)
                found.extend(
                    row for row in decoded if row.model_id == model_id and from_ms <= row.predicted_at_ms < to_ms
                )
                if batch:
                    end = batch[-1].offset + 1
            ranges.append(OffsetRange(partition=partition, first=start, end=end))
        return found.rows, ranges

    def _start(self, partition: int, model_id: str, from_ms: int) -> int:
        """The first offset that may hold a row of the model from ``from_ms`` on."""
        stretches = self._index[partition]
        for stretch in stretches:
            if stretch.latest_ms.get(model_id, NEVER_MS) >= from_ms:
                return stretch.first
        # The last stretch is still growing: beginning there costs little and never asks beyond the end of the log.
        return stretches[-1].first if stretches else 0

    def _decode(self, partition: int, records: Iterable[LogRecord]) -> list[Labeled]:
        decoded = []
        for record in records:
            if record.value is None:
                continue
            try:
                decoded.append(self._decoder.decode(record.value))
            except UNDECODABLE as error:
                log.warning("labeled[%s] offset %s is left out of training: %s", partition, record.offset, error)
        return decoded

    def _remember(self, partition: int, records: list[LogRecord], rows: list[Labeled]) -> None:
        """Index what lies beyond the indexed part. A batch that overlaps it only updates the last stretch's times."""
        if not records:
            return
        stretches = self._index[partition]
        first, end = records[0].offset, records[-1].offset + 1
        indexed = stretches[-1].end if stretches else 0
        if end <= indexed:
            return
        if not stretches or stretches[-1].records >= self._stretch_records:
            stretches.append(_Stretch(max(first, indexed), end))
        stretch = stretches[-1]
        stretch.end = end
        stretch.records += len(records)
        for row in rows:
            # Rows of an overlap may be counted into a later stretch than theirs: that only makes it begin no later.
            stretch.latest_ms[row.model_id] = max(stretch.latest_ms.get(row.model_id, NEVER_MS), row.predicted_at_ms)
