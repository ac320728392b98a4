"""Embedded stores for pending predictions, compared on what a monitor does with them.

    .venv/bin/python scripts/bench/pending_store.py --rows 10000000

One after the other, each in a process and an empty folder of its own: RocksDB (rocksdict), LMDB (lmdb; left out unless
it is installed) and SQLite (standard library). Rows of some 300 bytes with random ids, in 20 cohorts, are written in
atomic batches of 100,000 (as a monitor does at a checkpoint), each row with an entry that lists it under its cohort.
Then: look-ups of absent ids (is this prediction a duplicate?) and of present ones (labels) in batches of 4,000;
rewriting rows that got their label; expiry of a cohort. Printed: rows a second, the process's memory (anonymous, and
mapped files), size on disk.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.table import Table

COHORTS = 20
WRITE_ROWS = 100_000
LOOKUP_ROWS = 4_000
COHORT = b"c%04d"


class Store(Protocol):
    """``entry``: cohort and sequence number, under which the key is listed until the cohort is dropped."""

    def write(self, rows: Sequence[tuple[bytes, bytes, bytes]]) -> None: ...

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]: ...

    def drop(self, cohort: bytes) -> int: ...

    def close(self) -> None: ...


class Rocks:
    """Settings as in driftloop.checkpoints.rocks."""

    def __init__(self, folder: Path) -> None:
        from rocksdict import WriteBatch

        from driftloop.checkpoints.rocks import open_database

        self._batch = WriteBatch
        self._db = open_database(folder / "rocks")

    def write(self, rows: Sequence[tuple[bytes, bytes, bytes]]) -> None:
        batch = self._batch(raw_mode=True)
        for key, entry, row in rows:
            batch.put(b"p" + key, row)
            batch.put(b"c" + entry, key)
        self._db.write(batch)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        found: list[bytes | None] = self._db[[b"p" + key for key in keys]]
        return found

    def drop(self, cohort: bytes) -> int:
        batch = self._batch(raw_mode=True)
        dropped = 0
        for _, key in self._entries(b"c" + cohort):
            batch.delete(b"p" + key)
            dropped += 1
        batch.delete_range(b"c" + cohort, b"c" + cohort + b"\xff")
        self._db.write(batch)
        return dropped

    def _entries(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        for entry, key in self._db.items(from_key=prefix):
            if not entry.startswith(prefix):
                return
            yield entry, key

    def close(self) -> None:
        self._db.close()


class Lmdb:
    """A memory-mapped B+ tree; its pages count as the process's mapped files."""

    def __init__(self, folder: Path) -> None:
        import lmdb

        self._env = lmdb.open(str(folder / "lmdb"), map_size=64 << 30, max_dbs=2, writemap=False, readahead=False)
        self._rows = self._env.open_db(b"rows")
        self._entries = self._env.open_db(b"entries")

    def write(self, rows: Sequence[tuple[bytes, bytes, bytes]]) -> None:
        with self._env.begin(write=True) as txn:
            txn.cursor(self._rows).putmulti(sorted((key, row) for key, _, row in rows))
            txn.cursor(self._entries).putmulti(sorted((entry, key) for key, entry, _ in rows))

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        with self._env.begin() as txn:
            return [txn.get(key, db=self._rows) for key in keys]

    def drop(self, cohort: bytes) -> int:
        dropped = 0
        with self._env.begin(write=True) as txn:
            cursor = txn.cursor(self._entries)
            found = cursor.set_range(cohort)
            while found and cursor.key().startswith(cohort):
                txn.delete(cursor.value(), db=self._rows)
                found = cursor.delete()
                dropped += 1
        return dropped

    def close(self) -> None:
        self._env.close()


class Sqlite:
    """Write-ahead log, synced at checkpoints only; a page cache of 256 MB."""

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "pending.db")
        self._db.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-262144;"
            "CREATE TABLE rows (key BLOB PRIMARY KEY, row BLOB) WITHOUT ROWID;"
            "CREATE TABLE entries (entry BLOB PRIMARY KEY, key BLOB) WITHOUT ROWID;"
        )

    def write(self, rows: Sequence[tuple[bytes, bytes, bytes]]) -> None:
        with self._db:
            self._db.executemany("REPLACE INTO rows VALUES (?, ?)", sorted((key, row) for key, _, row in rows))
            self._db.executemany("REPLACE INTO entries VALUES (?, ?)", [(entry, key) for key, entry, _ in rows])

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        marks = ",".join("?" * len(keys))
        found = dict(self._db.execute(f"SELECT key, row FROM rows WHERE key IN ({marks})", keys))
        return [found.get(key) for key in keys]

    def drop(self, cohort: bytes) -> int:
        bounds = (cohort, cohort + b"\xff")
        with self._db:
            gone = self._db.execute(
                "DELETE FROM rows WHERE key IN (SELECT key FROM entries WHERE entry >= ? AND entry < ?)", bounds
            )
            self._db.execute("DELETE FROM entries WHERE entry >= ? AND entry < ?", bounds)
        return gone.rowcount

    def close(self) -> None:
        self._db.close()


