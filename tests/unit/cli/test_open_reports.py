"""``driftloop reports --open`` and references with estimators, without a broker."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from driftloop.cli._reference_file import read_reference
from driftloop.cli.reports import reports
from driftloop.events.reports import LabelReport, MetricReport
from driftloop.registry import AssessmentStore, create_schema, open_engine
from driftloop.spec import parse_spec
from support.events import outcome_report

APP = typer.Typer()
APP.command()(reports)


def test_open_windows_come_from_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIFTLOOP_DATA_DIR", str(tmp_path))
    engine = open_engine(f"sqlite:///{tmp_path / 'driftloop.db'}")
    create_schema(engine)
    labels = LabelReport(delay_p50_ms=1, delay_p90_ms=2, delay_p99_ms=3, maturity=0.6, effective_rows=300.0)
    corrected = MetricReport(metric="accuracy~corrected", value=0.8125, low=None, high=None, reference=None, rows=780)
    report = msgspec.structs.replace(
        outcome_report(), status="provisional", labels=labels, estimated=[corrected], content_digest="x"
    )
    AssessmentStore(engine).commit(reports=[(report, b""), (outcome_report(day=7), b"")])
    engine.dispose()
    shown = CliRunner().invoke(APP, ["--open"])
    assert shown.exit_code == 0, shown.output
    assert "maturity 60%" in " ".join(shown.output.split())
    assert "accuracy~corrected 0.812" in " ".join(shown.output.split())
    lines = CliRunner().invoke(APP, ["--open", "--json"]).output.splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["provisional"]
    assert CliRunner().invoke(APP, ["--open", "--model", "other", "--json"]).output == ""


def test_a_reference_file_with_labels_gives_estimators(tmp_path: Path) -> None:
    chance = np.random.default_rng(3)
    scores = chance.random(500)
    frame = pd.DataFrame({"x": chance.normal(0, 1, 500), "p": scores, "y": chance.random(500) < scores})
    frame.to_parquet(tmp_path / "rows.parquet")
    spec = parse_spec("{model: m, task: binary, features: {x: {kind: numeric}}}")
    data = read_reference(tmp_path / "rows.parquet", spec, prediction="p", label="y")
    assert data.estimators is not None
    assert data.estimators.rows == 500
    assert read_reference(tmp_path / "rows.parquet", spec, prediction="p").estimators is None
