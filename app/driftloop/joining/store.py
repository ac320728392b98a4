"""What a shell brings along to keep state in: bytes by name, written in atomic steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["StateStore", "StoreDamaged", "StoreError", "StoreWrite"]


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

    def parts(self, prefix: bytes = b"", start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Name and content of the parts whose name begins so, in the order of names, from ``start`` on."""
        ...

    def get_parts(self, names: Sequence[bytes]) -> Sequence[bytes | None]:
        """The contents of the parts with these names, None where there is none."""
        ...

    def part_names(self, prefixes: Sequence[bytes]) -> list[bytes]:
        """Names of the parts that begin with any of these, in their order, which should be that of bytes."""
        ...
