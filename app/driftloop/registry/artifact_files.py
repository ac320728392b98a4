"""What a place for artifacts must do: a folder (:mod:`.local_files`), an object store (:mod:`.remote_files`).

Names are relative, ``ab/abcdef...``, and checked by the caller (:mod:`.artifacts`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

__all__ = ["REMOVING", "WRITING", "ArtifactFiles", "StoredFile", "ours"]

#: How files in a folder are named that are being written, and that are being removed.
WRITING = ".writing-"
REMOVING = ".removing-"

_NAME = re.compile(r"([0-9a-f]{2})/([0-9a-f]{64})(?:\.[A-Za-z0-9]{1,16}){0,2}")


@dataclass(frozen=True)
class StoredFile:
    """A file of the store: its name in it, size in bytes, and when it was last put (seconds since 1970)."""

    uri: str
    size: int
    put_s: float


class ArtifactFiles(Protocol):
    """One kind of place. A name without a file raises :class:`~driftloop.registry.errors.ArtifactError`; a place that
    does not answer raises :class:`OSError`."""

    #: The place, for people.
    where: str
    #: Whether :meth:`remove` sees a file that is put at the same moment. If not, nothing may be put meanwhile.
    sees_puts_while_removing: bool

    def put(self, uri: str, data: bytes, sha256: str) -> None:
        """Let the file be there, whole and marked as new. ``sha256`` is the data's."""

    def write(self, uri: str, data: bytes) -> None:
        """Write the file, in place of what is there."""

    def size(self, uri: str) -> int:
        """In bytes."""

    def read(self, uri: str) -> bytes:
        """The whole content."""

    def sha256(self, uri: str) -> str:
        """The digest of the content, which is read piece by piece."""

    def shown(self, uri: str) -> str:
        """The whole path or URL."""

    def entries(self) -> Iterator[tuple[str, StoredFile | None]]:
        """Everything in the place by name; None where it is not one of the store's."""

    def remove(self, uri: str, before_s: float) -> int | None:
        """Remove the file unless it was put at or after ``before_s``. Its size, or None if it stays or is gone."""

    def problem(self) -> str | None:
        """Why the place cannot be used now, None if it can. Changes nothing."""


def ours(name: str) -> bool:
    """Whether a relative name is one that the store gives.

    >>> ours("ab/" + "ab" * 32 + ".skops"), ours("00/" + "ab" * 32), ours("notes.txt")
    (True, False, False)
    """
    match = _NAME.fullmatch(name)
    return match is not None and match[2].startswith(match[1])
