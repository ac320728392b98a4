"""``driftloop doctor`` about specs: errors, keys without effect, and what cannot be trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import driftloop
from driftloop.cli import doctor as doctor_module
from driftloop.cli._doctor_specs import examine_specs
from driftloop.cli._finding import Finding
from driftloop.cli.doctor import doctor
from driftloop.settings import Settings

BASE = "model: {name}\ntask: binary\nfeatures: {{x: {{kind: numeric}}}}\n{more}"


@pytest.fixture
def specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(driftloop.__file__).parents[1]))  # of the process that makes estimators
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def _write(folder: Path, name: str, more: str) -> None:
    (folder / f"{name}.yaml").write_text(BASE.format(name=name, more=more), encoding="utf-8")


def _examine(folder: Path, **more: Any) -> list[Finding]:
    return examine_specs(Settings(_env_file=None, specs=folder, **more.pop("settings", {})), **more)


def _of(findings: list[Finding], check: str, result: str) -> list[str]:
    return [finding.text for finding in findings if (finding.check, finding.result) == (check, result)]


def test_every_spec_is_looked_at_and_each_problem_names_file_line_model_and_key(specs: Path) -> None:
    forest = "estimator: sklearn.ensemble.RandomForestClassifier"
    _write(specs, "good", f"training: {{{forest}}}")
    _write(specs, "typo", "training:\n  estimator: sklearn.ensemble.RandomForestClasifier")
    _write(specs, "depth", f"training:\n  {forest}\n  parameters:\n    max_depth: deep\nshadow: {{alpha: 0.1}}")
    _write(specs, "search", f"training: {{{forest}, search: {{parameters: {{max_depth: [3, -3]}}}}}}")
    _write(specs, "river", "training: {river: {model: river.linear_model.PAClassifier, parameters: {D: 1}}}")
    _write(specs, "own", "training: {estimator: 'nowhere_at_all:f'}")
    findings = _examine(specs)
    assert _of(findings, "specs", "ok") == [f"6 in {specs}: depth, good, own, river, search, typo"]
    assert _of(findings, "specs", "warning") == [
        f"{specs / 'depth.yaml'}, line 8: shadow: alpha has no effect: promotion is 'automatic', so no new challenger "
        "is compared in shadow or as a canary; set promotion: shadow (or canary), or leave the keys out"
    ]
    assert _of(findings, "training", "ok") == ["good: made as their specs say, without data"]
    (warning,) = _of(findings, "training", "warning")
    assert f"model search: {specs / 'search.yaml'}, line 4: training.search.parameters.max_depth[1]: " in warning
    depth, own, river, typo = _of(findings, "training", "failed")
    place = f"model depth: {specs / 'depth.yaml'}, line 7: training.parameters.max_depth: "
    assert depth.startswith(f"{place}The 'max_depth' parameter of RandomForestClassifier must be an int")
    assert own.startswith(
        f"model own: {specs / 'own.yaml'}, line 4: training.estimator: 'nowhere_at_all:f': the module"
    )
    assert "--no-trainer" in own
    assert "line 4: training.river.parameters: " in river
    assert "it has no 'D'" in river
    assert typo.startswith(f"model typo: {specs / 'typo.yaml'}, line 5: training.estimator: 'sklearn.ensemble.Random")
    assert typo.endswith("did you mean 'RandomForestClassifier'?")


def test_where_nothing_is_trained_functions_and_credentials_are_left_out(specs: Path) -> None:
    _write(specs, "own", "training: {estimator: 'nowhere_at_all:f'}")
    _write(specs, "other", "training: {handover: {to: webhook, url: 'https://x.example'}}")
    findings = _examine(specs, trains_here=False)
    assert [(finding.check, finding.result) for finding in findings] == [("specs", "ok"), ("training", "skipped")]
    assert "'nowhere_at_all:f' is not looked at, because of --no-trainer" in findings[1].text


def test_a_hand_over_without_credentials_fails_before_it_is_tried(specs: Path) -> None:
    _write(specs, "other", "training: {handover: {to: webhook, url: 'https://x.example'}}")
    (failed,) = _of(_examine(specs), "training", "failed")
    assert failed.startswith(
        f"model other: {specs / 'other.yaml'}, line 4: training.handover: it cannot be handed over: "
    )
    assert "DRIFTLOOP_HANDOVER_KEY" in failed
    key = {"handover_key": "whsec_" + "YWJj" * 12}
    assert _of(_examine(specs, settings=key), "training", "failed") == []


def test_triggers_of_a_model_that_nothing_trains(specs: Path) -> None:
    _write(specs, "watched", "policy: {triggers: [{on: volume, rows: 1000}]}")
    (failed,) = _of(_examine(specs), "training", "failed")
    assert "line 4: policy.triggers: nothing is trained without training.estimator" in failed
    _write(specs, "watched", "")
    assert _of(_examine(specs), "training", "ok") == ["no spec trains anything here"]


def test_specs_that_cannot_be_used(specs: Path) -> None:
    _write(specs, "bad", "training: {choice: {share: 0.5}}")
    (first, second) = _examine(specs)
    assert (first.result, second.result) == ("failed", "skipped")
    assert "line 4: training.choice.share: it has no effect: candidates are compared by it" in first.text
    (none, _) = _examine(specs / "nowhere")
    assert "a folder of *.yaml files, or a single file" in none.text


def test_a_single_file(specs: Path) -> None:
    _write(specs, "one", "")
    assert _of(_examine(specs / "one.yaml"), "specs", "ok") == [f"1 in {specs / 'one.yaml'}: one"]


@pytest.mark.parametrize("result", ["warning", "failed"])
def test_only_a_failure_is_an_exit_code(specs: Path, monkeypatch: pytest.MonkeyPatch, result: str) -> None:
    asked: list[bool] = []

    def examine(settings: Settings, *, trains_here: bool) -> list[Finding]:
        asked.append(trains_here)
        return [Finding("specs", result, "so it is")]  # type: ignore[arg-type]

    monkeypatch.setattr(doctor_module, "examine", examine)
    app = typer.Typer()
    app.command()(doctor)
    shown = CliRunner().invoke(app, ["--json", "--no-trainer"])
    assert shown.exit_code == (1 if result == "failed" else 0)
    assert json.loads(shown.stdout)["findings"] == [{"check": "specs", "result": result, "text": "so it is"}]
    plain = CliRunner().invoke(app, [])
    assert f"{result:<8}specs     so it is" in plain.stdout
    assert asked == [False, True]
