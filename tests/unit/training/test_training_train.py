from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from sqlalchemy import select

from driftloop.events.decisions import GateResult, ModelEvent
from driftloop.profiles.columns import PREDICTION
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.numeric import NumericReference
from driftloop.profiles.reference import ReferenceProfile
from driftloop.registry.artifacts import ArtifactStore
from driftloop.registry.database import create_schema, open_engine, reading
from driftloop.registry.models import Registry
from driftloop.registry.tables import outbox
from driftloop.spec.gates import GateSpec
from driftloop.spec.model import FeatureSpec
from driftloop.spec.validation import ValidationSpec
from driftloop.training import artifacts
from driftloop.training.bootstrap import GatesFailed, register_first_version
from driftloop.training.child import ChampionFile, TrainingCancelled, TrainingFailed, TrainingProcesses, train_in_child
from driftloop.training.dataset import TrainingSet, cut, from_frame
from driftloop.training.estimators import columns_of, fit, predict
from driftloop.training.train import Champion, train
from support.training_rows import make_labeled, make_rows, make_spec


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    engine = open_engine(f"sqlite:///{tmp_path / 'registry.db'}")
    create_schema(engine)
    return Registry(engine, ArtifactStore(tmp_path / "artifacts"))


def data_of(task: str = "binary", **more: float) -> TrainingSet:
    return from_frame(make_spec(task), *make_rows(task, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_train_gives_a_model_a_profile_metrics_and_gates(task: str) -> None:
    spec, data = make_spec(task), data_of(task)
    trained = train(spec, data, None, seed=1)
    assert (trained.train_rows, trained.holdout_rows) == (320, 80)
    assert [gate.passed for gate in trained.gates] == [True, True, True]
    assert trained.profile.rows == 400
    assert set(trained.profile.features) == {"x", "colour", "noise", PREDICTION}
    assert (
        trained.profile.metrics[{"binary": "roc_auc", "regression": "mae", "multiclass": "accuracy"}[task]].rows == 80
    )
    if task == "binary":
        assert trained.metrics["roc_auc"] > 0.85
        assert trained.profile.label_mean == data.labels.mean()
    assert (trained.seen_from_ms, trained.seen_to_ms) == (0, int(data.predicted_at_ms[-1]) + 1)
    released = artifacts.load(trained.artifact)
    np.testing.assert_array_equal(
        predict(released, spec, data.frame), predict(fit(spec, data.frame, data.labels), spec, data.frame)
    )
    again = train(spec, data, None, seed=1)
    assert again.model_digest == trained.model_digest
    assert again.profile.encode() == trained.profile.encode()
    assert again.gates[2] == trained.gates[2]
    stats = InputStats(trained.profile)
    stats.update(columns_of(spec, data.frame, predict(released, spec, data.frame)), len(data))
    assert stats.rows == 400


def test_without_refit_the_released_model_has_not_seen_the_holdout() -> None:
    spec, data = make_spec(training={"refit_on_all": False}), data_of()
    trained = train(spec, data, None, seed=1)
    earlier, _ = data.split(0.2)
    expected = predict(fit(spec, earlier.frame, earlier.labels), spec, data.frame)
    np.testing.assert_array_equal(predict(artifacts.load(trained.artifact), spec, data.frame), expected)
    assert trained.seen_to_ms == int(earlier.predicted_at_ms[-1]) + 1


def test_the_reference_of_the_predictions_is_out_of_sample() -> None:
    # Labels are noise: a forest is nearly certain of its own rows, and hovers about one half elsewhere.
    spec = make_spec(estimator="sklearn.ensemble.RandomForestClassifier", training={"parameters": {"n_estimators": 20}})
    data = data_of()
    rng = np.random.default_rng(0)
    noise = from_frame(spec, data.frame, rng.integers(0, 2, 400), data.predicted_at_ms)
    reference = train(spec, noise, None, seed=0).profile.features[PREDICTION]
    assert isinstance(reference, NumericReference)
    inside = predict(fit(spec, noise.frame, noise.labels), spec, noise.frame)
    assert reference.std < 0.7 * inside.std()


def test_a_champion_that_the_world_has_left_behind_is_beaten_and_a_good_one_is_not() -> None:
    spec, data = make_spec(), data_of()
    stale = fit(spec, *make_rows(seed=5, sign=-1.0)[:2])
    beaten = train(spec, data, Champion("v1", stale, 0), seed=1).gates[2]
    assert beaten.passed
    assert beaten.value is not None
    assert beaten.value > 0.5
    strict = make_spec(training={"parameters": {"C": 1e-6}}, gates=spec.gates)
    good = fit(spec, *make_rows(seed=6, rows=2000)[:2])
    kept = train(
        msgspec.structs.replace(strict, gates=[msgspec.structs.replace(spec.gates[2], mode="superiority")]),
        data,
        Champion("v1", good, 0),
        seed=1,
    ).gates[0]
    assert not kept.passed


def test_a_champion_of_other_features_is_judged_by_what_it_said_live_and_the_change_must_be_declared() -> None:
    spec = make_spec(gates=[GateSpec(gate="schema"), GateSpec(gate="metric", mode="better")])
    frame, labels, times = make_rows()
    wider = msgspec.structs.replace(spec, features={**spec.features, "old": FeatureSpec(kind="numeric")})
    champion = Champion("v1", fit(wider, frame.assign(old=0.5), labels), 0)
    data = cut(make_labeled(spec, frame, labels, times, said=0.5), spec, 0, 10**12)
    schema, metric = train(spec, data, champion, seed=1).gates
    assert not schema.passed
    assert "gone since champion v1, and not declared under removed: old" in schema.sentence
    assert metric.passed
    assert "champion v1 0.5000" in metric.sentence
    declared = msgspec.structs.replace(spec, gates=[GateSpec(gate="schema", removed=["old"])])
    assert train(declared, data, champion, seed=1).gates[0].passed


def test_every_gate_runs_in_training_and_its_report_is_small_and_readable_again() -> None:
    gates = [
        GateSpec(gate="sanity"),
        GateSpec(gate="loadable"),
        GateSpec(gate="schema"),
        GateSpec(gate="metric", margin=0.05),
        GateSpec(gate="slices", columns=["colour"], metric="brier", margin=0.1, minimum_rows=15),
        GateSpec(gate="fairness", columns=["colour"], margin=0.5, minimum_rows=15),
        GateSpec(gate="robustness", metric="brier", bound=0.1, margin=0.1),
        GateSpec(gate="calibration", bounds={"ece": 0.3}, margin=0.3),
    ]
    spec, data = make_spec(gates=gates), data_of()
    champion = Champion("v1", fit(spec, *make_rows(seed=9)[:2]), 0)
    results = train(spec, data, champion, seed=1).gates
    assert [result.gate for result in results] == [
        "sanity", "loadable", "schema", "metric:roc_auc", "slices:brier", "fairness", "robustness:brier", "calibration",
    ]  # fmt: skip
    assert [result.passed for result in results] == [True] * 8, [result.sentence for result in results]
    assert all(result.verdict == "passed" for result in results)
    encoded = msgspec.json.encode(results)
    assert msgspec.json.decode(encoded, type=list[GateResult]) == results
    assert len(encoded) < 12_000


def test_a_champion_without_a_file_is_judged_by_what_it_said_live() -> None:
    spec = make_spec()
    rows = make_labeled(spec, *make_rows(), said=0.5)
    data = cut(rows, spec, 0, 10**12)
    by_v1 = train(spec, data, Champion("v1", None, None), seed=1).gates[2]
    assert by_v1.passed
    assert "champion v1 0.5000" in by_v1.sentence
    by_v2 = train(spec, data, Champion("v2", None, None), seed=1).gates[2]
    assert not by_v2.passed


def test_bootstrap_registers_a_champion_with_its_profile_and_event(registry: Registry) -> None:
    spec = make_spec()
    frame, labels, times = make_rows()
    order = np.random.default_rng(0).permutation(len(frame))
    version = register_first_version(registry, spec, frame.iloc[order], labels[order], times[order], 5_000)
    assert version == "v1"
    champion = registry.champion("m")
    assert champion is not None
    assert champion.version == "v1"
    assert champion.trained_to_ms == int(times[-1]) + 1
    assert champion.artifact is not None
    assert champion.lineage["dataset"]["rows"] == 400
    pipeline = artifacts.load(registry.store.read(champion.artifact))
    assert champion.metrics["roc_auc"] > 0.85
    np.testing.assert_array_equal(predict(pipeline, spec, frame), predict(fit(spec, frame, labels), spec, frame))
    profile = ReferenceProfile.decode(registry.profile("m", "v1") or b"")
    assert profile.model_version == "v1"
    with reading(registry.engine) as connection:
        values = [row.value for row in connection.execute(select(outbox).order_by(outbox.c.id))]
    events = [msgspec.json.decode(value, type=ModelEvent) for value in values]
    assert [(event.kind, event.event_time_ms) for event in events] == [("registered", 5_000), ("promoted", 5_000)]
    assert register_first_version(registry, spec, frame, labels, times, 9_000) == "v1"
    assert len(registry.versions("m")) == 1


def test_bootstrap_refuses_a_version_that_fails_its_gates(registry: Registry) -> None:
    spec = make_spec(estimator="sklearn.dummy.DummyClassifier", training={"parameters": {"strategy": "prior"}})
    with pytest.raises(GatesFailed, match="learnt nothing"):
        register_first_version(registry, spec, *make_rows(), 1)
    assert registry.champion("m") is None
    assert registry.versions("m")[0].status == "rejected"


def test_the_child_trains_the_same_as_this_process(tmp_path: Path) -> None:
    spec = make_spec()
    data = cut(make_labeled(spec, *make_rows()), spec, 0, 10**12)
    stale = fit(spec, *make_rows(seed=5, sign=-1.0)[:2])
    champion = ChampionFile("v7", artifacts.dump(stale), 100)
    apart = train_in_child(spec, data.to_parquet(), champion, seed=3, folder=tmp_path)
    here = train(spec, data, Champion("v7", stale, 100), seed=3)
    assert apart.model_digest == here.model_digest
    assert apart.profile.encode() == here.profile.encode()
    assert (apart.metrics, apart.seen_from_ms, apart.seen_to_ms) == (here.metrics, here.seen_from_ms, here.seen_to_ms)
    assert apart.gates[2] == here.gates[2]
    assert artifacts.load(apart.artifact)


def test_the_child_says_why_there_is_no_model(tmp_path: Path) -> None:
    spec = make_spec(training={"validation": ValidationSpec(enabled=False)})
    data = data_of()
    one_class = from_frame(spec, data.frame, np.zeros(400, dtype=np.int64), data.predicted_at_ms)
    refused, broken = tmp_path / "refused", tmp_path / "broken"
    refused.mkdir()
    broken.mkdir()
    with TrainingProcesses() as processes:
        processes.warm()
        first = processes.take()
        processes.warm()
        second = processes.take()
    for process, folder, parquet, message in (
        (first, refused, one_class.to_parquet(), "one class"),
        (second, broken, b"no parquet", r"ended with code 1; the last it said: .*ArrowInvalid"),
    ):
        waiting = TrainingProcesses()
        waiting._spare = process
        with pytest.raises(TrainingFailed, match=message):
            train_in_child(spec, parquet, None, seed=0, folder=folder, processes=waiting)


def test_the_child_is_ended_at_its_time_limit_or_when_the_worker_ends(tmp_path: Path) -> None:
    data = data_of()
    limited = make_spec(training={"time_limit": "100ms"})
    with pytest.raises(TrainingFailed, match="time limit of 100ms"):
        train_in_child(limited, data.to_parquet(), None, seed=0, folder=tmp_path)
    with pytest.raises(TrainingCancelled):
        train_in_child(make_spec(), data.to_parquet(), None, seed=0, folder=tmp_path, cancelled=lambda: True)


def test_profiles_of_segments_carry_the_versions_name(registry: Registry) -> None:
    spec = make_spec(segments=["colour"])
    register_first_version(registry, spec, *make_rows(), 1, version="first")
    profile = ReferenceProfile.decode(registry.profile("m", "first") or b"")
    assert len(profile.segments) >= 3
    assert {part.model_version for part in [profile, *profile.segments.values()]} == {"first"}


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_the_profile_has_what_estimates_performance_before_labels_come(task: str) -> None:
    spec, data = make_spec(task), data_of(task)
    tables = train(spec, data, None, seed=1).profile.estimators
    assert tables is not None
    assert tables.rows == 400
    assert tables.trees is None, "a loss model is fitted only where it is asked for"
    wished = msgspec.structs.replace(spec, performance=msgspec.structs.replace(spec.performance, estimate=True))
    known = train(wished, data, None, seed=1).profile.estimators
    assert known is not None
    assert (known.trees is not None) == (task == "regression")
    refused = msgspec.structs.replace(spec, performance=msgspec.structs.replace(spec.performance, estimate=False))
    assert train(refused, data, None, seed=1).profile.estimators is None
