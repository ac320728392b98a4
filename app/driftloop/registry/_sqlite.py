"""Opening a SQLite file: to read it, to change what is in it, or to make it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, Dialect
from sqlalchemy.pool import StaticPool

from driftloop.registry.errors import AbsentDatabaseError, RegistryError

__all__ = ["Access", "open_sqlite"]

#: ``read``: nothing is made and nothing can be written. ``change``: the database must be there. ``create``: what is
#: not there is made.
Access = Literal["read", "change", "create"]

_BUSY_TIMEOUT_MS = 30_000


def open_sqlite(url: URL, access: Access) -> Engine:
    """An engine that opens the file, and makes it and its folder, when the first connection is wanted.

    That raises :class:`RegistryError` if the file should be there and is not, or if SQLite cannot read it where it is.
    """
    name = url.database or ""
    file = None if name in ("", ":memory:") or name.startswith("file:") else Path(name).absolute()
    if name.startswith("file:"):
        # SQLite's own form, for what only it can say, such as vfs: it is opened as it says.
        given = url if access == "create" or "mode" in url.query else url.update_query_dict({"mode": "rw"})
        engine = create_engine(given, connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000})
    elif file is None:
        # A database in memory lives as long as its one connection.
        engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000})

        @event.listens_for(engine, "do_connect")
        def connect(dialect: Dialect, record: Any, arguments: list[Any], parameters: dict[str, Any]) -> Any:
            if access == "create":
                file.parent.mkdir(parents=True, exist_ok=True)
                return None  # as SQLAlchemy does it
            if not file.exists():
                raise AbsentDatabaseError(_absent(file))
            if not file.is_file():
                raise RegistryError(f"the database {file} is not a file; correct DRIFTLOOP_DATABASE_URL")
            return dialect.connect(f"{file.as_uri()}?mode={_mode(file, access)}", **{**parameters, "uri": True})

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, record: Any) -> None:
        # Python's sqlite3 would begin transactions where it likes; with None it is the begin event below that does.
        connection.isolation_level = None
        try:
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            if access == "create":
                connection.execute("PRAGMA journal_mode = WAL")  # stays in the file
            elif access == "read":
                connection.execute("PRAGMA query_only = ON")
                connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            if access == "read" and file is not None and _closed(file):
                raise RegistryError(
                    f"{file} cannot be read where it is: SQLite needs files beside it, and this account may not write "
                    f"in {file.parent}; use the account of the services, or read a copy in another folder"
                ) from None
            raise

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        only_reads = access == "read" or connection.get_execution_options().get("driftloop_only_reads", False)
        connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")

    return engine


def _mode(file: Path, access: Access) -> str:
    """How SQLite opens the file of a reader.

    Whoever reads a database in WAL mode needs the files ``-wal`` and ``-shm`` beside it. Where a service has it open
    they are there, and a read-only connection leaves them and the file as they are. Where nobody has, such a connection
    would make them and leave them behind; one that may write removes them when it closes, and ``query_only`` keeps it
    from anything else. (With ``immutable``, which needs neither, SQLite would not see a service that starts meanwhile.)
    """
    return "ro" if access == "read" and Path(f"{file}-wal").exists() else "rw"


def _closed(file: Path) -> bool:
    """Whether this account may read the file, but make none beside it."""
    return os.access(file, os.R_OK) and not os.access(file.parent, os.W_OK)


def _absent(file: Path) -> str:
    return (
        f"the database {file} is not there: correct DRIFTLOOP_DATABASE_URL or DRIFTLOOP_DATA_DIR, or make it with "
        "'driftloop db upgrade' (a service that starts and 'driftloop models register' make it too)"
    )
