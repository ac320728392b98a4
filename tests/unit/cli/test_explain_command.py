"""``driftloop explain`` on a registry, artifacts and a stored report."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from typer import Typer
from typer.testing import CliRunner, Result

from driftloop.cli.explain import explain
from driftloop.events.messages import SourceRange
from driftloop.judging.report import MergedPart, report_of
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile
from driftloop.registry import ArtifactStore, AssessmentStore, NewVersion, Registry, create_schema, open_engine
from driftloop.spec import parse_spec
from driftloop.training.artifacts import dump
from driftloop.training.estimators import columns_of, fit
from driftloop.windows.assembly import WindowKey
from support.training_rows import make_rows

TEXT = """
model: m
task: binary
features: {x: {kind: numeric}, colour: {kind: categorical}, noise: {kind: numeric}}
segments: [colour]
training: {estimator: sklearn.linear_model.LogisticRegression}
drift: {multivariate: {methods: [{method: mmd, threshold: 0.1}], sample_rows: 100}}
"""


@pytest.fixture
def report_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A working folder with a spec, two versions (v2 without a model file), and their final reports of one day."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIFTLOOP_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "m.yaml").write_text(TEXT)
    (tmp_path / "data").mkdir()
    spec = parse_spec(TEXT)
    frame, labels, _ = make_rows("binary", rows=300)
    engine = open_engine(f"sqlite:///{tmp_path / 'data' / 'driftloop.db'}")
    create_schema(engine)
    registry = Registry(engine, ArtifactStore(tmp_path / "data" / "artifacts"))
    registry.ensure_model("m", "binary", "digest")
    artifact = registry.store.put_bytes(dump(fit(spec, frame, labels)), ".skops")
    shifted = frame.assign(x=frame["x"] + 1.0)
    reports = []
    for version, stored in (("v1", artifact), ("v2", None)):
        profile = ReferenceProfile.build(spec, columns_of(spec, frame), model_version=version)
        registry.register_version(
            NewVersion(model_id="m", version=version, artifact=stored, profile=profile.encode(), event_time_ms=1)
        )
        for segment in ("", "colour=red"):
            stats = InputStats(profile.for_segment(segment))
            stats.update(columns_of(spec, shifted), 300, [str(at) for at in range(300)])
            source = SourceRange(partition=0, predictions_first=0, predictions_end=300)
            part = MergedPart(version, segment, stats, [source], profile.for_segment(segment))
            reports.append(report_of(WindowKey(86_400_000, 0, "m", "input"), part, spec, "digest"))
    AssessmentStore(engine).commit(reports=reports)
    engine.dispose()
    return reports[0][0].report_id


def run(*arguments: str) -> Result:
    app = Typer()
    app.command()(explain)
    return CliRunner().invoke(app, list(arguments))


def test_contributions_are_printed_and_add_up(report_id: str) -> None:
    result = run(report_id, "--json", "--pairs", "400")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["contributions"][0]["feature"] == "x"
    total = sum(part["contribution"] for part in found["contributions"])
    assert total + found["remainder"] == pytest.approx(found["change"])
    assert found["change"] > 0.1
    assert found["window_mean"] - found["reference_mean"] == pytest.approx(found["change"])
    assert sum(part["share"] for part in found["contributions"]) == pytest.approx(1.0, abs=0.01)
    assert run(report_id, "--json", "--pairs", "400").stdout == result.stdout, "the same seed gives the same numbers"
    table = run(report_id)
    assert table.exit_code == 0, table.output
    assert "probability of class 1" in table.stdout
    for column in ("feature", "contribution", "standard error", "share"):
        assert column in table.stdout


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda name: name.replace("/v1/", "/v2/"), "without its model file"),
        (lambda name: name.replace("/v1/", "/v9/"), "there is no final report"),
        (lambda name: name.replace("/all", "/colour=red"), "segments are never sampled"),
    ],
)
def test_what_cannot_be_explained_is_an_error_that_says_why(report_id: str, change: object, said: str) -> None:
    result = run(change(report_id))  # type: ignore[operator]
    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output


def test_a_model_file_of_foreign_types_is_not_loaded(report_id: str, tmp_path: Path) -> None:
    stored = next((tmp_path / "data" / "artifacts").glob("*/*.skops"))
    stored.write_bytes(msgspec.json.encode("not a model"))
    result = run(report_id)
    assert result.exit_code == 1
    assert "damaged" in result.output


def test_a_store_that_is_away_is_one_sentence(report_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> bytes:
        raise OSError("the bucket does not answer")

    monkeypatch.setattr(ArtifactStore, "read", away)
    result = run(report_id)
    assert result.exit_code == 1
    assert result.stderr == "driftloop explain: a file cannot be read: the bucket does not answer\n"
