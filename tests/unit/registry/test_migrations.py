"""Making and upgrading databases by migrations."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from sqlalchemy import Engine, MetaData, insert, inspect, select, text, update

from driftloop.registry import (
    ArtifactStore,
    Registry,
    RegistryError,
    create_schema,
    open_engine,
    schema_problem,
    schema_state,
    upgrade_schema,
)
from driftloop.registry.database import reading, writing
from driftloop.registry.history_chain import check_history
from driftloop.registry.migrations import FOLDER, VERSION_TABLE, head, migration_context, run_steps, scripts
from driftloop.registry.tables import metadata, schema_version
from support import registry_tables_revision_1 as first_release

#: Rows of a registry of the first release: two versions, the second promoted, rolled back, a third rejected.
_OLD_ROWS: dict[str, list[dict[str, Any]]] = {
    "models": [
        {"model_id": "late", "task": "binary", "spec_digest": "d", "event_sequence": 6, "version_sequence": 3},
        {"model_id": "delay", "task": "regression", "spec_digest": "e", "event_sequence": 0, "version_sequence": 0},
    ],
    "model_versions": [
        {
            "model_id": "late",
            "version": f"v{number}",
            "sequence": number,
            "status": status,
            "artifact_uri": None,
            "artifact_sha256": None,
            "artifact_size": None,
            "profile": b"profile",
            "profile_sha256": hashlib.sha256(b"profile").hexdigest(),
            "lineage": "{}",
            "metrics": '{"auc":0.5}',
            "gates": "[]",
            "command_id": None,
            "trained_from_ms": None,
            "trained_to_ms": None,
            "event_time_ms": number,
        }
        for number, status in ((1, "promoted"), (2, "rolled_back"), (3, "rejected"))
    ],
    "aliases": [{"model_id": "late", "alias": "champion", "version": "v1"}],
    "alias_history": [
        {
            "id": row_id,
            "model_id": "late",
            "alias": alias,
            "action": action,
            "version": version,
            "previous_version": previous,
            "command_id": None,
            "reason": "größer",
            "actor": "ada",
            "event_time_ms": row_id,
        }
        for row_id, alias, action, version, previous in (
            (1, "challenger", "registered", "v1", None),
            (2, "champion", "promoted", "v1", None),
            (3, "challenger", "promoted", None, "v1"),
            (5, "challenger", "registered", "v2", None),
            (6, "champion", "promoted", "v2", "v1"),
            (7, "challenger", "promoted", None, "v2"),
            (9, "champion", "rolled_back", "v1", "v2"),
            (10, "challenger", "registered", "v3", None),
            (11, "challenger", "rejected", None, "v3"),
        )
    ],
    "outbox": [{"event_key": "k", "topic": "alerts", "key": "late", "value": b"\x00\xff", "published": False}],
    "partition_progress": [{"partition": 0, "restart_offset": 2**40}],
    "runs": [
        {
            "command_id": "c" * 64,
            "model_id": "late",
            "command": b"{}",
            "owner": "o",
            "lease_until_wall_ms": 1,
            "attempts": 1,
            "started_wall_ms": 1,
            "outcome": None,
            "version": None,
            "reason": "",
        }
    ],
}


@pytest.fixture
def old_engine(database_url: str) -> Any:
    """A database as the first release made it, with rows in it."""
    engine = open_engine(database_url)
    with writing(engine) as connection:
        first_release.metadata.create_all(connection)
        connection.execute(insert(first_release.schema_version).values(id=1, revision=1))
        for name, rows in _OLD_ROWS.items():
            connection.execute(insert(first_release.metadata.tables[name]), rows)
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT setval(pg_get_serial_sequence('alias_history', 'id'), 11)"))
    yield engine
    engine.dispose()


def _differences(engine: Engine, wanted: MetaData) -> list[Any]:
    with engine.connect() as connection:
        return list(compare_metadata(migration_context(connection), wanted))


def test_migrations_lead_to_what_tables_says(engine: Engine) -> None:
    assert _differences(engine, metadata) == [], 'scripts/migration "What it does" writes the missing migration'


def test_a_difference_would_be_noticed(engine: Engine) -> None:
    changes = (
        "ALTER TABLE runs ADD COLUMN extra INTEGER",
        "DROP INDEX ix_commands_model_id",
        "DROP TABLE relay_lease",
    )
    for change in changes:
        with writing(engine) as connection:
            connection.execute(text(change))
    assert len(_differences(engine, metadata)) == 3


def test_the_first_step_makes_what_the_first_release_made(database_url: str) -> None:
    engine = open_engine(database_url)
    with writing(engine) as connection:
        run_steps(connection, upto="0001")
    assert _differences(engine, first_release.metadata) == []
    engine.dispose()


def test_steps_are_one_line_numbered_without_gaps_and_named_by_their_number() -> None:
    assert scripts().get_heads() == [head()], "two steps have the same predecessor: number one of them anew"
    steps = [script.revision for script in scripts().walk_revisions()][::-1]
    assert steps == [f"{number:04}" for number in range(1, len(steps) + 1)]
    files = sorted(path.name for path in (FOLDER / "versions").glob("*.py") if path.name != "__init__.py")
    assert [name[1:5] for name in files] == steps, "two files have the same number, or one is not named rNNNN_what.py"
    for name in files:
        assert re.fullmatch(r"r\d{4}_[a-z0-9_]+\.py", name)
        assert not re.search(
            r"^from driftloop.*tables|^import driftloop", (FOLDER / "versions" / name).read_text(), re.M
        )


def test_a_database_of_the_first_release_is_taken_over_with_its_rows(old_engine: Engine) -> None:
    before = {name: _rows(old_engine, table) for name, table in first_release.metadata.tables.items()}
    with pytest.raises(RegistryError, match=r"tables of revision 0001, .* run 'driftloop db upgrade'"):
        create_schema(old_engine)
    assert "driftloop db upgrade" in str(schema_problem(old_engine))
    assert {name: _rows(old_engine, table) for name, table in first_release.metadata.tables.items()} == before

    assert [step.revision for step in upgrade_schema(old_engine)] == [
        f"{number:04}" for number in range(2, int(head()) + 1)
    ]
    assert schema_problem(old_engine) is None
    create_schema(old_engine)
    assert _differences(old_engine, metadata) == []
    after = {name: _rows(old_engine, table) for name, table in first_release.metadata.tables.items()}
    before["schema_version"] = [(1, int(head()))]
    assert after == before
    assert upgrade_schema(old_engine) == []


def test_an_upgraded_registry_goes_on(old_engine: Engine, store: ArtifactStore) -> None:
    upgrade_schema(old_engine)
    registry = Registry(old_engine, store)
    assert [row.version for row in registry.versions("late")] == ["v1", "v2", "v3"]
    registry.promote("late", "v2", "again", 20)
    assert registry.rollback("late", "no", 21) == "v1"
    assert [change.version for change in registry.history("late", "champion")] == ["v1", "v2", "v1", "v2", "v1"]
    assert [change.subject for change in registry.history("late", "challenger")][-2:] == ["v3", "v3"]
    with reading(old_engine) as connection:
        check = check_history(connection)
    assert (check.rows, check.problem) == (11, None)
    with reading(old_engine) as connection:
        if connection.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_the_first_release_refuses_an_upgraded_database(old_engine: Engine) -> None:
    """It reads the number in schema_version and wants 1."""
    upgrade_schema(old_engine)
    assert _rows(old_engine, schema_version) == [(1, int(head()))]


def test_a_failing_step_changes_nothing(old_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    last = scripts().get_revision(head())
    assert last is not None
    upgrade = last.module.upgrade

    def fail() -> None:
        upgrade()
        raise RuntimeError("in the middle")

    monkeypatch.setattr(last.module, "upgrade", fail)
    with pytest.raises(RuntimeError):
        upgrade_schema(old_engine)
    assert schema_state(old_engine).revision == "0001"
    assert not inspect(old_engine).has_table(VERSION_TABLE)
    assert _differences(old_engine, first_release.metadata) == []


@pytest.mark.parametrize(
    ("revision", "sentence"), [("9999", "a newer driftloop has upgraded it"), ("zzzz", "which no driftloop makes")]
)
def test_a_newer_or_foreign_database_is_refused(engine: Engine, revision: str, sentence: str) -> None:
    with writing(engine) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"))
    for action in (create_schema, upgrade_schema):
        with pytest.raises(RegistryError, match=f"revision {revision}.*{sentence}"):
            action(engine)
    assert sentence in str(schema_problem(engine))


def test_a_first_release_number_that_was_never_given_is_refused(old_engine: Engine) -> None:
    with writing(old_engine) as connection:
        connection.execute(update(first_release.schema_version).values(revision=0))
    with pytest.raises(RegistryError, match="revision 0000, which no driftloop makes"):
        upgrade_schema(old_engine)


def test_other_programs_tables_are_left_alone(database_url: str) -> None:
    engine = open_engine(database_url)
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('theirs')"))
    create_schema(engine)
    with reading(engine) as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == ["theirs"]
    engine.dispose()


@pytest.mark.parametrize("from_the_first_release", [False, True])
def test_processes_that_upgrade_at_once_do_it_once(
    request: pytest.FixtureRequest, database_url: str, from_the_first_release: bool
) -> None:
    if from_the_first_release:
        request.getfixturevalue("old_engine")
    code = (
        "import sys; from driftloop.registry import open_engine, upgrade_schema; sys.stdin.readline();"
        "print(len(upgrade_schema(open_engine(sys.argv[1]))))"
    )
    command = [sys.executable, "-c", code, database_url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]  # type: ignore[call-overload]
    ended = [process.communicate("\n", timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], ended
    steps = int(head()) - from_the_first_release
    assert sorted(int(out) for out, _ in ended) == [0, 0, steps]


def _rows(engine: Engine, table: Any) -> list[tuple[Any, ...]]:
    with reading(engine) as connection:
        key = list(table.primary_key.columns)
        return [tuple(row) for row in connection.execute(select(table).order_by(*key))]
