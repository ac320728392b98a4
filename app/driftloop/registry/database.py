"""Opening the database, its schema, and the two kinds of transaction."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from driftloop.registry._sqlite import Access, open_sqlite
from driftloop.registry.errors import AbsentDatabaseError, RegistryError
from driftloop.registry.migrations import Step, Where, head, nowhere, run_steps, where_is

__all__ = [
    "Access",
    "create_schema",
    "database_problem",
    "in_chunks",
    "insert_new",
    "open_engine",
    "reading",
    "require_schema",
    "schema_problem",
    "schema_state",
    "shown_url",
    "storable",
    "upgrade_schema",
    "what_it_said",
    "writing",
]

_UNREADABLE = (
    "the database URL cannot be read; write sqlite:///path/to/file.db or postgresql://user:password@host/name, with "
    "characters such as @ : / ? # in the password as %40 %3A %2F %3F %23"
)
#: Any constant does; it keeps two processes from making or changing tables at once in PostgreSQL.
_MIGRATION_LOCK = 7_305_813_202
#: Parameters of a database URL that may hold what nobody should see.
_SECRET_PARAMETER = re.compile(r"password|secret|token|key|passfile", re.IGNORECASE)


def open_engine(url: str, access: Access = "create") -> Engine:
    """An engine for a SQLite or PostgreSQL URL. Nothing is opened or made before the first connection is wanted.

    ``access`` says what its connections may do: ``read`` nothing but read, of a database that is there; ``change`` also
    write into one that is there; ``create`` also make a SQLite file and its folder. The tables are for
    :func:`create_schema` and :func:`require_schema`.

    SQLite: write-ahead log, 30 s of waiting for a lock, foreign keys, and writers that take the lock when they begin,
    so that nobody fails in the middle. PostgreSQL: a server that is silent ends in an ``OperationalError``, see
    ``_postgresql``. Raises :class:`RegistryError` for other databases.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Not what the error says: that may be a piece of the password.
        raise RegistryError(_UNREADABLE) from None
    if "@" in (parsed.host or ""):
        raise RegistryError(_UNREADABLE)
    if parsed.drivername == "postgres":
        parsed = parsed.set(drivername="postgresql")
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return open_sqlite(parsed, access)
    if backend == "postgresql":
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        from driftloop.registry._postgresql import patient  # its driver takes a tenth of a second

        options = {"postgresql_readonly": True} if access == "read" else {}
        return patient(create_engine(parsed, pool_pre_ping=True, execution_options=options))
    raise RegistryError(f"driftloop keeps its registry in SQLite or PostgreSQL, and the database URL says {backend!r}")


def shown_url(url: URL) -> str:
    """The URL without what is secret in it, whether as password or as a parameter.

    >>> shown_url(make_url("postgresql://me:geheim@host/name?sslpassword=geheim&sslmode=require"))
    'postgresql://me:***@host/name?sslmode=require&sslpassword=***'
    """
    hidden = {name: "***" if _SECRET_PARAMETER.search(name) else value for name, value in url.query.items()}
    shown = url.set(query=dict(sorted(hidden.items()))).render_as_string(hide_password=True)
    return shown.replace("%2A%2A%2A", "***")


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

    Raises :class:`RegistryError` that says what to do if they are older or newer than this driftloop.
    """
    with reading(engine) as connection:
        where = where_is(connection)
    if where.state == "empty":
        upgrade_schema(engine, only_empty=True)
    elif where.state != "current":
        raise RegistryError(_sentence(engine, where))


def require_schema(engine: Engine) -> None:
    """Raise :class:`RegistryError` that says what to do unless the database has the tables of this revision."""
    problem = schema_problem(engine)
    if problem is not None:
        raise RegistryError(problem)


def upgrade_schema(engine: Engine, *, only_empty: bool = False) -> list[Step]:
    """Bring the database to this driftloop's revision: all steps or none. Returns those that were run.

    Several processes may do so at once: one runs the steps, the others wait and find nothing left to do. With
    ``only_empty`` tables that are there already are left alone. Raises :class:`RegistryError` for a database that is
    newer than this driftloop, or not one of its own.
    """
    with _migrating(engine) as connection:
        where = where_is(connection)
        if where.state in ("newer", "foreign") or (only_empty and where.state == "older"):
            raise RegistryError(_sentence(engine, where))
        return run_steps(connection)


@contextmanager
def _migrating(engine: Engine) -> Iterator[Connection]:
    """A transaction that no other process can have at the same time."""
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            # To change a table, SQLite makes a new one and drops the old one, which rows that point to it would
            # prevent. The switch works only outside of a transaction; begin then takes the lock (BEGIN IMMEDIATE).
            own = connection.connection
            own.cursor().execute("PRAGMA foreign_keys = OFF")
            try:
                with connection.begin():
                    yield connection
                    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
                    if broken is not None:
                        raise RegistryError(f"the database's rows don't fit together: {tuple(broken)}; nothing changed")
            finally:
                own.cursor().execute("PRAGMA foreign_keys = ON")
        else:
            from driftloop.registry._postgresql import unhurried

            with connection.begin(), unhurried(connection):
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
                yield connection


def schema_state(engine: Engine) -> Where:
    """At which revision the database is, and which steps it lacks. Changes nothing."""
    try:
        with reading(engine) as connection:
            return where_is(connection)
    except AbsentDatabaseError:
        return nowhere()


def schema_problem(engine: Engine) -> str | None:
    """What keeps this driftloop from using the database, as a sentence; None if nothing does."""
    try:
        with reading(engine) as connection:
            where = where_is(connection)
    except AbsentDatabaseError as error:
        return str(error)
    return None if where.state == "current" else _sentence(engine, where)


def database_problem(engine: Engine) -> str | None:
    """For readiness: what is wrong with the database or its tables, in a sentence without secrets, or None."""
    try:
        return schema_problem(engine)
    except SQLAlchemyError as error:
        return f"the database does not answer: {what_it_said(error)}"


def what_it_said(error: SQLAlchemyError) -> str:
    """Why the database did not do it, in the driver's words alone: SQLAlchemy adds statements and their values.

    >>> what_it_said(SQLAlchemyError("something"))
    'SQLAlchemyError'
    """
    lines = str(getattr(error, "orig", None) or "").strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _sentence(engine: Engine, where: Where) -> str:
    if where.state == "empty":
        return (
            f"the database {shown_url(engine.url)} has no tables yet: correct DRIFTLOOP_DATABASE_URL, or make them "
            "with 'driftloop db upgrade' (a service that starts and 'driftloop models register' make them too)"
        )
    told = f"the database {shown_url(engine.url)} has tables of revision {where.revision}, "
    if where.state == "older":
        return (
            f"{told}and this driftloop needs revision {head()}; stop the services, back the database up, and run "
            "'driftloop db upgrade'"
        )
    if where.state == "newer":
        return (
            f"{told}and this driftloop knows them up to {head()}: a newer driftloop has upgraded it; use that "
            "one, or a backup from before the upgrade"
        )
    return f"{told}which no driftloop makes; use the driftloop that made them, or another database"