STORES: dict[str, Callable[[Path], Store]] = {"rocksdb": Rocks, "lmdb": Lmdb, "sqlite": Sqlite}


def key_of(number: int) -> bytes:
    """A random id, as most services give."""
    return b"credit\0" + hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).hexdigest().encode()


def row_of(number: int, chance: random.Random) -> bytes:
    features = ",".join(f'"feature_{at}":{chance.random():.4f}' for at in range(11))
    return b"\x9b%d{%s}" % (number, features.encode())


def entry_of(number: int, rows: int) -> bytes:
    return COHORT % (number * COHORTS // rows) + number.to_bytes(8, "big")


def memory_mb() -> tuple[float, float]:
    """Anonymous memory and mapped files of this process."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(status["RssAnon"].split()[0]) / 1024, int(status["RssFile"].split()[0]) / 1024


def measure(name: str, rows: int) -> dict[str, Any]:
    chance = random.Random(1)
    result: dict[str, Any] = {"store": name}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        store = STORES[name](Path(folder))

        def timed(what: str, count: int, pieces: Iterator[Callable[[], object]]) -> None:
            spent_s, started_cpu = 0.0, time.process_time()
            made_cpu = 0.0
            while True:
                before = time.process_time()
                piece = next(pieces, None)
                made_cpu += time.process_time() - before
                if piece is None:
                    break
                started_s = time.perf_counter()
                piece()
                spent_s += time.perf_counter() - started_s
            result[what] = count / spent_s
            result[f"{what} cpu"] = (time.process_time() - started_cpu - made_cpu) / count * 1e6

        def writes() -> Iterator[Callable[[], object]]:
            for start in range(0, rows, WRITE_ROWS):
                batch = [
                    (key_of(at), entry_of(at, rows), row_of(at, chance))
                    for at in range(start, min(rows, start + WRITE_ROWS))
                ]
                yield lambda batch=batch: store.write(batch)  # type: ignore[misc]

        def lookups(low: int, high: int, count: int) -> Iterator[Callable[[], object]]:
            for _ in range(count // LOOKUP_ROWS):
                keys = [key_of(chance.randrange(low, high)) for _ in range(LOOKUP_ROWS)]
                expected = LOOKUP_ROWS if high <= rows else 0

                def look(keys: list[bytes] = keys, expected: int = expected) -> None:
                    assert sum(row is not None for row in store.get_many(keys)) == expected

                yield look

        def rewrites(count: int) -> Iterator[Callable[[], object]]:
            for _ in range(count // WRITE_ROWS):
                numbers = chance.sample(range(rows), WRITE_ROWS)
                batch = [(key_of(at), entry_of(at, rows), row_of(at, chance)) for at in numbers]
                yield lambda batch=batch: store.write(batch)  # type: ignore[misc]

        sample = max(LOOKUP_ROWS, min(rows // 10, 400_000) // LOOKUP_ROWS * LOOKUP_ROWS)
        timed("insert", rows, writes())
        timed("absent", sample, lookups(rows, 1 << 40, sample))
        timed("present", sample, lookups(0, rows, sample))
        timed("rewrite", max(1, sample // WRITE_ROWS) * WRITE_ROWS, rewrites(max(WRITE_ROWS, sample)))
        result["anon_mb"], result["file_mb"] = memory_mb()
        result["disk_mb"] = sum(file.stat().st_blocks * 512 for file in Path(folder).rglob("*")) / 1e6
        timed("expire", rows // COHORTS, iter([lambda: store.drop(COHORT % 0)]))
        assert store.get_many([key_of(1)]) == [None]
        assert store.get_many([key_of(rows - 1)]) != [None]
        store.close()
        shutil.rmtree(folder, ignore_errors=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--store", choices=STORES, help="one of them alone, as JSON")
    arguments = parser.parse_args()
    if arguments.store:
        sys.stdout.write(json.dumps(measure(arguments.store, arguments.rows)) + "\n")
        return
    steps = ("insert", "absent", "present", "rewrite", "expire")
    table = Table("rows a second (CPU µs)", *steps, "memory MB", "mapped MB", "disk MB")
    for name in STORES:
        if name == "lmdb" and find_spec("lmdb") is None:
            continue
        command = [sys.executable, __file__, "--rows", str(arguments.rows), "--store", name]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(run.stdout.strip().splitlines()[-1])
        speeds = [f"{found[step]:,.0f} ({found[f'{step} cpu']:.1f})" for step in steps]
        table.add_row(name, *speeds, *(f"{found[size]:,.0f}" for size in ("anon_mb", "file_mb", "disk_mb")))
    Console(width=150).print(f"{arguments.rows:,} rows", table)


if __name__ == "__main__":
    main()
