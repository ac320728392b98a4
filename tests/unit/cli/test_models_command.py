"""``driftloop models``: from a file of rows to a champion, promotion and rollback, without a broker."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from driftloop.cli._reference_file import ReferenceFileError, read_reference
from driftloop.cli.models import app
from driftloop.performance.losses import loss_reference
from driftloop.profiles.columns import PREDICTION
from driftloop.profiles.reference import ReferenceProfile
from driftloop.registry import ArtifactStore, NewVersion, Registry, Relay, create_schema, open_engine
from driftloop.spec import parse_spec

SPEC = "{model: late, task: binary, features: {temp: {kind: numeric}, gate: {kind: categorical}}}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a spec and reference rows; no broker listens where the settings look."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIFTLOOP_BOOTSTRAP", "127.0.0.1:9")
    monkeypatch.setenv("DRIFTLOOP_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr("driftloop.cli.models._BROKER_TIMEOUT_S", 0.1)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "late.yaml").write_text(SPEC, encoding="utf-8")
    random = np.random.default_rng(7)
    score = random.random(200)
    frame = pd.DataFrame(
        {
            "temp": [None, *random.normal(10, 3, 199)],
            "gate": [None, *random.integers(1, 4, 199)],
            "score": score,
            "late": random.random(200) < score,
        }
    )
    frame.to_parquet(tmp_path / "rows.parquet")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def _json(*arguments: str) -> object:
    result = _run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def _registry(folder: Path) -> Registry:
    data = folder / "data"
    return Registry(open_engine(f"sqlite:///{data / 'driftloop.db'}"), ArtifactStore(data / "artifacts"))


def test_the_life_of_two_versions(folder: Path) -> None:
    create_schema(_registry(folder).engine)
    assert "no model is registered yet" in _run("list").stdout
    (folder / "model.skops").write_bytes(b"model")
    columns = ("--prediction-column", "score", "--label-column", "late")
    first = _json("register", "late", "--reference", "rows.parquet", "--artifact", "model.skops", *columns)
    assert first == {"model": "late", "version": "v1", "champion": "v1", "published": False}
    second = _json("register", "late", "--reference", "rows.csv", "--version", "2026-01")
    assert second == {"model": "late", "version": "2026-01", "champion": "v1", "published": False}
    assert _json("promote", "late", "2026-01", "--reason", "newer") == {
        "model": "late",
        "version": "2026-01",
        "champion": "2026-01",
        "published": False,
    }
    result = _run("rollback", "late")
    assert result.exit_code == 0
    assert "late: version v1; the champion is v1" in result.stdout
    assert "DRIFTLOOP_BOOTSTRAP" in result.stderr
    listed = _json("list")
    assert isinstance(listed, list)
    assert (listed[0]["champion"], listed[0]["challenger"], listed[0]["versions"]) == ("v1", None, 2)
    shown = _run("show", "late").stdout
    assert "roc_auc" in shown
    assert "newer" in shown

    registry = _registry(folder)
    row = registry.version("late", "v1")
    assert row is not None
    assert row.artifact is not None
    assert registry.store.read(row.artifact) == b"model"
    encoded = registry.profile("late", "v1")
    assert encoded is not None
    profile = ReferenceProfile.decode(encoded)
    assert (profile.model_version, profile.rows, set(profile.features)) == ("v1", 200, {"temp", "gate", PREDICTION})
    assert profile.metrics["roc_auc"].value == row.metrics["roc_auc"]
    assert Relay(registry.engine, lambda rows: None).pending() == 5


def test_event_times_give_the_reference_windows(folder: Path) -> None:
    """Times as texts, as pandas' own and as milliseconds are the same."""
    frame = pd.read_parquet(folder / "rows.parquet")
    at = pd.date_range("2024-01-01", periods=200, freq="14min24s", tz="UTC")
    milliseconds = at.tz_localize(None).to_numpy(dtype="datetime64[ms]").astype(np.int64)
    frame = frame.assign(at=at, ms=milliseconds, half=milliseconds / 1.7)
    frame.to_parquet(folder / "timed.parquet")
    frame.assign(at=at.strftime("%Y-%m-%dT%H:%M:%SZ")).to_csv(folder / "timed.csv", index=False)
    spec = parse_spec(SPEC.replace("features:", "minimum_rows: 50, features:"))
    profiles = [
        read_reference(folder / name, spec, time=column).profile(spec, "v1")
        for name, column in (("timed.parquet", "at"), ("timed.parquet", "ms"), ("timed.csv", "at"), ("timed.csv", "ms"))
    ]
    assert len({profile.digest() for profile in profiles}) == 1
    windows = profiles[0].windows
    assert isinstance(windows, list)
    assert len(windows[0].features["temp"]["wasserstein"]) == 2
    assert (profiles[0].from_ms, profiles[0].to_ms) == (milliseconds[0], milliseconds[-1] + 1)
    with pytest.raises(ReferenceFileError, match="whole milliseconds"):
        read_reference(folder / "timed.parquet", spec, time="half")
    assert _run("register", "late", "--reference", "timed.csv", "--time-column", "at").exit_code == 0
    encoded = _registry(folder).profile("late", "v1")
    assert encoded is not None
    assert isinstance(ReferenceProfile.decode(encoded).windows, list)


