"""Commands that only read leave everything as it is, and say in one sentence what is wrong with the database."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from sqlalchemy import Engine, text
from typer.testing import CliRunner, Result

from driftloop.cli import main
from driftloop.kafka.log_reader import LogReadError
from driftloop.registry import ArtifactStore, NewVersion, Registry, create_schema, open_engine
from driftloop.registry.database import writing
from driftloop.registry.migrations import VERSION_TABLE

READING = [
    ("models", "list"),
    ("models", "show", "late"),
    ("models", "shadow", "late"),
    ("decisions", "late"),
    ("reports", "--open"),
    ("runs", "list"),
    ("runs", "show", "a"),
    ("datasets", "list"),
    ("datasets", "show", "late"),
    ("registry", "verify"),
    ("registry", "gc"),
    ("fleet",),
    ("mlflow", "status"),
    ("explain", "r"),
    ("audit", "p"),
    ("reproduce", "late", "v1"),
    ("replay",),
    ("retrain", "late", "--reason", "r", "--yes"),
]
#: They write, and have nothing to write into where no version was registered and no window judged.
CHANGING = [
    ("models", "promote", "late", "v1"),
    ("models", "rollback", "late"),
    ("models", "approve", "late", "v1", "--by", "ada", "--reason", "fine"),
    ("models", "reject", "late", "v1", "--by", "ada", "--reason", "bad"),
    ("models", "shadow", "late", "--start", "v1"),
    ("runs", "report", "a", "--failed", "no rows"),
    ("registry", "gc", "--delete"),
    ("mlflow", "sync"),
]
ids = " ".join


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    """All commands, as the console script has them."""
    found = typer.Typer()
    for name, target in main._COMMANDS.items():
        found.command(name)(main._resolve(target))  # type: ignore[type-var]
    for name, target in main._GROUPS.items():
        found.add_typer(main._resolve(target), name=name)  # type: ignore[arg-type]
    return found


Invoke = Callable[..., Result]


@pytest.fixture
def invoke(app: typer.Typer, folder: Path) -> Invoke:
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIFTLOOP_BOOTSTRAP", "127.0.0.1:9")
    monkeypatch.setenv("DRIFTLOOP_DATABASE_URL", f"sqlite:///{tmp_path}/data/driftloop.db")
    monkeypatch.setenv("DRIFTLOOP_MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    for module in ("audit", "models", "reproduce", "retrain"):
        monkeypatch.setattr(f"driftloop.cli.{module}._BROKER_TIMEOUT_S", 0.01)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "late.yaml").write_text(
        "{model: late, task: binary, promotion: shadow, features: {temp: {kind: numeric}}}"
    )
    return tmp_path


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{folder}/data/driftloop.db")
    create_schema(engine)
    registry = Registry(engine, ArtifactStore(folder / ".driftloop" / "artifacts"))
    registry.ensure_model("late", "binary", "d")
    registry.register_version(NewVersion(model_id="late"))
    yield engine
    engine.dispose()


def state(folder: Path) -> dict[str, str]:
    """Every file with its content."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("command", READING + CHANGING, ids=ids)
def test_a_database_that_is_not_there_is_not_made(folder: Path, invoke: Invoke, command: tuple[str, ...]) -> None:
    before = state(folder)
    said = invoke(*command)
    assert said.exit_code in (1, 2)
    lines = said.output.splitlines()
    assert len(lines) == 1, said.output
    assert f"the database {folder}/data/driftloop.db is not there: correct DRIFTLOOP_DATABASE_URL" in lines[0]
    assert "'driftloop db upgrade'" in lines[0]
    assert state(folder) == before
    assert not (folder / "data").exists()


@pytest.mark.parametrize("command", READING + CHANGING, ids=ids)
def test_tables_are_not_made_by_who_reads(folder: Path, invoke: Invoke, command: tuple[str, ...]) -> None:
    file = folder / "data" / "driftloop.db"
    file.parent.mkdir()
    file.touch()
    said = invoke(*command)
    assert said.exit_code in (1, 2)
    assert "has no tables yet: correct DRIFTLOOP_DATABASE_URL" in said.output
    assert file.read_bytes() == b""
    assert [path.name for path in file.parent.iterdir()] == ["driftloop.db"]


