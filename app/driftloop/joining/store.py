"""Where pending predictions are kept: the recent ones in memory, the rest in a store that a shell brings along.

The store is only written by :meth:`PendingStore.save`, all changes since the last time in one atomic step, so what it
holds is always the state at one point of the logs. In between, changed rows stay in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from driftloop.joining.pending import JoinKey, Pending, Saved, WaitingLabel

__all__ = ["LabelParts", "PendingStore", "RowCodec", "StateStore", "StoreDamaged", "StoreError", "StoreWrite"]

CohortT = TypeVar("CohortT")


class StoreError(RuntimeError):
    """The store cannot be opened, read or written. The message names it and the reason."""


class StoreDamaged(StoreError):
    """What was written can't be read any more."""


@dataclass
class StoreWrite:
    """What one atomic write changes, in this order. ``rows``: key and row. ``entries``: a name that begins with the
    row's cohort, and the row's key. ``dropped``: beginnings of entries; they go, and the rows that they list.
    ``parts``: name and content of what else belongs to the state; ``dropped_parts``: beginnings of names,
    ``removed_parts``: whole ones."""

    dropped: list[bytes] = field(default_factory=list)
    stale_entries: list[bytes] = field(default_factory=list)
    rows: list[tuple[bytes, bytes]] = field(default_factory=list)
    entries: list[tuple[bytes, bytes]] = field(default_factory=list)
    dropped_parts: list[bytes] = field(default_factory=list)
    removed_parts: list[bytes] = field(default_factory=list)
    parts: list[tuple[bytes, bytes]] = field(default_factory=list)


