from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from driftloop.spec.training import CandidateSpec
from driftloop.training import artifacts
from driftloop.training.dataset import from_frame
from driftloop.training.errors import EstimatorError
from driftloop.training.estimators import build, fit, predict
from driftloop.training.train import train
from support.training_rows import make_rows, make_spec

CALLS: list[dict[str, Any]] = []


def good(*, frame: Any, labels: Any, weights: Any, parameters: Any, seed: int) -> Any:
    CALLS.append({"frame": frame, "labels": labels, "weights": weights, "parameters": parameters, "seed": seed})
    model = build(make_spec(training={"parameters": parameters}))
    return model.fit(frame, labels, **({} if weights is None else {"model__sample_weight": weights}))


def regression(*, frame: Any, labels: Any, **more: Any) -> Any:
    return build(make_spec("regression")).fit(frame, labels)


def raising(**given: Any) -> Any:
    raise KeyError("no such column")


def nothing(**given: Any) -> Any:
    return None


def no_probabilities(*, frame: Any, labels: Any, **more: Any) -> Any:
    return Ridge().fit(frame[["noise"]], labels)


def other_classes(*, frame: Any, labels: Any, **more: Any) -> Any:
    return LogisticRegression().fit(frame[["noise"]], np.where(labels == 1, "yes", "no"))


def foreign(*, frame: Any, labels: Any, **more: Any) -> Any:
    return make_pipeline(FunctionTransformer(only_noise), LogisticRegression()).fit(frame, labels)


def unfit(*, frame: Any, labels: Any, **more: Any) -> Any:
    return LogisticRegression().fit(frame[["noise"]], labels)


def only_noise(frame: Any) -> Any:
    return frame[["noise"]]


@pytest.fixture(autouse=True)
def module(monkeypatch: pytest.MonkeyPatch) -> None:
    made = types.ModuleType("users_training")
    for function in (good, regression, raising, nothing, no_probabilities, other_classes, foreign, unfit):
        setattr(made, function.__name__, function)
    made.number = 7  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "users_training", made)
    CALLS.clear()


def spec_of(name: str, task: str = "binary", **training: Any) -> Any:
    return make_spec(task, f"users_training:{name}", training=training)


def test_a_function_is_called_as_documented_and_its_model_is_kept() -> None:
    spec = spec_of("good", parameters={"C": 0.5}, seed=3)
    data = from_frame(spec, *make_rows())
    trained = train(spec, data, None, seed=1)
    assert [gate.passed for gate in trained.gates] == [True, True, True]
    first = CALLS[0]
    assert list(first["frame"].columns) == ["x", "colour", "noise"]
    assert (len(first["frame"]), first["labels"].dtype, first["weights"]) == (320, np.int64, None)
    assert (first["parameters"], first["seed"]) == ({"C": 0.5}, 3)
    expected = fit(make_spec(training={"parameters": {"C": 0.5}}), data.frame, data.labels)
    released = artifacts.load(trained.artifact)
    np.testing.assert_array_equal(predict(released, spec, data.frame), predict(expected, spec, data.frame))
    assert train(spec, data, None, seed=1).model_digest == trained.model_digest


def test_a_function_gets_weights_and_trains_a_regression() -> None:
    decayed = spec_of("good", candidates=[CandidateSpec(candidate="decayed", half_life="5h")])
    train(decayed, from_frame(decayed, *make_rows()), None, seed=1)
    assert all(call["weights"].mean() == pytest.approx(1.0) for call in CALLS if len(call["frame"]) > 200)
    assert any(call["weights"].std() > 0.1 for call in CALLS)
    spec = spec_of("regression", "regression")
    assert train(spec, from_frame(spec, *make_rows("regression")), None, seed=1).metrics["r2"] > 0.5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "'users_training' has no function 'missing'"),
        ("number", "'users_training' has no function 'number'"),
        ("raising", "users_training:raising raised KeyError: 'no such column'"),
        ("nothing", "returned a NoneType without 'predict_proba'"),
        ("no_probabilities", "returned a Ridge without 'predict_proba'.*predict_proba and classes_"),
        ("other_classes", r"of the classes \['no', 'yes'\]; labels are 0 to 1"),
        ("unfit", "returned a LogisticRegression that does not take the frame"),
        ("foreign", "cannot be kept as a model file: it holds .*only_noise"),
    ],
)
def test_what_a_function_may_not_do_is_named(name: str, message: str) -> None:
    spec = spec_of(name)
    with pytest.raises(EstimatorError, match=message):
        train(spec, from_frame(spec, *make_rows()), None, seed=1)


def test_a_module_that_cannot_be_imported_is_named() -> None:
    spec = make_spec(estimator="nowhere_at_all.training:fit")
    with pytest.raises(EstimatorError, match=r"'nowhere_at_all.training' cannot be imported .*PYTHONPATH"):
        fit(spec, *make_rows()[:2])


def test_nested_objects_come_from_sklearn_alone_and_get_the_seed() -> None:
    forest = {"class": "sklearn.ensemble.RandomForestClassifier", "n_estimators": 3}
    calibrated = "sklearn.calibration.CalibratedClassifierCV"
    spec = make_spec(estimator=calibrated, training={"parameters": {"estimator": forest, "cv": 2}, "seed": 9})
    assert build(spec)[-1].estimator.random_state == 9
    for path, message in (("os.path", "'os.path' is not allowed"), (7, "expected an import path under 'class', got 7")):
        bad = make_spec(estimator=calibrated, training={"parameters": {"estimator": {"class": path}}})
        with pytest.raises(EstimatorError, match=message):
            build(bad)
    unfit = make_spec(estimator=calibrated, training={"parameters": {"estimator": {**forest, "trees": 3}}})
    with pytest.raises(EstimatorError, match=r"parameters do not fit sklearn.ensemble.RandomForestClassifier.*trees"):
        build(unfit)