@pytest.mark.parametrize(("revision", "sentence"), [("0003", "'driftloop db upgrade'"), ("9999", "a newer driftloop")])
def test_other_revisions_are_refused(
    folder: Path, engine: Engine, invoke: Invoke, revision: str, sentence: str
) -> None:
    with writing(engine) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"))
    engine.dispose()
    before = state(folder)
    for command in READING + CHANGING:
        said = invoke(*command)
        assert said.exit_code in (1, 2), command
        assert sentence in said.output, command
        assert len(said.output.splitlines()) == 1, command
    assert state(folder) == before


@pytest.mark.parametrize("live", [False, True], ids=["nobody has it open", "a service has it open"])
def test_reading_leaves_every_file_as_it_is(
    folder: Path, engine: Engine, invoke: Invoke, live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if live:
        with writing(engine) as connection:  # so that there is something in the write-ahead log
            connection.execute(text("UPDATE models SET spec_digest = 'e'"))
    else:
        engine.dispose()

    def no_broker(*more: object) -> None:
        raise LogReadError("no broker")

    monkeypatch.setattr("driftloop.cli._replay.end_offsets", no_broker)
    before = state(folder)
    assert ("data/driftloop.db-wal" in before) == live
    before.pop("data/driftloop.db-shm", None)  # the locks of readers are in it
    for command in READING:
        # Those that need a broker don't get to the end; they have opened the database by then.
        said = invoke(*command)
        assert said.exit_code in (0, 1, 2)
        assert "sqlite" not in said.output
        after = state(folder)
        assert (after.pop("data/driftloop.db-shm", None) is not None) == live, command
        assert after == before, command
    assert "v1" in invoke("models", "show", "late").output


def test_the_log_of_a_process_that_died_is_read_where_it_is(folder: Path, engine: Engine, invoke: Invoke) -> None:
    engine.dispose()
    code = (
        "import os, sys; from driftloop.registry import ArtifactStore, NewVersion, Registry, open_engine\n"
        "Registry(open_engine(sys.argv[1]), ArtifactStore('a')).register_version(NewVersion(model_id='late'))\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, f"sqlite:///{folder}/data/driftloop.db"], check=True, timeout=60)
    before = state(folder)
    assert "data/driftloop.db-wal" in before
    assert "v2" in invoke("models", "show", "late").output
    after = state(folder)
    for name in ("data/driftloop.db", "data/driftloop.db-wal"):
        assert after[name] == before[name]


def test_a_reader_sees_what_a_service_commits_meanwhile(folder: Path, engine: Engine, invoke: Invoke) -> None:
    for name in ("v2", "v3"):
        Registry(engine, ArtifactStore(folder / "artifacts")).register_version(
            NewVersion(model_id="late", version=name)
        )
        assert name in invoke("models", "show", "late").output


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_one_may_not_write_into_is_named(folder: Path, engine: Engine, invoke: Invoke) -> None:
    engine.dispose()
    (folder / "data").chmod(0o555)
    try:
        said = invoke("models", "list")
    finally:
        (folder / "data").chmod(0o755)
    assert said.exit_code == 1
    assert f"this account may not write in {folder}/data" in said.output


SPANNING = [
    ("reports",),
    ("reports", "--open"),
    ("decisions", "late"),
    ("replay",),
    ("audit", "p"),
    ("retrain", "late", "--reason", "r", "--yes"),
]


@pytest.mark.parametrize("command", SPANNING, ids=ids)
def test_a_span_that_ends_before_it_begins_is_named(folder: Path, invoke: Invoke, command: tuple[str, ...]) -> None:
    said = invoke(*command, "--from", "2013-03-02", "--to", "2013-03-01")
    assert said.exit_code in (1, 2)
    assert "expected --from before --to, got --from 2013-03-02 and --to 2013-03-01" in said.output
    said = invoke(*command, "--from", "2013-03-02", "--to", "2013-03-02T00:00:00Z")
    assert said.exit_code in (1, 2)
    assert "for one day the day after" in said.output
    assert len(said.output.splitlines()) == 1
    assert "--to: expected a time" in invoke(*command, "--to", "yesterday").output


def test_what_is_no_database_is_said(folder: Path, invoke: Invoke) -> None:
    file = folder / "data" / "driftloop.db"
    file.parent.mkdir()
    file.write_text("these are notes, not a database\n" * 100)
    assert "the database did not answer (file is not a database)" in invoke("models", "list").output
    assert "the database did not answer (file is not a database)" in invoke("reports", "--open").output
    file.unlink()
    file.mkdir()
    assert f"the database {file} is not a file" in invoke("models", "list").output
