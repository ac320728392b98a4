"""Versions, aliases and statuses in a real MLflow server on SQLite."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from driftloop.events.decisions import GateResult
from driftloop.mlflow_mirror.contents import contents_of
from driftloop.mlflow_mirror.follower import Follower, follower_of, following, positions_of
from driftloop.registry import ArtifactStore, NewVersion, Registry, create_schema, open_engine
from driftloop.registry.lease import Lease
from driftloop.settings import Settings
from driftloop.training.dataset import TrainingSet, from_frame
from driftloop.training.dataset_files import keep_dataset
from driftloop.training.dataset_manifest import DatasetQuery
from driftloop.training.train import Trained, lineage_of, train
from support.mlflow_server import MlflowServerProcess, find_mlflow
from support.training_rows import make_rows, make_spec

SPEC = make_spec(model="late", training={"parameters": {"C": 0.5}})
GATES = [GateResult(gate="metric:roc_auc", passed=True, value=0.9, bound=0.8, sentence="0.9 is above 0.8")]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServerProcess]:
    command = find_mlflow()
    if command is None:
        if os.environ.get("CI", "").lower() in {"1", "true", "yes"}:
            pytest.fail("CI must not skip the tests on MLflow: scripts/mlflow-server makes .venv-mlflow")
        pytest.skip("MLFLOW TESTS SKIPPED: run scripts/mlflow-server")
    process = MlflowServerProcess(command, tmp_path_factory.mktemp("mlflow"))
    yield process
    process.stop()


@pytest.fixture
def server(process: MlflowServerProcess) -> MlflowServerProcess:
    """It answers."""
    process.start()
    return process


@pytest.fixture
def settings(process: MlflowServerProcess, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    own = hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
    return Settings(
        _env_file=None,  # type: ignore[call-arg]
        data_dir=tmp_path,
        mlflow_tracking_uri=process.url,
        mlflow_experiment=f"driftloop/{own}/{{model}}",
        mlflow_model=f"{own}.{{model}}",
    )


@pytest.fixture(scope="module")
def trained() -> tuple[TrainingSet, Trained]:
    """As a trainer makes it, so that what is told here is what lineages say."""
    data = from_frame(SPEC, *make_rows())
    return data, train(SPEC, data, None, seed=1)


@pytest.fixture
def lineage(registry: Registry, trained: tuple[TrainingSet, Trained]) -> dict[str, Any]:
    data, made = trained
    query = DatasetQuery(model="late", from_ms=0, to_ms=10**9)
    _, dataset = keep_dataset(registry.store, SPEC, data, topic="t.labeled", query=query)
    return lineage_of(SPEC, made, dataset, command={"trigger": "drift"})


@pytest.fixture
def registry(settings: Settings) -> Iterator[Registry]:
    engine = open_engine(settings.resolved_database_url)
    create_schema(engine)
    registry = Registry(engine, ArtifactStore(settings.resolved_artifacts))
    registry.ensure_model("late", "binary", "digest-1")
    yield registry
    engine.dispose()


def _new(registry: Registry, content: bytes, model: str = "late", lineage: dict[str, Any] | None = None) -> str:
    artifact = registry.store.put_bytes(content, ".skops")
    return registry.register_version(
        NewVersion(
            model_id=model,
            artifact=artifact,
            lineage=lineage or {},
            metrics={"roc_auc": 0.9, "log_loss": 0.3},
            gates=GATES,
            command_id=hashlib.sha256(content).hexdigest(),
            event_time_ms=1_700_000_000_000,
            reason="drift",
            actor="trainer",
        )
    )


def _client(settings: Settings) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(settings.mlflow_tracking_uri, settings.mlflow_tracking_uri)


def _versions(settings: Settings, model: str = "late") -> dict[str, Any]:
    name = settings.mlflow_model.replace("{model}", model)
    found = _client(settings).search_model_versions(f"name = '{name}'")
    by_name = {version.tags["driftloop.version"]: version for version in found}
    assert len(by_name) == len(found)
    return by_name


def _aliases(settings: Settings, model: str = "late") -> dict[str, str]:
    client, name = _client(settings), settings.mlflow_model.replace("{model}", model)
    found = client.get_registered_model(name).aliases
    return {alias: client.get_model_version(name, number).tags["driftloop.version"] for alias, number in found.items()}


def test_a_server_that_is_away_is_told_later_and_keeps_nobody_waiting(
    process: MlflowServerProcess, settings: Settings, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first test, so that the server need not be started twice."""
    monkeypatch.setattr("driftloop.mlflow_mirror.follower._EVERY_S", 0.1)
    process.stop()
    _new(registry, b"model")
    follower: Follower = follower_of(settings, registry)
    assert list(follower.follow().problems) == ["late"]
    with following(settings, registry):
        started = time.monotonic()
        registry.promote("late", "v1", "good", 1)
    assert time.monotonic() - started < 10
    process.start()
    with following(settings, registry):
        deadline = time.monotonic() + 30
        while positions_of(settings, registry).behind() and time.monotonic() < deadline:
            time.sleep(0.1)
    assert _aliases(settings) == {"champion": "v1"}


