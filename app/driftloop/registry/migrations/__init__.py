"""How a registry database gets from one revision of its tables to the next.

Each file in ``versions`` is one step, named ``rNNNN_what.py`` and numbered without gaps. ``registry/tables.py`` says
what the last step leads to; a test compares the two. ``scripts/migration`` drafts a new step from their difference.

There are no steps back: a database is restored from the backup that was made before the upgrade.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, select

from driftloop.registry.tables import metadata, schema_version

__all__ = [
    "FOLDER",
    "VERSION_TABLE",
    "Step",
    "Where",
    "head",
    "migration_context",
    "nowhere",
    "run_steps",
    "scripts",
    "where_is",
]

FOLDER = Path(__file__).parent
#: Not Alembic's own name: other programs that use it may share the database.
VERSION_TABLE = "driftloop_revision"

#: Alembic's ``op`` is one object for the whole process, so that only one thread at a time may run steps.
_STEPPING = threading.Lock()


@dataclass(frozen=True)
class Step:
    """One migration: its number and what it does."""

    revision: str
    message: str


@dataclass(frozen=True)
class Where:
    """At which revision a database is. ``revision`` None: it has no tables of driftloop, or (``absent``) is not there.

    ``pending``: the steps from there to the newest, in order; empty if ``state`` is ``current``, ``newer`` or
    ``foreign``.
    """

    state: Literal["absent", "empty", "current", "older", "newer", "foreign"]
    revision: str | None
    pending: tuple[Step, ...] = ()


@cache
def scripts() -> ScriptDirectory:
    """The steps as Alembic sees them."""
    return ScriptDirectory(str(FOLDER))


@cache
def head() -> str:
    """The newest revision."""
    revision = scripts().get_current_head()
    assert revision is not None, "there is at least the step that makes the first tables"
    return revision


def migration_context(connection: Connection) -> MigrationContext:
    """Alembic's view of a database, for running steps and for comparing it with ``tables.py``."""
    options = {
        "target_metadata": metadata,
        "version_table": VERSION_TABLE,
        "compare_type": True,
        "compare_server_default": True,
    }
    return MigrationContext.configure(connection, opts=options)


def where_is(connection: Connection) -> Where:
    """At which revision the database is."""
    revision = _revision(connection)
    if revision is None:
        return Where("empty", None, _steps_after(None))
    if revision == head():
        return Where("current", revision)
    if revision in {script.revision for script in scripts().walk_revisions()}:
        return Where("older", revision, _steps_after(revision))
    if revision.isdecimal() and int(revision) > int(head()):
        return Where("newer", revision)
    return Where("foreign", revision)


def nowhere() -> Where:
    """For a database that is not there."""
    return Where("absent", None, _steps_after(None))


def _revision(connection: Connection) -> str | None:
    inspector = inspect(connection)
    if inspector.has_table(VERSION_TABLE):
        revision = migration_context(connection).get_current_revision()
        if revision is not None:
            return revision
    if inspector.has_table(schema_version.name):
        # The releases before there were migrations wrote only this number.
        number = connection.execute(select(schema_version.c.revision)).scalar()
        return None if number is None else f"{number:04}"
    return None


def _steps_after(revision: str | None) -> tuple[Step, ...]:
    ahead = list(scripts().iterate_revisions(head(), revision or "base"))
    return tuple(Step(script.revision, script.doc.rstrip(".")) for script in reversed(ahead))


def run_steps(connection: Connection, *, upto: str | None = None) -> list[Step]:
    """Run the pending steps (up to and with revision ``upto``) in the connection's transaction. Returns them.

    The caller holds the lock that keeps other processes from doing the same, and has switched off SQLite's foreign
    keys, because changing a table there means to drop it and make it anew.
    """
    done: list[Step] = []
    with _STEPPING:
        context = migration_context(connection)
        for step in where_is(connection).pending:
            script = scripts().get_revision(step.revision)
            assert script is not None
            with Operations.context(context):
                script.module.upgrade()
            context.stamp(scripts(), step.revision)
            # For the releases before there were migrations: they look only here, and refuse a number that isn't theirs.
            connection.execute(schema_version.update().values(revision=int(step.revision)))
            done.append(step)
            if step.revision == upto:
                break
    return done
