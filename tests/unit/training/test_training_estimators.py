from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from driftloop.profiles.columns import PREDICTION, FeatureDecoder
from driftloop.training import artifacts
from driftloop.training.digest import content_digest
from driftloop.training.estimators import EstimatorError, build, columns_of, feature_frame, fit, predict
from support.training_rows import make_rows, make_spec

ESTIMATORS = [
    ("binary", "sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 5}),
    ("binary", "sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 5, "early_stopping": True}),
    ("multiclass", "sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 5}),
    ("regression", "sklearn.ensemble.HistGradientBoostingRegressor", {"max_iter": 5}),
    ("regression", "sklearn.ensemble.HistGradientBoostingRegressor", {"max_iter": 5, "loss": "absolute_error"}),
    ("binary", "sklearn.ensemble.RandomForestClassifier", {"n_estimators": 5}),
    ("multiclass", "sklearn.ensemble.ExtraTreesClassifier", {"n_estimators": 5}),
    ("regression", "sklearn.ensemble.RandomForestRegressor", {"n_estimators": 5}),
    ("binary", "sklearn.ensemble.GradientBoostingClassifier", {"n_estimators": 5}),
    ("multiclass", "sklearn.ensemble.GradientBoostingClassifier", {"n_estimators": 5}),
    ("regression", "sklearn.ensemble.GradientBoostingRegressor", {"n_estimators": 5, "loss": "huber"}),
    ("regression", "sklearn.tree.DecisionTreeRegressor", {"max_depth": 4}),
    ("binary", "sklearn.linear_model.LogisticRegression", {}),
    ("multiclass", "sklearn.linear_model.LogisticRegression", {}),
    ("binary", "sklearn.linear_model.SGDClassifier", {"loss": "log_loss"}),
    ("regression", "sklearn.linear_model.Ridge", {}),
    ("regression", "sklearn.linear_model.HuberRegressor", {}),
    ("multiclass", "sklearn.neural_network.MLPClassifier", {"hidden_layer_sizes": [4], "max_iter": 5}),
    ("binary", "sklearn.neighbors.KNeighborsClassifier", {}),
    ("binary", "sklearn.naive_bayes.GaussianNB", {}),
    ("binary", "sklearn.dummy.DummyClassifier", {"strategy": "prior"}),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("task", "estimator", "parameters"), ESTIMATORS)
def test_fits_predicts_and_comes_back_from_its_file(task: str, estimator: str, parameters: dict[str, object]) -> None:
    spec = make_spec(task, estimator, training={"parameters": parameters})
    frame, labels, _ = make_rows(task, 200)
    frame["noise"] = np.nan  # a feature without a single value must not stop anything
    pipeline = fit(spec, frame, labels)
    digest = content_digest(pipeline)  # before predicting: search trees count their calls
    fresh, _, _ = make_rows(task, 50, seed=1)
    fresh.loc[0, "colour"] = "never seen"
    fresh.loc[1, ["x", "noise"]] = np.nan
    fresh.loc[2, "x"] = np.inf
    predictions = predict(pipeline, spec, fresh)
    assert predictions.dtype == np.float64
    assert np.isfinite(predictions).all()
    assert predictions.shape == ((50, 3) if task == "multiclass" else (50,))
    if task != "regression":
        assert predictions.min() >= 0.0
        assert predictions.max() <= 1.0
    if task == "multiclass":
        np.testing.assert_allclose(predictions.sum(axis=1), 1.0, atol=1e-9)
    again = predict(artifacts.load(artifacts.dump(pipeline)), spec, fresh)
    np.testing.assert_array_equal(again, predictions)
    assert content_digest(fit(spec, frame, labels)) == digest
    if "Dummy" not in estimator:
        assert content_digest(fit(spec, frame.iloc[:-20], labels[:-20])) != digest
    one = predict(pipeline, spec, fresh.iloc[[7]])
    np.testing.assert_allclose(one, predictions[[7]], rtol=1e-12)


def test_categorical_features_are_told_to_histogram_boosting_and_matter() -> None:
    spec = make_spec(
        estimator="sklearn.ensemble.HistGradientBoostingClassifier", training={"parameters": {"max_iter": 20}}
    )
    assert build(spec)[-1].categorical_features == [0]
    assert build(spec)[-1].random_state == 0
    frame, labels, _ = make_rows(rows=1000)
    pipeline = fit(spec, frame, labels)
    red, blue = frame.assign(colour="red"), frame.assign(colour="blue")
    assert predict(pipeline, spec, red).mean() > predict(pipeline, spec, blue).mean() + 0.1


def test_more_categories_than_bins_are_no_problem() -> None:
    spec = make_spec(
        estimator="sklearn.ensemble.HistGradientBoostingClassifier", training={"parameters": {"max_iter": 3}}
    )
    frame, labels, _ = make_rows(rows=2000)
    frame["colour"] = pd.Series([f"c{index % 700}" for index in range(2000)], dtype=object)
    assert np.isfinite(predict(fit(spec, frame, labels), spec, frame)).all()


def test_frame_and_columns_and_pandas_text_dtypes_mean_the_same() -> None:
    spec = make_spec()
    frame, labels, _ = make_rows()
    pipeline = fit(spec, frame, labels)
    expected = predict(pipeline, spec, frame)
    columns = {"x": frame["x"].to_numpy(), "colour": frame["colour"].tolist(), "noise": frame["noise"].to_numpy()}
    np.testing.assert_array_equal(predict(pipeline, spec, columns), expected)
    for dtype in ("string", "category", "str"):
        as_text = frame.assign(colour=frame["colour"].astype(dtype), more=1)[["noise", "more", "colour", "x"]]
        np.testing.assert_array_equal(predict(pipeline, spec, as_text), expected)


def test_categories_are_written_like_the_feature_decoder_writes_them() -> None:
    spec = make_spec()
    raw = [b'{"colour": true}', b'{"colour": 1}', b'{"colour": "x"}', b'{"colour": null}', b'{"colour": false}']
    decoded, bad = FeatureDecoder(spec).decode(raw)
    assert bad == []
    frame = pd.DataFrame(
        {"x": np.zeros(5), "noise": np.zeros(5), "colour": pd.Series([True, 1, "x", np.nan, False], dtype=object)}
    )
    assert feature_frame(spec, frame)["colour"].tolist() == decoded["colour"]
    whole = frame.assign(colour=[1.0, 2.0, np.nan, 4.0, 5.0])
    assert feature_frame(spec, whole)["colour"].tolist() == ["1", "2", None, "4", "5"]


def test_columns_hold_the_prediction_too() -> None:
    spec = make_spec("multiclass")
    frame, labels, _ = make_rows("multiclass")
    columns = columns_of(spec, frame, predict(fit(spec, frame, labels), spec, frame))
    assert list(columns) == ["x", "colour", "noise", PREDICTION]
    assert set(columns[PREDICTION]) <= {"low", "middle", "high"}


def test_a_class_that_training_never_saw_gets_probability_zero() -> None:
    spec = make_spec("multiclass")
    frame, labels, _ = make_rows("multiclass")
    keep = labels != 1
    predictions = predict(fit(spec, frame[keep], labels[keep]), spec, frame)
    assert predictions.shape == (len(frame), 3)
    assert (predictions[:, 1] == 0.0).all()


def test_no_rows_give_no_predictions() -> None:
    for task in ("binary", "regression", "multiclass"):
        spec = make_spec(task)
        frame, labels, _ = make_rows(task)
        assert len(predict(fit(spec, frame, labels), spec, frame.iloc[:0])) == 0


@pytest.mark.parametrize(
    ("task", "estimator", "parameters", "message"),
    [
        ("binary", "xgboost.XGBClassifier", {}, "not allowed"),
        ("binary", "sklearn.linear_model._logistic.LogisticRegression", {}, "not allowed"),
        ("binary", "os.system", {}, "not allowed"),
        ("binary", "sklearn.linear_model.NoSuch", {}, "does not exist"),
        ("binary", "sklearn.nowhere.NoSuch", {}, "does not exist"),
        ("binary", "sklearn.metrics.roc_auc_score", {}, "not an estimator class"),
        ("binary", "sklearn.linear_model.Ridge", {}, "not a classifier"),
        ("regression", "sklearn.linear_model.LogisticRegression", {}, "not a regressor"),
        ("binary", "sklearn.linear_model.SGDClassifier", {}, "no probabilities"),
        ("binary", "sklearn.linear_model.LogisticRegression", {"depth": 3}, "do not fit"),
    ],
)
def test_refuses_what_cannot_be_trained(task: str, estimator: str, parameters: dict[str, object], message: str) -> None:
    with pytest.raises(EstimatorError, match=message):
        build(make_spec(task, estimator, training={"parameters": parameters}))


def test_refuses_rows_that_cannot_be_learnt_from() -> None:
    frame, labels, _ = make_rows()
    with pytest.raises(EstimatorError, match="one class"):
        fit(make_spec(), frame, np.zeros(len(frame), dtype=np.int64))
    with pytest.raises(EstimatorError, match="no row"):
        fit(make_spec(), frame.iloc[:0], labels[:0])
    with pytest.raises(EstimatorError, match="no feature has a single value"):
        fit(make_spec(), frame.assign(x=np.nan, noise=np.nan, colour=None), labels)
    with pytest.raises(EstimatorError, match="could not be fitted"):
        fit(make_spec(training={"parameters": {"C": -1.0}}), frame, labels)
    with pytest.raises(EstimatorError, match="not finite"):
        fit(make_spec("regression"), frame, np.full(len(frame), np.nan))
    with pytest.raises(KeyError, match="no column 'x'"):
        fit(make_spec(), frame.drop(columns="x"), labels)