class StateStore(Protocol):
    """Keeps bytes by key. Raises :class:`StoreDamaged` where reading fails, else :class:`StoreError`."""

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """The rows with these keys, None where there is none."""
        ...

    def write(self, changes: StoreWrite) -> None:
        """All of it or nothing."""
        ...

    def parts(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Name and content of the parts whose name begins so, in the order of names."""
        ...


class RowCodec(Protocol[CohortT]):
    """Rows as bytes. Cohort prefixes have the same length and are never used twice."""

    def key(self, key: JoinKey) -> bytes: ...

    def cohort(self, cohort: CohortT) -> bytes: ...

    def entry(self, row: Pending[CohortT]) -> bytes: ...

    def encode(self, row: Pending[CohortT]) -> bytes: ...

    def decode(self, key: JoinKey, data: bytes) -> Pending[CohortT] | None:
        """None for a row whose cohort has been dropped. Raises :class:`StoreDamaged` for what is no row."""
        ...


class PendingStore(Generic[CohortT]):
    """Both sides of the join of one source partition.

    Predictions leave with their cohort, waiting labels when no prediction that they could belong to can still come.
    With a ``store``, rows that :meth:`evict` took out of memory are found again for the keys that :meth:`load` was
    given, until :meth:`settle`.
    """

    def __init__(self, store: StateStore | None = None, codec: RowCodec[CohortT] | None = None) -> None:
        if store is not None and codec is None:
            raise ValueError("a store of bytes needs a codec for rows")
        self._store = store
        self._codec = None if store is None else codec
        self._rows: dict[JoinKey, Pending[CohortT]] = {}
        #: Rows read from the store for the present batch, until one of them changes.
        self._visiting: dict[JoinKey, Pending[CohortT]] = {}
        self._cohorts: dict[CohortT, _CohortRows[CohortT]] = {}
        self._total = 0
        self._waiting: dict[JoinKey, list[WaitingLabel]] = {}
        self._unsaved = StoreWrite()
        self._unsaved_labels: dict[int, WaitingLabel] = {}
        self._claimed_labels: list[int] = []
        self._uncertain = False

    def __len__(self) -> int:
        return self._total

    @property
    def rows_in_memory(self) -> int:
        return len(self._rows)

    @property
    def rows_on_disk(self) -> int:
        """Rows that are in the store alone."""
        return self._total - len(self._rows)

    @property
    def waiting_labels(self) -> int:
        """Number of predictions whose label came first."""
        return len(self._waiting)

    # -- rows ----------------------------------------------------------------------------------------------------

    def load(self, keys: Iterable[JoinKey]) -> None:
        """Look for these predictions in the store too, all at once. Raises :class:`StoreDamaged`."""
        if self._store is None or self._codec is None or not self.rows_on_disk:
            return
        wanted = [key for key in keys if key not in self._rows]
        for key, data in zip(wanted, self._store.get_many([self._codec.key(key) for key in wanted]), strict=True):
            row = None if data is None else self._codec.decode(key, data)
            if row is not None:
                self._visiting[key] = row

    def settle(self) -> None:
        """The batch is done: what was only looked at may go."""
        self._visiting.clear()

    def find(self, key: JoinKey) -> Pending[CohortT] | None:
        row = self._rows.get(key)
        return self._visiting.get(key) if row is None and self._visiting else row

    def add(self, row: Pending[CohortT], replacing: Pending[CohortT] | None = None) -> None:
        """Add a prediction. ``replacing``: the one with the same key, which has expired by its partition's order and
        gives way."""
        if replacing is not None:
            self._visiting.pop(row.key, None)
            self._cohorts[replacing.cohort].count -= 1
            self._total -= 1
            if self._codec is not None:
                self._unsaved.stale_entries.append(self._codec.entry(replacing))
        self._rows[row.key] = row
        mine = self._cohorts.get(row.cohort)
        if mine is None:
            mine = self._cohorts[row.cohort] = _CohortRows()
        mine.rows.append(row)
        mine.count += 1
        self._total += 1

    def changed(self, row: Pending[CohortT]) -> None:
        """A row that was found is not what the store holds any more."""
        if row.saved is Saved.SAME:
            row.saved = Saved.CHANGED
        if self._visiting and self._visiting.pop(row.key, None) is not None:
            self._rows[row.key] = row
            self._cohorts[row.cohort].rows.append(row)

    def count(self, cohort: CohortT) -> int:
        """Rows of the cohort, in memory or not."""
        mine = self._cohorts.get(cohort)
        return 0 if mine is None else mine.count

    def drop(self, cohort: CohortT) -> None:
        """Forget the rows of a cohort; a row of another one with the same key stays."""
        mine = self._cohorts.pop(cohort, None)
        if self._codec is not None:
            self._unsaved.dropped.append(self._codec.cohort(cohort))
        if mine is None:
            return
        self._total -= mine.count
        for row in mine.rows:
            if self._rows.get(row.key) is row:
                del self._rows[row.key]

    # -- labels --------------------------------------------------------------------------------------------------

    def wait(self, label: WaitingLabel) -> None:
        self._waiting.setdefault(label.key, []).append(label)
        if self._store is not None:
            self._unsaved_labels[label.offset] = label

    def claim(self, key: JoinKey) -> list[WaitingLabel]:
        """Take the labels that waited for this prediction, in the order of their log."""
        if not self._waiting:
            return []
        labels = self._waiting.pop(key, [])
        if labels and self._store is not None:
            for label in labels:
                # A write that failed may have come to the disk all the same.
                if self._unsaved_labels.pop(label.offset, None) is None or self._uncertain:
                    self._claimed_labels.append(label.offset)
        return labels

    def first_waiting(self) -> WaitingLabel | None:
        """The waiting label with the lowest offset (labels are added in offset order)."""
        for labels in self._waiting.values():
            return labels[0]
        return None

    def waiting(self) -> Iterator[list[WaitingLabel]]:
        return iter(self._waiting.values())

    # -- memory and store ----------------------------------------------------------------------------------------

    def save(self, write: StoreWrite, label_part: LabelParts) -> None:
        """Write what has changed since the last time together with ``write``. Raises :class:`StoreError`, after which
        everything counts as still to be saved."""
        if self._store is None or self._codec is None:
            raise ValueError("there is no store to save in")
        codec, unsaved = self._codec, self._unsaved
        changed = [row for row in self._rows.values() if row.saved is not Saved.SAME]
        write.dropped += unsaved.dropped
        write.stale_entries += unsaved.stale_entries
        for row in changed:
            key = codec.key(row.key)
            write.rows.append((key, codec.encode(row)))
            if row.saved is Saved.NEW:
                write.entries.append((codec.entry(row), key))
        write.removed_parts += [label_part.name(offset) for offset in self._claimed_labels]
        write.parts += [(label_part.name(at), label_part.encode(label)) for at, label in self._unsaved_labels.items()]
        self._uncertain = True
        self._store.write(write)
        self._uncertain = False
        for row in changed:
            row.saved = Saved.SAME
        self._unsaved = StoreWrite()
        self._unsaved_labels.clear()
        self._claimed_labels.clear()

    def evict(self, rows: int) -> int:
        """Take at least so many rows out of memory, if that many are saved: oldest cohorts first. Returns how many."""
        evicted = 0
        for mine in self._cohorts.values():
            if evicted >= rows:
                break
            kept: list[Pending[CohortT]] = []
            for row in mine.rows:
                if self._rows.get(row.key) is not row:
                    continue
                if evicted < rows and row.saved is Saved.SAME:
                    del self._rows[row.key]
                    evicted += 1
                else:
                    kept.append(row)
            mine.rows = kept
        return evicted

    def restore(self, counts: Iterable[tuple[CohortT, int]], labels: Iterable[WaitingLabel]) -> None:
        """Begin with what the store holds: rows by cohort, none of them in memory, and labels in offset order."""
        for cohort, count in counts:
            if count:
                self._cohorts[cohort] = _CohortRows(count=count)
                self._total += count
        for label in labels:
            self._waiting.setdefault(label.key, []).append(label)


@dataclass
class _CohortRows(Generic[CohortT]):
    """``rows``: those in memory; one that was replaced may still be among them."""

    rows: list[Pending[CohortT]] = field(default_factory=list)
    count: int = 0


class LabelParts(Protocol):
    """Waiting labels as parts of the state."""

    def name(self, offset: int) -> bytes: ...

    def encode(self, label: WaitingLabel) -> bytes: ...
