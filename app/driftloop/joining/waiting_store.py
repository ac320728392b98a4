"""The labels that wait for their prediction: the newest in memory, the rest in the store.

Labels come in the order of their offsets, and go out of memory in that order: those on disk alone are below all that
are in memory. They leave when their prediction comes, or in the order of due time and offset, whatever the place.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from driftloop.joining.label_rows import (
    BY_DUE_TIME,
    BY_OFFSET,
    decode_label,
    due_name,
    due_of,
    key_prefix,
    label_part_names,
    label_parts,
    offset_name,
    offset_of,
)
from driftloop.joining.pending import JoinKey, WaitingLabel
from driftloop.joining.store import StateStore, StoreWrite

__all__ = ["WaitingStore"]

#: Places of labels that have left are only cleared away when they are most of all places, and more than these.
_STALE_PLACES = 1_000


class WaitingStore:
    """Waiting labels of one source partition.

    Labels that :meth:`evict` took out of memory are found again for the keys that :meth:`load` was given, until
    :meth:`settle`. What is read may raise :class:`~driftloop.joining.store.StoreDamaged`.
    """

    def __init__(self, store: StateStore | None = None) -> None:
        self._store = store
        #: Those in memory, by offset and in that order; their offsets by key; and (due time, offset) of each as a heap,
        #: with some of such that have left.
        self._labels: dict[int, WaitingLabel] = {}
        self._offsets: dict[JoinKey, list[int]] = {}
        self._places: list[tuple[int, int]] = []
        self._on_disk = 0
        self._first_on_disk: WaitingLabel | None = None
        #: Read from the store for the present batch.
        self._visiting: dict[JoinKey, list[WaitingLabel]] = {}
        #: The store has those below it.
        self._saved_end = 0
        #: Labels that have left, but not the store: their parts by offset.
        self._removed: dict[int, tuple[bytes, ...]] = {}
        self._uncertain = False
        #: Nothing on disk that is listed before this waits.
        self._due_from = BY_DUE_TIME

    def __len__(self) -> int:
        return len(self._labels) + self._on_disk

    @property
    def in_memory(self) -> int:
        return len(self._labels)

    @property
    def on_disk(self) -> int:
        """In the store alone."""
        return self._on_disk

    @property
    def to_remove(self) -> int:
        """Labels that have left, and are kept in mind until the store is told."""
        return len(self._removed)

    def first(self) -> WaitingLabel | None:
        """The one with the lowest offset."""
        return self._first_on_disk or next(iter(self._labels.values()), None)

    # -- coming and going ----------------------------------------------------------------------------------------

    def add(self, label: WaitingLabel) -> None:
        """``label`` has a higher offset than all before it."""
        self._labels[label.offset] = label
        self._offsets.setdefault(label.key, []).append(label.offset)
        heapq.heappush(self._places, (label.due_ms, label.offset))
        if len(self._places) > 2 * len(self._labels) + _STALE_PLACES:
            self._clear_places()

    def load(self, keys: Iterable[JoinKey]) -> None:
        """Look for labels of these predictions in the store too, all at once."""
        if self._store is None or not self._on_disk:
            return
        names = self._store.part_names(sorted({key_prefix(key) for key in keys}))
        for label in self._read([offset for offset in map(offset_of, names) if self._only_on_disk(offset)]):
            self._visiting.setdefault(label.key, []).append(label)

    def settle(self) -> None:
        """The batch is done: what was only looked at may go."""
        self._visiting.clear()
        self._find_first()

    def claim(self, key: JoinKey) -> list[WaitingLabel]:
        """Take the labels that waited for this prediction, in the order of their log."""
        if not self._offsets and not self._visiting:
            return []
        labels = self._visiting.pop(key, [])
        self._on_disk -= len(labels)
        labels += [self._labels.pop(offset) for offset in self._offsets.pop(key, ())]
        self._note_removed(labels)
        return labels

    def take_due(self, until_ms: int, count: int) -> list[WaitingLabel]:
        """Take those that are due by then, at most so many: the first ones in the order of due time and offset."""
        memory = self._due_in_memory(until_ms, count)
        places = sorted([*memory, *islice(self._due_on_disk(until_ms), count)])
        for place in places[count:]:
            if place[1] in self._labels:
                heapq.heappush(self._places, place)
        offsets = [offset for _, offset in places[:count]]
        from_disk = {label.offset: label for label in self._read([at for at in offsets if at not in self._labels])}
        labels = [from_disk[at] if at in from_disk else self._labels.pop(at) for at in offsets]
        if labels:
            self._due_from = due_name(labels[-1].due_ms, labels[-1].offset)
        self._on_disk -= len(from_disk)
        self._forget_keys(label.key for label in labels if label.offset not in from_disk)
        self._note_removed(labels)
        self._find_first()
        return labels

    def _due_in_memory(self, until_ms: int, count: int) -> list[tuple[int, int]]:
        """The first places of all in memory; they are taken off."""
        due: list[tuple[int, int]] = []
        while self._places and self._places[0][0] <= until_ms and len(due) < count:
            place = heapq.heappop(self._places)
            if place[1] in self._labels:
                due.append(place)
        return due

    def _due_on_disk(self, until_ms: int) -> Iterator[tuple[int, int]]:
        if self._store is None or not self._on_disk:
            return
        for name, _ in self._store.parts(BY_DUE_TIME, self._due_from):
            if due_of(name) > until_ms:
                return
            if self._only_on_disk(offset_of(name)):
                yield due_of(name), offset_of(name)

    def _only_on_disk(self, offset: int) -> bool:
        """Of an offset that the store knows."""
        return offset not in self._labels and offset not in self._removed

    def _read(self, offsets: Sequence[int]) -> list[WaitingLabel]:
        if self._store is None or not offsets:
            return []
        found = self._store.get_parts([offset_name(offset) for offset in offsets])
        return [decode_label(offset, data) for offset, data in zip(offsets, found, strict=True)]

    def _find_first(self) -> None:
        """Of those on disk, if the one that was it has left."""
        last = self._first_on_disk
        if self._store is None or last is None or last.offset not in self._removed:
            return
        self._first_on_disk = None
        if not self._on_disk:
            return
        parts = self._store.parts(BY_OFFSET, offset_name(last.offset))
        name, content = next((part for part in parts if self._only_on_disk(offset_of(part[0]))), (b"", None))
        self._first_on_disk = decode_label(offset_of(name), content)

    def _note_removed(self, labels: Iterable[WaitingLabel]) -> None:
        if self._store is None:
            return
        for label in labels:
            # A write that failed may have come to the disk all the same.
            if label.offset < self._saved_end or self._uncertain:
                self._removed[label.offset] = label_part_names(label)

    def _forget_keys(self, keys: Iterable[JoinKey]) -> None:
        """Some labels of these are not in memory any more."""
        for key in set(keys):
            offsets = self._offsets.pop(key)
            if len(offsets) > 1 and (rest := [offset for offset in offsets if offset in self._labels]):
                self._offsets[key] = rest

    def _clear_places(self) -> None:
        self._places = [(label.due_ms, label.offset) for label in self._labels.values()]
        heapq.heapify(self._places)

    # -- memory and store ----------------------------------------------------------------------------------------

    def changes(self, write: StoreWrite) -> None:
        """Add what the store does not know yet. Until :meth:`saved` is called, nobody knows whether it does now."""
        for names in self._removed.values():
            write.removed_parts += names
        for offset in reversed(self._labels):
            if offset < self._saved_end:
                break
            write.parts += label_parts(self._labels[offset])
        self._uncertain = True

    def saved(self) -> None:
        self._uncertain = False
        self._removed.clear()
        self._saved_end = max(self._saved_end, next(reversed(self._labels), -1) + 1)

    def evict(self, count: int) -> int:
        """Take so many out of memory, lowest offsets first; only those are that were saved. Returns how many were."""
        labels = [label for label in islice(self._labels.values(), count) if label.offset < self._saved_end]
        if not labels:
            return 0
        for label in labels:
            del self._labels[label.offset]
        self._forget_keys(label.key for label in labels)
        self._clear_places()
        self._on_disk += len(labels)
        self._first_on_disk = self._first_on_disk or labels[0]
        return len(labels)

    def restore(self, count: int, first: WaitingLabel | None, end: int) -> None:
        """Begin with what the store holds: so many labels, none of them in memory, all below the offset ``end``."""
        self._on_disk, self._first_on_disk, self._saved_end = count, first, end
