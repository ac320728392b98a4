"""``driftloop mlflow``, as far as no server is needed for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from driftloop.cli.mlflow import app
from driftloop.registry import ArtifactStore, NewVersion, Registry, create_schema, open_engine


def test_status_counts_what_is_to_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIFTLOOP_DATA_DIR", str(tmp_path))
    without = CliRunner().invoke(app, ["status"])
    assert without.exit_code == 1
    assert "DRIFTLOOP_MLFLOW_TRACKING_URI" in without.output
    engine = open_engine(f"sqlite:///{tmp_path / 'driftloop.db'}")
    create_schema(engine)
    registry = Registry(engine, ArtifactStore(tmp_path / "artifacts"))
    registry.ensure_model("late", "binary", "digest-1")
    registry.register_version(NewVersion(model_id="late"))
    engine.dispose()
    monkeypatch.setenv("DRIFTLOOP_MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    told = CliRunner().invoke(app, ["status", "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.output) == {"server": "http://127.0.0.1:9", "behind": {"late": 1}}


def test_a_server_that_does_not_answer_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIFTLOOP_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DRIFTLOOP_MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    engine = open_engine(f"sqlite:///{tmp_path / 'driftloop.db'}")
    create_schema(engine)
    registry = Registry(engine, ArtifactStore(tmp_path / "artifacts"))
    for model in ("delay", "late"):
        registry.ensure_model(model, "binary", "digest-1")
        registry.register_version(NewVersion(model_id=model))
    engine.dispose()
    sentence = (
        "the MLflow server http://127.0.0.1:9 does not answer (Connection refused): check that it runs and that "
        "DRIFTLOOP_MLFLOW_TRACKING_URI names it"
    )
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said = CliRunner().invoke(app, ["sync"])
    assert (said.exit_code, said.output) == (1, f"{sentence}\n")
    said = CliRunner().invoke(app, ["sync", "--json"])
    assert said.exit_code == 1
    assert json.loads(said.output) == {
        "rows": 0,
        "problems": dict.fromkeys(("delay", "late"), sentence),
        "elsewhere": False,
    }


@pytest.mark.parametrize("uri", ["http://me:geheim@host", "https://host?token=geheim", "sqlite:///geheim.db"])
def test_servers_that_are_refused(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIFTLOOP_MLFLOW_TRACKING_URI", uri)
    refused = CliRunner().invoke(app, ["status"])
    assert refused.exit_code == 1
    assert "expected" in refused.output
    assert "geheim" not in refused.output
