"""``driftloop db``, ``driftloop registry``, and services on a database of another revision."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlalchemy import insert, text
from typer.testing import CliRunner, Result

from driftloop.cli import db, models, registry
from driftloop.cli.doctor import examine
from driftloop.registry import ArtifactStore, NewVersion, Registry, create_schema, open_engine
from driftloop.registry.database import writing
from driftloop.registry.migrations import VERSION_TABLE, head
from driftloop.settings import Settings
from driftloop.streaming.worker import run_worker
from support import registry_tables_revision_1 as first_release


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIFTLOOP_BOOTSTRAP", "127.0.0.1:9")
    monkeypatch.setenv("DRIFTLOOP_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "late.yaml").write_text("{model: late, task: binary, features: {temp: {kind: numeric}}}")
    return Settings()


@pytest.fixture
def old(settings: Settings) -> Settings:
    """The database is as the first release made it."""
    with writing(open_engine(settings.resolved_database_url)) as connection:
        first_release.metadata.create_all(connection)
        connection.execute(insert(first_release.schema_version).values(id=1, revision=1))
    return settings


@pytest.fixture
def used(settings: Settings) -> Registry:
    engine = open_engine(settings.resolved_database_url)
    create_schema(engine)
    found = Registry(engine, ArtifactStore(settings.resolved_artifacts))
    found.ensure_model("late", "binary", "d")
    artifact = found.store.put_bytes(b"model", ".skops")
    found.register_version(NewVersion(model_id="late", artifact=artifact))
    found.promote("late", "v1", "first", 1)
    return found


def _run(app: typer.Typer, *arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def _json(app: typer.Typer, *arguments: str) -> Any:
    return json.loads(_run(app, *arguments, "--json").stdout)


def test_an_old_database_is_shown_and_upgraded(old: Settings) -> None:
    shown = _run(db.app, "current")
    assert shown.exit_code == 1
    assert f"older, revision 0001 of {head()}" in shown.stdout
    assert "pending 0002: Chain the history of aliases" in shown.stdout
    upgraded = _run(db.app, "upgrade")
    assert upgraded.exit_code == 0, upgraded.output
    assert f"is now at revision {head()}" in upgraded.stdout
    assert _json(db.app, "current") == {"state": "current", "revision": head(), "needed": head(), "pending": []}
    assert _json(db.app, "upgrade") == {"revision": head(), "run": []}


def test_a_database_without_tables_is_made(settings: Settings) -> None:
    file = settings.data_dir / "driftloop.db"
    for state, said in (("absent", "not there yet"), ("empty", "empty")):
        found = _json(db.app, "current")
        assert (found["state"], found["revision"], len(found["pending"])) == (state, None, int(head()))
        shown = _run(db.app, "current")
        assert shown.exit_code == 0
        assert f"driftloop.db: {said}, revision none of {head()}" in shown.stdout
        assert file.exists() == (state == "empty")
        file.parent.mkdir(exist_ok=True)
        file.touch()
    assert file.stat().st_size == 0
    assert _run(db.app, "upgrade").exit_code == 0
    assert _json(db.app, "current")["state"] == "current"


def test_services_and_commands_refuse_an_old_or_newer_database(
    old: Settings, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for revision, sentence in (("0001", "run 'driftloop db upgrade'"), ("9999", "a newer driftloop has upgraded it")):
        if revision == "9999":
            _run(db.app, "upgrade")
            with writing(open_engine(old.resolved_database_url)) as connection:
                connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
        assert run_worker(old.model_copy(update={"metrics_port": 0}), "all") == 1
        logged = capsys.readouterr()
        assert sentence in logged.out + logged.err + caplog.text
        for app, command in ((models.app, "list"), (registry.app, "verify"), (registry.app, "gc")):
            refused = _run(app, command)
            assert refused.exit_code == 1
            assert sentence in refused.output
        database = next(finding for finding in examine(old, timeout_s=0.1) if finding.check == "database")
        assert database.result == "failed"
        assert sentence in database.text
    refused = _run(db.app, "upgrade")
    assert refused.exit_code == 1
    assert "a newer driftloop has upgraded it" in refused.output


def test_verify_says_whole_or_what_is_broken(used: Registry) -> None:
    whole = _run(registry.app, "verify", "--files")
    assert whole.exit_code == 0, whole.output
    found = _json(registry.app, "verify")
    assert found["head_sha256"] in whole.stdout
    assert (found["rows"], found["problem"], found["broken"]) == (3, None, None)
    assert _run(registry.app, "verify", "--noted", found["head_sha256"]).exit_code == 0
    noted = _run(registry.app, "verify", "--noted", "f" * 64)
    assert noted.exit_code == 1
    assert "the history was written anew" in noted.output
    cut_off = _run(registry.app, "verify", "--noted", "abc")
    assert cut_off.exit_code == 1
    assert "expected a SHA-256 of 64 hexadecimal digits" in cut_off.output
    used.store.path(used.versions("late")[0].artifact or "").write_bytes(b"mode1")
    damaged = _run(registry.app, "verify", "--files")
    assert damaged.exit_code == 1
    assert "late v1: the artifact" in damaged.output
    assert _run(registry.app, "verify").exit_code == 0
    with writing(used.engine) as connection:
        connection.execute(text("UPDATE alias_history SET actor = 'eve' WHERE sequence = 2"))
    broken = _run(registry.app, "verify")
    assert broken.exit_code == 1
    assert "row 2 (late v1 promoted at 1 ms) was changed" in broken.output
    assert _json(registry.app, "verify")["broken"] == 2


def test_gc_lists_first_and_removes_when_told(used: Registry) -> None:
    left = used.store.put_bytes(b"nobody's", ".skops")
    path = used.store.path(left)
    assert "too young" in _run(registry.app, "gc").stdout
    old_s = time.time() - 3 * 86400
    os.utime(path, (old_s, old_s))
    listed = _run(registry.app, "gc")
    assert f"unreferenced  {left.uri}  8 bytes" in listed.stdout
    assert "would be removed by --delete; 1 are referred to" in listed.stdout
    assert path.exists()
    assert _run(registry.app, "gc", "--grace-hours", "0.5").exit_code == 2
    assert [file["uri"] for file in _json(registry.app, "gc", "--delete")["removed"]] == [left.uri]
    assert not path.exists()
    assert used.store.read(used.versions("late")[0].artifact or "") == b"model"
