"""Opening the database, its schema, and the two kinds of transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, insert, inspect, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import StaticPool

from driftloop.registry.errors import RegistryError
from driftloop.registry.tables import SCHEMA_REVISION, metadata, schema_version

__all__ = [
    "create_schema",
    "in_chunks",
    "insert_new",
    "open_engine",
    "reading",
    "schema_problem",
    "storable",
    "writing",
]

_BUSY_TIMEOUT_MS = 30_000
#: Any constant does; it keeps two processes from creating the tables at once in PostgreSQL.
_CREATE_LOCK = 7_305_813_202


def open_engine(url: str) -> Engine:
    """An engine for a SQLite or PostgreSQL URL. The folder of a SQLite file is made if it isn't there.

    SQLite: write-ahead log, 30 s of waiting for a lock, foreign keys, and writers that take the lock when they begin,
    so that nobody fails in the middle. Raises :class:`RegistryError` for other databases.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise RegistryError(
            "the database URL cannot be read; write sqlite:///path/to/file.db or postgresql://user:password@host/name"
        ) from None
    if parsed.drivername == "postgres":
        parsed = parsed.set(drivername="postgresql")
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _open_sqlite(parsed)
    if backend == "postgresql":
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        return create_engine(parsed, pool_pre_ping=True)
    raise RegistryError(f"driftloop keeps its registry in SQLite or PostgreSQL, and the database URL says {backend!r}")


def _open_sqlite(url: URL) -> Engine:
    in_memory = url.database in (None, "", ":memory:")
    if in_memory:
        # A database in memory lives as long as its one connection.
        engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000})

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, record: Any) -> None:
        # Python's sqlite3 would begin transactions where it likes; with None it is the begin event below that does.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        only_reads = connection.get_execution_options().get("driftloop_only_reads", False)
        connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")

    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that writes: committed at the end, rolled back if anything raises."""
    with engine.begin() as connection:
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One transaction that only reads, and in SQLite waits for no writer."""
    with engine.connect() as connection:
        connection = connection.execution_options(driftloop_only_reads=True)
        with connection.begin():
            yield connection


def insert_new(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless a unique key of it is there already. True if it was inserted."""
    dialect = connection.dialect.name
    if dialect == "sqlite":
        statement: Any = sqlite.insert(table).values(**values).on_conflict_do_nothing()
    elif dialect == "postgresql":
        statement = postgresql.insert(table).values(**values).on_conflict_do_nothing()
    else:
        raise RegistryError(f"driftloop keeps its registry in SQLite or PostgreSQL, not in {dialect!r}")
    # Not rowcount: the driver for PostgreSQL has none after an INSERT.
    return connection.execute(statement.returning(*table.primary_key)).first() is not None


def storable(text: str) -> str:
    """Text from the wire for a column that is searched: PostgreSQL has no NUL in texts, and takes no lone surrogates.

    >>> storable("a\\x00b") == "a\ufffdb"
    True
    """
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def in_chunks(values: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    """The values in lists short enough for one ``IN``."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def create_schema(engine: Engine) -> None:
    """Make the tables if the database has none; do nothing if they are of this revision.

    Raises :class:`RegistryError` if the database has tables of another revision of driftloop.
    """
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _CREATE_LOCK})
        if inspect(connection).has_table(schema_version.name):
            problem = _problem(connection)
            if problem:
                raise RegistryError(problem)
            return
        metadata.create_all(connection)
        connection.execute(insert(schema_version).values(id=1, revision=SCHEMA_REVISION))


def schema_problem(engine: Engine) -> str | None:
    """What keeps this driftloop from using the database, as a sentence; None if nothing does."""
    with reading(engine) as connection:
        if not inspect(connection).has_table(schema_version.name):
            return "the database has no tables yet; any driftloop service makes them when it starts"
        return _problem(connection)


def _problem(connection: Connection) -> str | None:
    revision = connection.execute(select(schema_version.c.revision)).scalar()
    if revision == SCHEMA_REVISION:
        return None
    return (
        f"the database {connection.engine.url.render_as_string(hide_password=True)} has tables of revision {revision}, "
        f"and this driftloop needs revision {SCHEMA_REVISION}; use the driftloop that made them, or another database"
    )
