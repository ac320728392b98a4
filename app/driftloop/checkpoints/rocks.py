"""A source partition's state in RocksDB.

One database a partition. Keys begin with what they are: ``p`` a pending row, ``c`` an entry that lists a row under its
cohort, ``s`` another part of the state. Everything is checksummed by RocksDB, and a write is one record of its log: it
is there as a whole or not at all.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    WriteBatch,
    WriteOptions,
)

from driftloop.joining.store import StoreDamaged, StoreError, StoreWrite

__all__ = ["RocksStore", "open_database"]

_ROW, _ENTRY, _PART = b"p", b"c", b"s"
#: Of all partitions of this process together; filters and indexes of the files are in it too.
_BLOCK_CACHE_BYTES = 128 << 20
_MEMTABLE_BYTES = 32 << 20
#: Ten bits a key: one absent key in a hundred is looked for in vain.
_BLOOM_BITS = 10
_PROBE_BYTES = 1 << 20

_cache: list[Cache] = []


def open_database(folder: Path) -> Rdict:
    """Open or make a database. Raises whatever RocksDB says (plain ``Exception``)."""
    if not _cache:
        _cache.append(Cache(_BLOCK_CACHE_BYTES))
    blocks = BlockBasedOptions()
    blocks.set_block_cache(_cache[0])
    blocks.set_bloom_filter(_BLOOM_BITS, False)
    blocks.set_cache_index_and_filter_blocks(True)
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(True)
    blocks.set_format_version(5)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(blocks)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_write_buffer_size(_MEMTABLE_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_max_background_jobs(2)
    options.set_max_open_files(256)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(1 << 20)
    # What was cut off in the middle of the log is left out: the state is then that of the write before.
    options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
    return Rdict(str(folder), options)


class RocksStore:
    """Rows and parts in one folder. Raises :class:`~driftloop.joining.store.StoreError` for whatever the disk does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._write_options = WriteOptions()
        self._write_options.sync = True
        self._db = self._open()
        self._broken = False

    def _open(self) -> Rdict:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return open_database(self._folder)
        except Exception as error:
            raise StoreError(f"{self._folder} cannot be opened: {error}") from error

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        return self._get(_ROW, keys)

    def get_parts(self, names: Sequence[bytes]) -> Sequence[bytes | None]:
        return self._get(_PART, names)

    def _get(self, kind: bytes, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        try:
            found: Any = self._db[[kind + key for key in keys]]
        except Exception as error:
            raise StoreDamaged(f"{self._folder} cannot be read: {error}") from error
        contents: list[bytes | None] = found
        return contents

    def write(self, changes: StoreWrite) -> None:
        try:
            batch = self._batch(changes)
            if self._broken:
                # After a failed write RocksDB takes no more of them; opened anew it goes on from what is whole. But
                # opening needs space too, and until there is some, what was written before can be read.
                self._probe(batch.size_in_bytes())
                self.close()
                self._db = open_database(self._folder)
                self._broken = False
            self._db.write(batch, self._write_options)
        except StoreDamaged:
            raise
        except Exception as error:
            self._broken = True
            raise StoreError(f"{self._folder} cannot be written: {error}") from error

    def _probe(self, size: int) -> None:
        """Raises ``OSError`` if the disk has no room for so many bytes and for what opening writes anew."""
        size += sum(file.stat().st_size for file in self._folder.glob("*.log"))
        probe = self._folder / "probe"
        try:
            with probe.open("wb") as file:
                for _ in range(0, size, _PROBE_BYTES):
                    file.write(bytes(_PROBE_BYTES))
        finally:
            probe.unlink(missing_ok=True)

    def _batch(self, changes: StoreWrite) -> WriteBatch:
        batch = WriteBatch(raw_mode=True)
        put, delete = batch.put, batch.delete
        for cohort in changes.dropped:
            for _, key in self._starting_with(_ENTRY + cohort):
                delete(_ROW + key)
            batch.delete_range(_ENTRY + cohort, _after(_ENTRY + cohort))
        for entry in changes.stale_entries:
            delete(_ENTRY + entry)
        # After the deletions, in this order: a key may have come back.
        for key, row in changes.rows:
            put(_ROW + key, row)
        for entry, key in changes.entries:
            put(_ENTRY + entry, key)
        for name in changes.removed_parts:
            delete(_PART + name)
        for prefix in changes.dropped_parts:
            batch.delete_range(_PART + prefix, _after(_PART + prefix))
        for name, content in changes.parts:
            put(_PART + name, content)
        return batch

    def parts(self, prefix: bytes = b"", start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        for key, content in self._starting_with(_PART + prefix, _PART + start):
            yield key[1:], content

    def part_names(self, prefixes: Sequence[bytes]) -> list[bytes]:
        names: list[bytes] = []
        cursor = None
        try:
            cursor = self._db.iter()
            for prefix in prefixes:
                cursor.seek(_PART + prefix)
                while cursor.valid() and (key := cursor.key()).startswith(_PART + prefix):
                    names.append(key[1:])
                    cursor.next()
                cursor.status()  # raises if a damaged block ended it
        except Exception as error:
            raise StoreDamaged(f"{self._folder} cannot be read: {error}") from error
        finally:
            del cursor  # as below
        return names

    def _starting_with(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        cursor = None
        try:
            cursor = self._db.iter()
            cursor.seek(max(prefix, start))
            while cursor.valid():
                key: bytes = cursor.key()
                if not key.startswith(prefix):
                    return
                yield key, cursor.value()
                cursor.next()
            cursor.status()  # raises if a damaged block ended it
        except Exception as error:
            raise StoreDamaged(f"{self._folder} cannot be read: {error}") from error
        finally:
            del cursor  # a traceback may hold on to this frame, and a cursor keeps the database open

    def clear(self) -> None:
        """Begin with nothing."""
        self.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._db = self._open()
        self._broken = False

    def close(self) -> None:
        # It says again what a write before could not do, or that it could not be opened anew after that.
        with suppress(Exception):
            self._db.close()


def _after(prefix: bytes) -> bytes:
    """The first key after all that begin with the prefix."""
    number = int.from_bytes(prefix, "big") + 1
    return number.to_bytes(len(prefix), "big")