def test_parquet_and_csv_give_the_same_reference(folder: Path) -> None:
    spec = parse_spec(SPEC)
    parquet, csv = (
        read_reference(folder / name, spec, prediction="score", label="late") for name in ("rows.parquet", "rows.csv")
    )
    assert parquet.metrics == csv.metrics
    assert parquet.columns["gate"] == csv.columns["gate"]
    assert set(parquet.columns["gate"]) == {None, "1", "2", "3"}
    np.testing.assert_array_equal(parquet.columns["temp"], csv.columns["temp"])
    assert 0.3 < parquet.label_mean < 0.7


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("show", "nothing"), "no model 'nothing'"),
        (("promote", "late", "v9"), "no model 'late'"),
        (("rollback", "late"), "no model 'late'"),
        (("register", "lat", "--reference", "rows.csv"), "holds no spec of 'lat'; it has late"),
        (("register", "late", "--reference", "rows.txt"), "expected a .parquet or .csv file"),
        (("register", "late", "--reference", "other.csv"), "cannot read other.csv"),
        (("register", "late", "--reference", "rows.csv", "--label-column", "late"), "name the --prediction-column too"),
        (
            ("register", "late", "--reference", "rows.csv", "--prediction-column", "x"),
            "no column 'x'; it has temp",
        ),
        (("register", "late", "--reference", "rows.csv", "--artifact", "no.skops"), "cannot store no.skops"),
        (("register", "late", "--reference", "rows.csv", "--prediction-column", "temp"), "missing or infinite"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(folder: Path, arguments: tuple[str, ...], expected: str) -> None:
    if arguments[0] != "register":
        create_schema(_registry(folder).engine)
    result = _run(*arguments)
    assert result.exit_code == 1
    assert expected in result.stderr
    assert result.stderr.count("\n") == 1


def test_rows_that_do_not_fit_name_the_row(folder: Path) -> None:
    (folder / "bad.csv").write_text("temp,gate\n1.5,a\nwarm,b\n", encoding="utf-8")
    with pytest.raises(ReferenceFileError, match="row 1: Expected"):
        read_reference(folder / "bad.csv", parse_spec(SPEC))
    (folder / "empty.csv").write_text("temp,gate\n", encoding="utf-8")
    with pytest.raises(ReferenceFileError, match="has no rows"):
        read_reference(folder / "empty.csv", parse_spec(SPEC))


def test_a_database_that_does_not_answer_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTLOOP_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/nothing")
    result = _run("list")
    assert result.exit_code == 1
    assert "the database did not answer" in result.stderr


def _waiting(folder: Path) -> Registry:
    """A champion v1, and v2 waiting for approval."""
    _run("register", "late", "--reference", "rows.parquet")
    _run("register", "late", "--reference", "rows.csv", "--version", "v2")
    registry = _registry(folder)
    registry.await_approval("late", "v2", "gates passed", 5, "trainer")
    return registry


def test_a_person_approves(folder: Path) -> None:
    registry = _waiting(folder)
    refused = _run("promote", "late", "v2")
    assert refused.exit_code == 1
    assert "use 'driftloop models approve late v2'" in refused.output
    by = ("--by", "Ada Lovelace", "--reason", "checked the slices")
    assert _json("approve", "late", "v2", *by) == {
        "model": "late",
        "version": "v2",
        "champion": "v2",
        "published": False,
    }
    change = registry.history("late")[-3]
    assert (change.action, change.subject, change.reason) == ("approved", "v2", "checked the slices")
    assert change.actor.startswith("Ada Lovelace (account ")
    again = _run("approve", "late", "v2", *by)
    assert again.exit_code == 1
    assert "does not wait for approval: it is promoted" in again.output


def test_a_person_approves_although_another_champion_is_there_by_now(folder: Path) -> None:
    registry = _waiting(folder)
    registry.register_version(NewVersion(model_id="late", version="v3", lineage={"compared_with": "v9"}))
    registry.await_approval("late", "v3", "gates passed", 6, "trainer")
    by = ("--by", "ada", "--reason", "checked it against v1")
    refused = _run("approve", "late", "v3", *by)
    assert refused.exit_code == 1
    assert "judged against 'v9', and 'v1' is the champion" in " ".join(refused.output.split())
    assert _json("approve", "late", "v3", *by, "--force")["champion"] == "v3"


def test_a_person_rejects(folder: Path) -> None:
    registry = _waiting(folder)
    by = ("--by", "ada", "--reason", "not explainable")
    assert _run("reject", "late", "v2", *by).exit_code == 0
    row = registry.version("late", "v2")
    assert row is not None
    assert (row.status, row.aliases) == ("rejected", ())
    for command, sentence in (("approve", "it is rejected"), ("reject", "is rejected already")):
        refused = _run(command, "late", "v2", *by)
        assert refused.exit_code == 1
        assert sentence in refused.output
    refused = _run("reject", "late", "v1", *by)
    assert refused.exit_code == 1
    assert "driftloop models rollback late" in refused.output


@pytest.mark.parametrize("command", ["approve", "reject"])
def test_decisions_need_a_name_and_a_reason(folder: Path, command: str) -> None:
    _waiting(folder)
    assert _run(command, "late", "v2", "--by", "ada").exit_code == 2
    assert _run(command, "late", "v2", "--reason", "x").exit_code == 2
    for by, reason in ((" ", "x"), ("ada", " ")):
        refused = _run(command, "late", "v2", "--by", by, "--reason", reason)
        assert refused.exit_code == 1, refused.output


def test_classes_alone_give_the_metrics_of_the_confusion_matrix(tmp_path: Path) -> None:
    spec = parse_spec(
        "{model: kind, task: multiclass, classes: [a, b, c], features: {temp: {kind: numeric}}, minimum_rows: 1}"
    )
    said = ["a", "a", "b", "c", "c", "c"] * 20
    truth = ["a", "b", "b", "c", "c", "a"] * 20
    path = tmp_path / "rows.csv"
    pd.DataFrame({"temp": range(120), "said": said, "truth": truth}).to_csv(path, index=False)
    profile = read_reference(path, spec, prediction="said", label="truth").profile(spec, "v1")
    assert profile.metrics["accuracy"].value == pytest.approx(4 / 6)
    assert profile.metrics["accuracy"].rows == 120
    assert "macro_f1" in profile.metrics
    assert not profile.metrics.keys() & {"log_loss", "brier", "ece", "macro_roc_auc"}, "those need probabilities"
    losses = loss_reference("multiclass", profile)
    assert losses is not None
    assert losses.error_mean == pytest.approx(2 / 6)
    with pytest.raises(ReferenceFileError, match=r"'truth' must hold classes of the spec \(a, b\), and row 4 has 'c'"):
        read_reference(path, msgspec.structs.replace(spec, classes=["a", "b"]), prediction="truth", label="truth")
