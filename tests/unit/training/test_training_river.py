from __future__ import annotations

import json
import pickle
from typing import Any

import msgspec
import numpy as np
import pytest
import skops.io
from river import linear_model, optim, preprocessing, tree
from sklearn.pipeline import Pipeline

from driftloop.cli._how_trained import how_trained
from driftloop.spec.model import ModelSpec
from driftloop.spec.training import RiverSpec
from driftloop.training import artifacts
from driftloop.training.dataset import TrainingSet, from_frame
from driftloop.training.digest import model_digest
from driftloop.training.errors import EstimatorError
from driftloop.training.estimators import fit, predict
from driftloop.training.river import RiverClassifier, river_pipeline
from driftloop.training.river_state import MODELS, RiverStateError, dumps, loads
from driftloop.training.train import Champion, lineage_of, train
from support.training_rows import make_rows, make_spec

LOGISTIC = "river.linear_model.LogisticRegression"
KINDS = [
    *((model, task, {}) for model, tasks in MODELS.items() for task in tasks),
    *((LOGISTIC, "binary", {"optimizer": {"class": f"river.optim.{name}"}}) for name in ("AdaGrad", "Adam", "RMSProp")),
    (LOGISTIC, "binary", {"optimizer": {"class": "river.optim.SGD", "lr": 0.1}, "l1": 0.001}),
    ("river.tree.HoeffdingTreeClassifier", "binary", {"leaf_prediction": "mc", "grace_period": 20, "tau": 0.5}),
    ("river.tree.HoeffdingTreeClassifier", "binary", {"grace_period": 20, "tau": 0.5}),
    ("river.tree.HoeffdingTreeRegressor", "regression", {"grace_period": 20, "tau": 0.5}),
]


def spec_of(
    model: str = LOGISTIC, task: str = "binary", parameters: dict[str, Any] | None = None, **training: Any
) -> ModelSpec:
    spec = make_spec(task, training=training)
    river = RiverSpec(model=model, parameters=parameters or {})
    return msgspec.structs.replace(spec, training=msgspec.structs.replace(spec.training, estimator=None, river=river))


@pytest.mark.parametrize(("model", "task", "parameters"), KINDS)
def test_a_model_comes_back_from_its_file_and_learns_on_as_if_it_had_never_been_written(
    model: str, task: str, parameters: dict[str, Any]
) -> None:
    spec = spec_of(model, task, parameters)
    frame, labels, _ = make_rows(task, rows=600)
    pipeline = fit(spec, frame, labels)
    loaded = artifacts.load(artifacts.dump(pipeline))
    said = predict(pipeline, spec, frame)
    assert np.isfinite(said).all()
    assert len(np.unique(said)) > 5
    for seed in (1, 2):
        np.testing.assert_array_equal(predict(loaded, spec, frame), said)
        assert model_digest(loaded, spec) == model_digest(pipeline, spec)
        more = make_rows(task, rows=300, seed=seed)
        np.testing.assert_array_equal(loaded[-1].learn(*more[:2]), pipeline[-1].learn(*more[:2]))
        said = predict(pipeline, spec, frame)
        loaded = artifacts.load(artifacts.dump(loaded))
    assert model_digest(fit(spec, frame, labels), spec) == model_digest(fit(spec, frame, labels), spec)
    assert model_digest(pipeline, spec) != model_digest(fit(spec, frame, labels), spec)


def test_the_same_as_river_itself() -> None:
    """Row by row what River's own pipeline says, with the encoding that the documentation has."""
    spec = spec_of(parameters={"l2": 0.01})
    frame, labels, _ = make_rows(rows=300)
    found = river_pipeline(spec)[-1].learn(frame, labels)
    scaler, model = preprocessing.StandardScaler(), linear_model.LogisticRegression(l2=0.01)
    expected = []
    for row, label in zip(frame.to_dict("records"), labels.tolist(), strict=True):
        numbers = {name: row[name] for name in ("x", "noise") if row[name] == row[name]}
        rest = {} if row["x"] == row["x"] else {"x#missing": 1.0}
        if row["colour"] is not None:
            rest[f"colour={row['colour']}"] = 1.0
        expected.append(model.predict_proba_one({**scaler.transform_one(numbers), **rest})[True])
        scaler.learn_one(numbers)
        model.learn_one({**scaler.transform_one(numbers), **rest}, label)
    np.testing.assert_allclose(found[:, 1], expected, rtol=1e-12)


