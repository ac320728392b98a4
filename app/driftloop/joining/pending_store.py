"""Both sides of the join of one source partition: the recent ones in memory, the rest in a store that a shell brings.

The store is only written by :meth:`PendingStore.save`, all changes since the last time in one atomic step, so what it
holds is always the state at one point of the logs. In between, changed rows stay in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from driftloop.joining.pending import JoinKey, Pending, Saved
from driftloop.joining.store import StateStore, StoreWrite
from driftloop.joining.waiting_store import WaitingStore

__all__ = ["PendingStore", "RowCodec"]

CohortT = TypeVar("CohortT")


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
    """Pending predictions, and with them the labels that wait for one (``labels``).

    Predictions leave with their cohort, waiting labels when no prediction that they could belong to can still come.
    With a ``store``, what :meth:`evict` took out of memory is found again for the keys that :meth:`load` was given,
    until :meth:`settle`.
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
        self._unsaved = StoreWrite()
        self.labels = WaitingStore(store)

    def __len__(self) -> int:
        return self._total

    @property
    def pending_in_memory(self) -> int:
        return len(self._rows)

    @property
    def rows_in_memory(self) -> int:
        """Of both sides, with labels that have left and are to be removed from the store."""
        return len(self._rows) + self.labels.in_memory + self.labels.to_remove

    # -- predictions ---------------------------------------------------------------------------------------------

    def load(self, keys: Iterable[JoinKey], *, labels: bool = False) -> None:
        """Look for these predictions in the store too, all at once; also for ``labels`` that wait for them. Raises
        :class:`StoreDamaged`."""
        if labels and self.labels.on_disk:
            keys = list(keys)
            self.labels.load(keys)
        if self._store is None or self._codec is None or len(self._rows) == self._total:
            return
        wanted = [key for key in keys if key not in self._rows]
        for key, data in zip(wanted, self._store.get_many([self._codec.key(key) for key in wanted]), strict=True):
            row = None if data is None else self._codec.decode(key, data)
            if row is not None:
                self._visiting[key] = row

    def settle(self) -> None:
        """The batch is done: what was only looked at may go."""
        self._visiting.clear()
        self.labels.settle()

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

    # -- memory and store ----------------------------------------------------------------------------------------

    def save(self, write: StoreWrite) -> None:
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
        self.labels.changes(write)
        self._store.write(write)
        self.labels.saved()
        for row in changed:
            row.saved = Saved.SAME
        self._unsaved = StoreWrite()

    def evict(self, rows: int) -> int:
        """Take at least so many rows of both sides out of memory, if that many are saved. Returns how many.

        Of the side that has more in memory, until both have as many: a few labels that wait for a moment stay, so that
        predictions need not look for any on disk, and a flood of labels drives no predictions out."""
        labels = self.labels.in_memory
        from_labels = max(0, rows - len(self._rows), (rows + labels - len(self._rows)) // 2)
        evicted = self.labels.evict(min(from_labels, labels, rows))
        return evicted + self._evict_predictions(rows - evicted)

    def _evict_predictions(self, rows: int) -> int:
        """Oldest cohorts first."""
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

    def restore(self, counts: Iterable[tuple[CohortT, int]]) -> None:
        """Begin with what the store holds: rows by cohort, none of them in memory."""
        for cohort, count in counts:
            if count:
                self._cohorts[cohort] = _CohortRows(count=count)
                self._total += count


@dataclass
class _CohortRows(Generic[CohortT]):
    """``rows``: those in memory; one that was replaced may still be among them."""

    rows: list[Pending[CohortT]] = field(default_factory=list)
    count: int = 0
