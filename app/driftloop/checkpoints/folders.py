"""Folders of source partitions on the local disk, each used by one process at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from driftloop.checkpoints.identity import Identity
from driftloop.checkpoints.rocks import RocksStore
from driftloop.joining.store import StoreError, StoreWrite

__all__ = ["PartitionStore", "open_partition"]

log = structlog.get_logger(__name__)

_IDENTITY = b"identity"
#: A former owner may still hold the first one; more than a few would be processes that hang.
_FOLDERS = 8


class PartitionStore:
    """A :class:`~driftloop.joining.store.StateStore` in a locked folder, with an identity in every write."""

    def __init__(self, folder: Path, lock: int, store: RocksStore, identity: Identity, *, keep: bool) -> None:
        self.folder = folder
        self._lock = lock
        self._store = store
        self._identity = identity
        self._keep = keep

    @property
    def partition(self) -> int:
        return self._identity.partition

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        return self._store.get_many(keys)

    def write(self, changes: StoreWrite) -> None:
        changes.parts.append((_IDENTITY, self._identity.encode()))
        self._store.write(changes)

    def parts(self, prefix: bytes = b"", start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        for name, content in self._store.parts(prefix, start):
            if name != _IDENTITY:
                yield name, content

    def get_parts(self, names: Sequence[bytes]) -> Sequence[bytes | None]:
        return self._store.get_parts(names)

    def part_names(self, prefixes: Sequence[bytes]) -> list[bytes]:
        return self._store.part_names(prefixes)

    def stranger(self) -> str | None:
        """Why what is here is not of use to its owner, or None. Raises :class:`StoreError`."""
        for name, content in self._store.parts(_IDENTITY):
            if name == _IDENTITY:
                return self._identity.difference(content)
        return None

    def clear(self) -> None:
        """Begin with nothing. Raises :class:`StoreError`."""
        self._store.clear()

    def close(self) -> None:
        """Let the next owner have it."""
        self._store.close()
        if not self._keep:
            shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)


def open_partition(root: Path, identity: Identity, *, keep: bool = True) -> PartitionStore | None:
    """The store of a partition, empty if what was there is of no use, or if it is not to be kept (``keep``). None if
    the disk does not let itself be used. Both are said in the log."""
    lock = None
    try:
        root.mkdir(parents=True, exist_ok=True)
        with suppress(PermissionError):  # of somebody else, who lets this process in
            root.chmod(0o700)  # features of pending predictions are in there
        for number in range(_FOLDERS):
            folder = root / (f"{identity.partition}" if number == 0 else f"{identity.partition}.{number}")
            lock = _lock(folder.with_name(f"{folder.name}.lock"))
            if lock is not None:
                break
        else:
            raise StoreError(f"all of {root}/{identity.partition}* are in use by other processes")
        store = PartitionStore(folder, lock, _open(folder, identity.partition), identity, keep=keep)
        try:
            reason = store.stranger() if keep else "checkpoints are switched off"
        except StoreError as error:
            reason = str(error)
        if reason is not None:
            if keep:
                log.warning("checkpoint ignored", partition=identity.partition, reason=reason)
            store.clear()
    except (OSError, StoreError) as error:
        if lock is not None:
            os.close(lock)
        log.warning(
            "no local state: what waits stays in memory, and a restart reads it from the logs",
            partition=identity.partition,
            reason=str(error),
        )
        return None
    return store


def _open(folder: Path, partition: int) -> RocksStore:
    try:
        return RocksStore(folder)
    except StoreError as error:
        if not folder.exists():
            raise
        log.warning("checkpoint ignored", partition=partition, reason=str(error))
        shutil.rmtree(folder, ignore_errors=True)
        return RocksStore(folder)


def _lock(file: Path) -> int | None:
    """A descriptor that holds the lock until it is closed, or None if another one has it."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
