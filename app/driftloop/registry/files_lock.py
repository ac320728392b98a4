"""Between those who refer to files of the artifact store and who removes them: many of the former at once, or one of
the latter.

Removing may take long, above all in an object store, so it holds no lock that other writers of the database need: in
PostgreSQL an advisory lock, with SQLite a lock on the folder that the database lies in. Either is given back, by the
server or the operating system, when its holder dies.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from driftloop.registry.database import reading, writing

__all__ = ["holding_still", "referring"]

#: Any constant does; in PostgreSQL it names the lock.
_FILES_LOCK = 7_305_813_203


@contextmanager
def referring(engine: Engine) -> Iterator[Connection]:
    """One transaction that writes, which looks whether files are there and refers to them, or begins a training: no
    file goes away until it ends. Waits for :func:`holding_still`."""
    with _folder_locked(engine, fcntl.LOCK_SH), writing(engine) as connection:
        _lock(connection, "pg_advisory_xact_lock_shared")
        yield connection


@contextmanager
def holding_still(engine: Engine) -> Iterator[Connection]:
    """One transaction that reads, during which files may be removed: until it ends nobody refers to another file and no
    training begins. All else can be written meanwhile. Waits for :func:`referring`."""
    with _folder_locked(engine, fcntl.LOCK_EX), reading(engine) as connection:
        _lock(connection, "pg_advisory_xact_lock")
        yield connection


def _lock(connection: Connection, function: str) -> None:
    """In PostgreSQL, however long whoever has it needs: the limits of a statement are not for waiting in a queue."""
    if connection.dialect.name != "postgresql":
        return
    from driftloop.registry._postgresql import unhurried

    with unhurried(connection):
        connection.execute(text(f"SELECT {function}(:lock)"), {"lock": _FILES_LOCK})


@contextmanager
def _folder_locked(engine: Engine, how: int) -> Iterator[None]:
    """Taken before a transaction begins, so that nobody who waits for it keeps writers of the database waiting."""
    database = engine.url.database
    if engine.dialect.name != "sqlite" or not database or database == ":memory:":
        yield  # a database in memory has one connection, and its transactions exclude each other
        return
    folder = os.open(Path(database.removeprefix("file:").partition("?")[0]).parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, how)
        yield
    finally:
        fcntl.flock(folder, fcntl.LOCK_UN)  # also where a process that was forked meanwhile has the folder open
        os.close(folder)
