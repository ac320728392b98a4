"""``driftloop models shadow``: how challengers stand, for people and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from driftloop.cli.models import app
from driftloop.events.decisions import ShadowLook
from driftloop.registry import ArtifactStore, NewVersion, Registry, ShadowStore, create_schema, open_engine

DAY = 86_400_000
SPEC = "{model: late, task: binary, features: {temp: {kind: numeric}}, promotion: PROMOTION}"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIFTLOOP_BOOTSTRAP", "127.0.0.1:9")
    monkeypatch.setenv("DRIFTLOOP_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr("driftloop.cli.models._BROKER_TIMEOUT_S", 0.1)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "late.yaml").write_text(SPEC.replace("PROMOTION", "shadow"), encoding="utf-8")
    engine = open_engine(f"sqlite:///{tmp_path / 'data' / 'driftloop.db'}")
    create_schema(engine)
    registry = Registry(engine, ArtifactStore(tmp_path / "data" / "artifacts"))
    registry.ensure_model("late", "binary", "digest")
    for name in ("v1", "v2"):
        registry.register_version(NewVersion(model_id="late", version=name, event_time_ms=10))
    registry.promote("late", "v1", "first", 1)
    return registry


def _run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(app, ["shadow", *arguments])


def test_a_comparison_from_its_begin_to_its_verdict(registry: Registry) -> None:
    assert "no version was compared" in _run("late").stdout
    started = _run("late", "--start", "v2", "--reason", "trained elsewhere", "--json")
    assert started.exit_code == 0, started.output
    assert json.loads(started.stdout)["version"] == "v2"
    assert "v2 against v1, shadow: watching, predictions from 1970-01-02" in _run("late").stdout
    assert "no window has matured yet" in _run("late").stdout
    store = ShadowStore(registry.engine)
    look = ShadowLook(
        model_id="late",
        champion="v1",
        challenger="v2",
        number=1,
        window_start_ms=DAY,
        window_end_ms=2 * DAY,
        verdict="promote",
        reason="better",
        sentence="challenger v2 is better",
        loss="brier",
        margin=0.0,
        alpha=0.05,
        windows=1,
        rows=1200,
        champion_rows=1200,
        challenger_rows=1200,
        champion_loss=0.25,
        challenger_loss=0.125,
        improvement=0.125,
        low=0.05,
        high=0.2,
        recorded_rows=1000,
        left_out={"no arm": 1234},
        ratio_e_value=0.25,
        challenger_share=0.5,
    )
    store.advance(store.open()[0], b"{}", [look], then="promote", event_time_ms=3 * DAY, actor="shadow")
    text = " ".join(_run("late").stdout.split())
    for part in (
        "v2 against v1, shadow: passed",
        "1 days; challenger v2 is better",
        "50.00% in the challenger's arm; mismatch 0.25 to 1",
        "left out: 1,234 no arm",
        "the champion served 1,000 of its 1,200 rows itself",
        "1,200 0.25 0.125 0.125 0.05 0.2 promote (better)",
    ):
        assert part in text
    (found,) = json.loads(_run("late", "--json").stdout)
    assert (found["status"], found["attempt"], found["looks"][0]["rows"]) == ("passed", 1, 1200)
    assert "state" not in found


def test_what_cannot_be_begun_says_what_to_do(registry: Registry, tmp_path: Path) -> None:
    assert "no model 'other'" in _run("other").output
    assert "has no version 'v9'" in _run("late", "--start", "v9").output
    (tmp_path / "models" / "late.yaml").write_text(SPEC.replace("PROMOTION", "manual"), encoding="utf-8")
    assert "promotion: shadow or canary" in " ".join(_run("late", "--start", "v2").output.split())
