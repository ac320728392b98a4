"""What MLflow is told, from lineages as the trainer writes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from driftloop.events.decisions import RetrainCommand
from driftloop.mlflow_mirror.contents import Contents, contents_of
from driftloop.registry import ArtifactStore, Registry, create_schema, open_engine
from driftloop.spec.load import spec_digest
from driftloop.spec.model import ModelSpec
from driftloop.spec.training import RiverSpec, TrainingSpec
from driftloop.training.bootstrap import register_first_version
from driftloop.training.dataset import from_frame
from driftloop.training.dataset_files import keep_dataset
from driftloop.training.dataset_manifest import DatasetQuery
from driftloop.training.provenance import code_commit
from driftloop.training.registration import register
from driftloop.training.train import lineage_of, train
from support.training_rows import make_rows, make_spec

COMMAND = RetrainCommand(
    command_id="c" * 32,
    model_id="m",
    champion_version="v1",
    trigger="drift",
    reason="x drifted",
    window_end_ms=10**9,
    from_ms=0,
    to_ms=10**9,
)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    engine = open_engine(f"sqlite:///{tmp_path / 'driftloop.db'}")
    create_schema(engine)
    yield Registry(engine, ArtifactStore(tmp_path / "artifacts"))
    engine.dispose()


def first_of(registry: Registry, spec: ModelSpec) -> Contents:
    name = register_first_version(registry, spec, *make_rows(), 100)
    row = registry.version(spec.model, name)
    assert row is not None
    return contents_of(row)


def test_a_first_version_has_its_commit_data_set_and_parameters(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLOOP_COMMIT", "0123abc")
    spec = make_spec(training={"parameters": {"C": 0.5}})
    found = first_of(registry, spec)
    lineage = registry.champion("m").lineage  # type: ignore[union-attr]
    data = lineage["dataset"]
    assert found.tags["driftloop.code_commit"] == "0123abc" == code_commit()
    assert found.tags["driftloop.dataset_sha256"] == data["sha256"]
    assert found.tags["driftloop.code_version"] == data["query"]["code_version"]
    assert found.tags["driftloop.spec_digest"] == spec_digest(spec)
    assert found.tags["driftloop.model_digest"] == lineage["model_digest"]
    assert found.dataset is not None
    assert found.dataset.name == f"m-{data['sha256'][:12]}"
    assert found.dataset.uri == data["uri"]
    assert found.dataset.schema == data["columns"]
    assert set(data["columns"]) == {"x", "colour", "noise"}
    assert found.dataset.profile == {
        "rows": 400,
        "size": len(registry.store.read(data["uri"])),
        "from_ms": data["from_ms"],
        "to_ms": data["to_ms"],
    }
    assert found.parameters == {
        "estimator": "sklearn.linear_model.LogisticRegression",
        "parameters.C": "0.5",
        "seed": "0",
        "refit_on_all": "true",
        "train_rows": "320",
        "holdout_rows": "80",
    }


def test_a_retraining_has_its_trigger_and_its_rival(registry: Registry) -> None:
    first_of(registry, make_spec())
    spec = make_spec()
    data = from_frame(spec, *make_rows(seed=1))
    query = DatasetQuery(model="m", from_ms=0, to_ms=10**9)
    _, dataset = keep_dataset(registry.store, spec, data, topic="t.labeled", query=query)
    trained = train(spec, data, None, seed=1)
    lineage = lineage_of(spec, trained, dataset, command=msgspec.to_builtins(COMMAND), compared_with="v1")
    name = register(registry, spec, trained, lineage=lineage, event_time_ms=1, reason="r", actor="a")
    row = registry.version("m", name)
    assert row is not None
    tags = contents_of(row).tags
    assert (tags["driftloop.trigger"], tags["driftloop.compared_with"]) == ("drift", "v1")


def test_what_nobody_knows_is_no_parameter(registry: Registry) -> None:
    """River's estimator is under another key; a model that was fitted elsewhere has none."""
    river = RiverSpec(model="river.linear_model.LogisticRegression")
    spec = msgspec.structs.replace(make_spec(model="stream"), training=TrainingSpec(river=river, minimum_rows=50))
    found = first_of(registry, spec)
    assert found.parameters["estimator"] == "river.linear_model.LogisticRegression"
    row = registry.champion("stream")
    assert row is not None
    elsewhere = {**row.lineage, "estimator": None, "parameters": None}
    elsewhere["training"] = {**elsewhere["training"], "river": None}
    parameters = contents_of(replace(row, lineage=elsewhere)).parameters
    assert set(parameters) == {"seed", "refit_on_all", "train_rows", "holdout_rows"}