def test_a_version_is_registered_with_everything_that_is_known_of_it(
    server: MlflowServerProcess, settings: Settings, registry: Registry, lineage: dict[str, Any]
) -> None:
    assert _new(registry, b"first", lineage=lineage) == "v1"
    told = follower_of(settings, registry).follow()
    assert (told.rows, told.problems) == (1, {})
    version = _versions(settings)["v1"]
    row = registry.version("late", "v1")
    assert row is not None
    assert row.artifact is not None
    client = _client(settings)
    run = client.get_run(version.run_id)
    assert run.data.metrics == {"roc_auc": 0.9, "log_loss": 0.3}
    assert run.data.params == {
        "estimator": "sklearn.linear_model.LogisticRegression",
        "parameters.C": "0.5",
        "seed": "0",
        "refit_on_all": "true",
        "train_rows": "320",
        "holdout_rows": "80",
    }
    assert contents_of(row).tags.items() <= run.data.tags.items()
    assert contents_of(row).tags.items() <= version.tags.items()
    assert version.tags["driftloop.artifact_sha256"] == row.artifact.sha256
    assert version.tags["driftloop.gate.metric_roc_auc"] == "passed: 0.9 is above 0.8"
    assert version.tags["driftloop.status"] == "registered"
    assert version.tags["driftloop.code_commit"] == lineage["code_commit"]
    assert version.tags["driftloop.trigger"] == "drift"
    assert run.info.status == "FINISHED"
    assert client.get_experiment(run.info.experiment_id).name == settings.mlflow_experiment.replace("{model}", "late")
    (used,) = run.inputs.dataset_inputs
    digest = lineage["dataset"]["sha256"]
    assert (used.dataset.name, used.dataset.digest) == (f"late-{digest[:12]}", digest[:36])
    assert lineage["dataset"]["uri"] in used.dataset.source
    assert json.loads(used.dataset.schema) == ["x", "colour", "noise"]
    assert json.loads(used.dataset.profile)["rows"] == 400
    assert {tag.key: tag.value for tag in used.tags}["driftloop.sha256"] == digest
    (logged,) = client.list_artifacts(version.run_id, "model")
    assert logged.path == f"model/{row.artifact.sha256}.skops"
    assert version.source.endswith("/model")
    copy = client.download_artifacts(version.run_id, logged.path, str(settings.data_dir))
    assert Path(copy).read_bytes() == b"first"


def test_aliases_and_statuses_follow(server: MlflowServerProcess, settings: Settings, registry: Registry) -> None:
    follower = follower_of(settings, registry)
    for content in (b"a", b"b", b"c"):
        _new(registry, content)
    registry.promote("late", "v1", "good", 1)
    follower.follow()
    assert _aliases(settings) == {"champion": "v1", "challenger": "v3"}
    registry.promote("late", "v2", "better", 2)
    registry.reject("late", "v3", "worse", 3)
    follower.follow()
    assert _aliases(settings) == {"champion": "v2"}
    assert _versions(settings)["v3"].tags["driftloop.status"] == "rejected"
    assert _versions(settings)["v3"].tags["driftloop.reason"] == "worse"
    registry.rollback("late", "it was not", 4)
    follower.follow()
    assert _aliases(settings) == {"champion": "v1"}
    assert {name: version.tags["driftloop.status"] for name, version in _versions(settings).items()} == {
        "v1": "promoted",
        "v2": "rolled_back",
        "v3": "rejected",
    }
    assert positions_of(settings, registry).behind() == {}


@pytest.mark.parametrize("call", ["create_run", "log_inputs", "log_artifact", "create_model_version", "set_alias"])
def test_a_crash_after_any_call_makes_nothing_twice(
    server: MlflowServerProcess,
    settings: Settings,
    registry: Registry,
    lineage: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    call: str,
) -> None:
    """MLflow has done what it was asked for, and the answer does not come."""
    _new(registry, b"model", lineage=lineage)
    registry.promote("late", "v1", "good", 1)
    follower = follower_of(settings, registry)
    client = follower._server._client
    name = "set_registered_model_alias" if call == "set_alias" else call
    works = getattr(client, name)

    def lost(*arguments: Any, **more: Any) -> None:
        works(*arguments, **more)
        raise ConnectionError("the answer was lost")

    monkeypatch.setattr(client, name, lost)
    told = follower.follow()
    assert (told.rows, list(told.problems)) == (0, ["late"])
    monkeypatch.setattr(client, name, works)
    # Registered; promoted: the champion's row and the challenger's.
    assert follower.follow().rows == 3
    assert list(_versions(settings)) == ["v1"]
    experiment = _client(settings).get_experiment_by_name(settings.mlflow_experiment.replace("{model}", "late"))
    (run,) = _client(settings).search_runs([experiment.experiment_id])
    assert len(run.inputs.dataset_inputs) == 1
    assert len(_client(settings).get_metric_history(run.info.run_id, "roc_auc")) == 1
    assert _aliases(settings) == {"champion": "v1"}


def test_a_model_that_mlflow_refuses_holds_up_no_other(
    server: MlflowServerProcess, settings: Settings, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.ensure_model("early", "binary", "digest-1")
    _new(registry, b"early", "early")
    _new(registry, b"late")
    follower = follower_of(settings, registry)
    # MLflow allows no slash in names of registered models.
    monkeypatch.setattr(
        follower._server, "_name", lambda model_id: "a/b" if model_id == "early" else "fine." + model_id
    )
    told = follower.follow()
    assert list(told.problems) == ["early"]
    assert told.rows == 1
    assert positions_of(settings, registry).behind() == {"early": 1}


def test_another_process_is_at_it(server: MlflowServerProcess, settings: Settings, registry: Registry) -> None:
    _new(registry, b"model")
    other = Lease(registry.engine, "mlflow", 60.0)
    assert other.take()
    assert follower_of(settings, registry).follow().elsewhere
    other.give_back()
    assert follower_of(settings, registry).follow().rows == 1
