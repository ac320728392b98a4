"""Rows beyond a bound in a temporary folder: for a replay, which keeps nothing and goes on from nothing.

Rows are pending predictions and waiting labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Protocol, Self

from driftloop.checkpoints.rocks import RocksStore
from driftloop.joining.store import StoreWrite

__all__ = ["ScratchStore"]


class HoldsRows(Protocol):
    """A monitor that was made with the store."""

    @property
    def rows_in_memory(self) -> int: ...

    def save(self) -> None: ...

    def evict(self, rows: int) -> int: ...


class ScratchStore:
    """A state store whose folder is made when it is first written to, and gone when it is closed.

    ``rows_in_memory``: call :meth:`bound` after each batch and a monitor holds no more than these, and one batch.
    """

    def __init__(self, rows_in_memory: int) -> None:
        self._rows_in_memory = rows_in_memory
        self._folder: TemporaryDirectory[str] | None = None
        self._store: RocksStore | None = None

    def bound(self, monitor: HoldsRows) -> None:
        """Bring rows to disk if there are too many, until half of the room is free. Raises ``StoreError``."""
        if monitor.rows_in_memory > self._rows_in_memory:
            monitor.save()
            monitor.evict(monitor.rows_in_memory - self._rows_in_memory // 2)

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        return [None] * len(keys) if self._store is None else self._store.get_many(keys)

    def write(self, changes: StoreWrite) -> None:
        if self._store is None:
            self._folder = TemporaryDirectory(prefix="driftloop-")
            self._store = RocksStore(Path(self._folder.name) / "rows")
        self._store.write(changes)

    def parts(self, prefix: bytes = b"", start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        return iter(()) if self._store is None else self._store.parts(prefix, start)

    def get_parts(self, names: Sequence[bytes]) -> Sequence[bytes | None]:
        return [None] * len(names) if self._store is None else self._store.get_parts(names)

    def part_names(self, prefixes: Sequence[bytes]) -> list[bytes]:
        return [] if self._store is None else self._store.part_names(prefixes)

    def close(self) -> None:
        if self._store is not None and self._folder is not None:
            self._store.close()
            self._folder.cleanup()
            self._store = self._folder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