def halves(task: str = "binary", rows: int = 1200) -> tuple[TrainingSet, TrainingSet]:
    data = from_frame(make_spec(task), *make_rows(task, rows=rows))
    return data.rows(slice(0, rows // 2)), data


@pytest.mark.parametrize(
    ("model", "task"), [(LOGISTIC, "binary"), ("river.linear_model.LinearRegression", "regression")]
)
def test_it_learns_on_from_the_champion_over_the_new_rows_alone(model: str, task: str) -> None:
    spec = spec_of(model, task)
    first, data = halves(task)
    champion = train(spec, first, None, seed=1)
    assert champion.learned_on is not None
    assert (champion.learned_on.version, champion.learned_on.rows_before) == (None, 0)
    rival = Champion("v1", artifacts.load(champion.artifact), champion.seen_to_ms)
    before = predict(rival.pipeline, spec, data.frame)  # type: ignore[arg-type]
    trained = train(spec, data, rival, seed=1)
    report = trained.learned_on
    assert report is not None
    assert (report.version, report.rows_before, report.new_rows) == ("v1", 600, 600)
    assert (trained.train_rows, trained.holdout_rows) == (480, 120)
    assert (trained.seen_from_ms, trained.seen_to_ms) == (
        champion.seen_to_ms - 1 + 360_000,
        int(data.predicted_at_ms[-1]) + 1,
    )
    released = artifacts.load(trained.artifact)
    assert released[-1].rows_ == 1200
    # Every row once, in its order: as if it had learned all of them in one go.
    whole = fit(spec, data.frame, data.labels)
    np.testing.assert_array_equal(predict(released, spec, data.frame), predict(whole, spec, data.frame))
    assert trained.model_digest == model_digest(whole, spec)
    np.testing.assert_array_equal(predict(rival.pipeline, spec, data.frame), before, "the champion is left as it was")  # type: ignore[arg-type]
    assert trained.profile.rows == 1200
    assert [gate.passed for gate in trained.gates[:2]] == [True, True]
    assert trained.profile.importances["x"] > trained.profile.importances["noise"]
    lines = list(how_trained(lineage_of(spec, trained, {})))
    assert lines == ["learned on from champion v1; 600 new rows, learned and holdout together"]


def test_the_holdout_is_later_than_what_the_champion_has_learned() -> None:
    """The champion learned 900 of 1,000 rows, its own holdout among them: only 100 are left to learn and judge."""
    spec = spec_of(minimum_rows=50)
    data = from_frame(spec, *make_rows(rows=1000))
    champion = train(spec, data.rows(slice(0, 900)), None, seed=1)
    rival = Champion("v1", artifacts.load(champion.artifact), champion.seen_to_ms)
    trained = train(spec, data, rival, seed=1)
    assert (trained.train_rows, trained.holdout_rows) == (80, 20)
    few = spec_of(minimum_rows=101)
    with pytest.raises(EstimatorError, match=r"100 rows are later than .* champion v1 has learned, .* is 101"):
        train(few, data, rival, seed=1)


@pytest.mark.parametrize(
    ("champion", "reason"),
    [
        (None, "began anew: there is no champion"),
        (Champion("v1", None, 5), "champion v1 is no River model"),
        (Champion("v1", fit(make_spec(), *make_rows()[:2]), 5), "champion v1 is no River model"),
        (
            Champion("v1", fit(spec_of(parameters={"l2": 1.0}), *make_rows()[:2]), 5),
            "another model, parameters or features",
        ),
        (Champion("v1", fit(spec_of(), *make_rows()[:2]), None), "not known which rows champion v1 has learned"),
    ],
)
def test_where_it_cannot_learn_on_it_begins_anew_and_says_why(champion: Champion | None, reason: str) -> None:
    spec = spec_of()
    trained = train(spec, halves()[1], champion, seed=1)
    assert trained.learned_on is not None
    assert reason in trained.learned_on.reason
    assert trained.train_rows == 960


def test_after_a_change_it_adapts() -> None:
    spec = spec_of(parameters={"optimizer": {"class": "river.optim.SGD", "lr": 0.1}})
    old = train(spec, from_frame(spec, *make_rows(rows=800, sign=-1.0)), None, seed=1)
    frame, labels, times = make_rows(rows=800, seed=3)
    new = from_frame(spec, frame, labels, times + old.seen_to_ms)
    trained = train(spec, new, Champion("v1", artifacts.load(old.artifact), old.seen_to_ms), seed=1)
    assert trained.metrics["roc_auc"] > 0.85
    assert trained.gates[2].value is not None
    assert trained.gates[2].value > 0.5


@pytest.mark.parametrize(
    ("model", "task", "parameters", "message"),
    [
        ("river.forest.ARFClassifier", "binary", {}, "cannot be kept as a model file; choose one of"),
        (LOGISTIC, "multiclass", {}, "is for binary models, and the task is multiclass"),
        (LOGISTIC, "binary", {"rate": 1}, "parameters do not fit .*rate"),
        (LOGISTIC, "binary", {"optimizer": {"class": "river.drift.ADWIN"}}, "'river.drift.ADWIN' is not allowed"),
        (LOGISTIC, "binary", {"l1": 0.1, "l2": 0.1}, "joint use of L1 and L2"),
    ],
)
def test_what_cannot_be_trained_is_named(model: str, task: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(EstimatorError, match=message):
        fit(spec_of(model, task, parameters), *make_rows(task)[:2])


def test_weights_are_refused() -> None:
    frame, labels, _ = make_rows()
    with pytest.raises(EstimatorError, match="takes no sample_weight"):
        fit(spec_of(), frame, labels, np.ones(len(labels)))


class Planted:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("ran",))


def test_a_state_brings_in_no_class_that_is_not_listed() -> None:
    good = linear_model.LogisticRegression()
    good.learn_one({"x": 1.0}, True)
    text = dumps(good)
    for name in ("os.system", "subprocess.Popen", "river.drift.adwin.ADWIN", "builtins.eval"):
        table = json.loads(text)
        table[0][1] = name
        with pytest.raises(RiverStateError, match="not among those of River models"):
            loads(json.dumps(table), linear_model.LogisticRegression())
    with pytest.raises(RiverStateError, match="attribute '__class__'"):
        loads(json.dumps([["object", json.loads(text)[0][1], [["__class__", 1]]]]), linear_model.LogisticRegression())
    with pytest.raises(RiverStateError):
        loads(pickle.dumps(Planted()).decode("latin-1"), linear_model.LogisticRegression())
    with pytest.raises(RiverStateError, match="another model"):
        loads(text, tree.HoeffdingTreeClassifier())
    with pytest.raises(RiverStateError, match=r"it holds a .*Momentum, which cannot be kept"):
        dumps(linear_model.LogisticRegression(optim.Momentum()))


def test_damaged_states_are_refused_or_loaded_and_nothing_else() -> None:
    frame, labels, _ = make_rows(rows=200)
    text = dumps(fit(spec_of(), frame, labels)[-1].model_)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        place = int(rng.integers(len(text)))
        damaged = text[:place] + chr(int(rng.integers(32, 127))) + text[place + int(rng.integers(0, 3)) :]
        try:
            loads(damaged, linear_model.LogisticRegression())
        except RiverStateError:
            refused += 1
    assert refused > 100


def test_a_file_with_a_foreign_river_model_is_refused() -> None:
    made = RiverClassifier("river.forest.ARFClassifier", "{}", ["x"], [], 2)
    state = {**made.get_params(), "learned": "[]"}
    made.__getstate__ = lambda: state  # type: ignore[method-assign]
    data = skops.io.dumps(Pipeline([("model", _Posing(state))]))
    with pytest.raises(artifacts.ArtifactError, match="_Posing"):
        artifacts.load(data)
    with pytest.raises(ValueError, match="not among the River models"):
        RiverClassifier.__new__(RiverClassifier).__setstate__(state)


class _Posing(RiverClassifier):
    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    def __getstate__(self) -> dict[str, Any]:
        return self.state
