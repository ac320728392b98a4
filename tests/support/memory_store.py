"""A state store of dictionaries, and what a worker does with a store, without a broker or a disk."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from driftloop.joining.store import StoreError, StoreWrite

__all__ = ["MemoryStore"]


class MemoryStore:
    """Keeps what it is given. ``fail_next``: the next write raises, and changes nothing, or with ``fail_late`` all the
    same everything."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.entries: dict[bytes, bytes] = {}
        self._parts: dict[bytes, bytes] = {}
        self.fail_next = self.fail_late = False

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        return [self.rows.get(key) for key in keys]

    def write(self, changes: StoreWrite) -> None:
        if self.fail_next:
            self.fail_next = False
            if self.fail_late:
                self.write(changes)
            raise StoreError("no space left on device")
        for cohort in changes.dropped:
            for entry in [entry for entry in self.entries if entry.startswith(cohort)]:
                self.rows.pop(self.entries.pop(entry), None)
        for entry in changes.stale_entries:
            self.entries.pop(entry, None)
        self.rows.update(changes.rows)
        self.entries.update(changes.entries)
        for prefix in changes.dropped_parts:
            for name in [name for name in self._parts if name.startswith(prefix)]:
                del self._parts[name]
        for name in changes.removed_parts:
            self._parts.pop(name, None)
        self._parts.update(changes.parts)

    def parts(self, prefix: bytes = b"", start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        names = sorted(self._parts)
        for name in names[bisect_left(names, max(prefix, start)) :]:
            if not name.startswith(prefix):
                return
            yield name, self._parts[name]

    def get_parts(self, names: Sequence[bytes]) -> Sequence[bytes | None]:
        return [self._parts.get(name) for name in names]

    def part_names(self, prefixes: Sequence[bytes]) -> list[bytes]:
        assert list(prefixes) == sorted(prefixes)
        return [name for prefix in prefixes for name, _ in self.parts(prefix)]

    def copy(self) -> MemoryStore:
        """What is there now, for one that begins there later."""
        twin = MemoryStore()
        twin.rows, twin.entries, twin._parts = dict(self.rows), dict(self.entries), dict(self._parts)
        return twin
