"""Importances, vectors and texts in training sets, and what moved the mean score of a window."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pandas as pd
import pytest

from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec.model import DriftRules, FeatureSpec, ModelSpec, MultivariateMethod, MultivariateRules
from driftloop.training.dataset import TrainingSet, from_frame
from driftloop.training.estimators import columns_of, fit, predict
from driftloop.training.explanation import ExplanationError, explain_window
from driftloop.training.importance import MAX_ROWS, permutation_importances
from driftloop.training.train import train
from support.training_rows import make_rows, make_spec

SAMPLED = DriftRules(multivariate=MultivariateRules(methods=[MultivariateMethod(method="mmd")], sample_rows=200))


def sampled_spec(task: str, estimator: str | None = None) -> ModelSpec:
    return msgspec.structs.replace(make_spec(task, estimator), drift=SAMPLED)


def window_of(spec: ModelSpec, profile: ReferenceProfile, frame: pd.DataFrame) -> InputStats:
    stats = InputStats(profile)
    stats.update(columns_of(spec, frame), len(frame), [f"p{at}" for at in range(len(frame))])
    return stats


# -- importances ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_features_that_matter_have_importance(task: str) -> None:
    spec = make_spec(task)
    trained = train(spec, from_frame(spec, *make_rows(task, rows=800)), None, seed=1)
    found = trained.profile.importances
    assert set(found) == {"x", "colour", "noise"}
    assert found["x"] > found["colour"] > 3 * found["noise"] >= 0.0


def test_importances_of_a_linear_model_are_known() -> None:
    """Shuffling a feature of weight w and variance v adds 2 w**2 v to the squared error."""
    rng = np.random.default_rng(3)
    spec = ModelSpec(
        model="m",
        task="regression",
        features={"p": FeatureSpec(kind="numeric"), "q": FeatureSpec(kind="numeric")},
        training=make_spec("regression", "sklearn.linear_model.LinearRegression").training,
    )
    frame = pd.DataFrame({"p": rng.normal(size=3_000), "q": rng.normal(size=3_000)})
    labels = 2.0 * frame["p"].to_numpy() - 0.5 * frame["q"].to_numpy()
    pipeline = fit(spec, frame, labels)
    found = permutation_importances(pipeline, spec, frame, labels, seed=2)
    assert found["p"] == pytest.approx(8.0, rel=0.15)
    assert found["q"] == pytest.approx(0.5, rel=0.15)
    assert found == permutation_importances(pipeline, spec, frame, labels, seed=2)
    assert found != permutation_importances(pipeline, spec, frame, labels, seed=4)
    assert len(frame) > MAX_ROWS


# -- vectors and texts ---------------------------------------------------------------------------------------------


def test_training_sets_keep_vectors_and_texts_and_models_do_without() -> None:
    spec = make_spec("binary")
    features = {**spec.features, "e": FeatureSpec(kind="vector", length=2), "t": FeatureSpec(kind="text")}
    spec = msgspec.structs.replace(spec, features=features)
    frame, labels, times = make_rows("binary")
    frame["e"] = pd.Series([None if at % 7 == 0 else [float(at), 1.0] for at in range(400)], dtype=object)
    frame["t"] = pd.Series([None if at % 5 == 0 else f"word{at % 3} again" for at in range(400)], dtype=object)
    data = from_frame(spec, frame, labels, times)
    again = TrainingSet.from_parquet(spec, data.to_parquet())
    pd.testing.assert_frame_equal(again.frame, data.frame)
    assert again.to_parquet() == data.to_parquet()
    trained = train(spec, again, None, seed=1)
    assert [gate.passed for gate in trained.gates] == [True, True, True]
    assert {"e#norm", "t#length", "t#unknown_words"} < set(trained.profile.features)
    assert trained.profile.vocabularies == {"t": ["again", "word0", "word1", "word2"]}
    assert trained.profile.sample is not None
    assert set(trained.profile.importances) == {"x", "colour", "noise"}
    column = np.asarray(columns_of(spec, data.frame)["e"])
    assert math.isnan(column[0, 0])
    assert column[1].tolist() == [1.0, 1.0]


# -- explanations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_shifted_feature_explains_the_change(task: str) -> None:
    spec = sampled_spec(task)
    frame, labels, _ = make_rows(task, rows=600)
    profile = ReferenceProfile.build(spec, columns_of(spec, frame), model_version="v1")
    shifted, _, _ = make_rows(task, rows=600, seed=5)
    shifted["x"] = shifted["x"] + 1.0
    explanation = explain_window(spec, fit(spec, frame, labels), window_of(spec, profile, shifted), pairs=800)
    attribution = explanation.attribution
    assert attribution.exact == (task == "regression")
    assert (explanation.rows, explanation.reference_rows) == (200, 400)
    first = attribution.contributions[0]
    assert first.feature == "x"
    assert first.standard_error is not None
    assert abs(first.value) > 5 * first.standard_error
    assert sum(part.value for part in attribution.contributions) + attribution.remainder == pytest.approx(
        attribution.change
    )
    assert abs(attribution.remainder) < 1e-9


def test_a_linear_regressor_behind_products_of_features_is_not_exact() -> None:
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import PolynomialFeatures

    spec = sampled_spec("regression")
    frame, _, _ = make_rows("regression", rows=300)
    frame = frame.fillna(0.0)
    profile = ReferenceProfile.build(spec, columns_of(spec, frame), model_version="v1")
    window = window_of(spec, profile, frame.assign(x=frame["x"] + 1.0))
    for degree, exact in ((1, True), (2, False)):
        prepare = ColumnTransformer([("products", PolynomialFeatures(degree), ["x", "noise"])])
        pipeline = Pipeline([("prepare", prepare), ("model", Ridge())]).fit(frame, frame["x"] * (1 + frame["noise"]))
        attribution = explain_window(spec, pipeline, window, pairs=600).attribution
        assert attribution.exact is exact
        assert abs(attribution.remainder) < 1e-9


def test_the_means_are_those_of_the_model_on_the_sampled_rows() -> None:
    spec = sampled_spec("binary", "sklearn.tree.DecisionTreeClassifier")
    frame, labels, _ = make_rows("binary", rows=300)
    profile = ReferenceProfile.build(spec, columns_of(spec, frame), model_version="v1")
    pipeline = fit(spec, frame, labels)
    stats = window_of(spec, profile, frame.iloc[:100])
    explanation = explain_window(spec, pipeline, stats, pairs=100)
    assert stats.sample is not None
    assert profile.sample is not None
    assert explanation.attribution.window_mean == pytest.approx(predict(pipeline, spec, stats.sample.columns()).mean())
    assert explanation.attribution.reference_mean == pytest.approx(
        predict(pipeline, spec, profile.sample.columns).mean()
    )
    assert explanation.output == "probability of class 1"


def test_what_cannot_be_explained_is_said() -> None:
    frame, labels, _ = make_rows("multiclass", rows=300)
    spec = sampled_spec("multiclass")
    pipeline = fit(spec, frame, labels)
    unsampled = make_spec("multiclass")
    profile = ReferenceProfile.build(unsampled, columns_of(unsampled, frame), model_version="v1")
    with pytest.raises(ExplanationError, match="no rows of this window were sampled"):
        explain_window(spec, pipeline, window_of(unsampled, profile, frame))
    profile = ReferenceProfile.build(spec, columns_of(spec, frame), model_version="v1")
    stats = window_of(spec, profile, frame)
    with pytest.raises(ExplanationError, match="no class 'purple'"):
        explain_window(spec, pipeline, stats, output_class="purple")
    with pytest.raises(ExplanationError, match="no sampled rows"):
        explain_window(spec, pipeline, InputStats(profile))
    wider = msgspec.structs.replace(spec, features={**spec.features, "new": FeatureSpec(kind="numeric")})
    with pytest.raises(ExplanationError, match="no feature 'new'"):
        explain_window(wider, pipeline, stats)
    chosen = explain_window(spec, pipeline, stats, output_class="high", pairs=10)
    assert chosen.output == "probability of high"
