"""What moved a prediction: exact where the model is a sum over features, else within its error."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy.special import logit
from sklearn.pipeline import Pipeline

from driftloop.audit.moved import Moved, moved, seed_of
from driftloop.profiles.columns import Columns, select_rows
from driftloop.spec.model import ModelSpec
from driftloop.spec.training import RiverSpec, TrainingSpec
from driftloop.training.estimators import columns_of, feature_frame, fit, predict
from support.training_rows import make_rows, make_spec


def world(task: str, estimator: str | None = None, **more: object) -> tuple[ModelSpec, Pipeline, Columns]:
    spec = make_spec(task, estimator, **more)  # type: ignore[arg-type]
    frame, labels, _ = make_rows(task)
    return spec, fit(spec, frame, labels), columns_of(spec, frame)


def of(found: Moved) -> dict[str, float]:
    return {part.feature: part.value for part in found.parts}


def terms(pipeline: Pipeline, spec: ModelSpec, columns: Columns, coefficients: np.ndarray) -> dict[str, np.ndarray]:
    """Coefficient times encoded value, summed over the encoded columns of each feature, found by their names."""
    encoded = pipeline[:-1].transform(feature_frame(spec, columns))
    names = pipeline[:-1].get_feature_names_out()
    found = {name: np.zeros(len(encoded)) for name in spec.features}
    for at, name in enumerate(names):
        plain = name.split("__", 1)[1].removeprefix("missingindicator_")
        owner = next(feature for feature in spec.features if plain == feature or plain.startswith(f"{feature}_"))
        found[owner] += encoded[:, at] * coefficients[at]
    return found


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_a_linear_model_is_exact_by_coefficient_and_mean(task: str) -> None:
    spec, pipeline, background = world(task)
    coefficients = np.atleast_2d(pipeline[-1].coef_)
    for place in range(0, 400, 37):
        row = select_rows(background, [place])
        found = moved(spec, pipeline, background, row, seed=1)
        assert found.exact
        chosen = int(predict(pipeline, spec, row)[0].argmax()) if task == "multiclass" else 0
        weights = coefficients[chosen] - (coefficients.mean(axis=0) if task == "multiclass" else 0.0)
        mean, here = terms(pipeline, spec, background, weights), terms(pipeline, spec, row, weights)
        for name, value in of(found).items():
            assert value == pytest.approx(here[name][0] - mean[name].mean(), abs=1e-9)
        assert abs(found.base + math.fsum(of(found).values()) - found.output) < 1e-9
        assert abs(found.remainder) < 1e-9
        said = predict(pipeline, spec, row)[0]
        if task == "binary":
            assert found.output == pytest.approx(logit(said), abs=1e-9)
        if task == "regression":
            assert found.output == pytest.approx(said, abs=1e-12)
        if task == "multiclass":
            assert found.output == pytest.approx(math.log(said[chosen]) - np.log(said).mean(), abs=1e-9)
        assert [abs(part.value) for part in found.parts] == sorted((abs(v) for v in of(found).values()), reverse=True)
        assert all(part.standard_error is None for part in found.parts)


def test_missing_and_unseen_values_are_exact_too() -> None:
    spec, pipeline, background = world("binary")
    row = {"x": np.array([math.nan]), "colour": ["pink"], "noise": np.array([1e6])}
    found = moved(spec, pipeline, background, row, seed=1)
    assert found.exact
    assert abs(found.remainder) < 1e-9 * abs(found.output)
    assert found.parts[0].feature == "noise"


def test_a_sampled_background_gives_linear_contributions_an_error() -> None:
    spec, pipeline, background = world("binary")
    row = select_rows(background, [3])
    whole = moved(spec, pipeline, background, row, seed=1)
    part = moved(spec, pipeline, select_rows(background, range(0, 400, 4)), row, seed=1, sampled=True)
    for one in part.parts:
        assert one.standard_error is not None
        assert abs(one.value - of(whole)[one.feature]) < 4 * one.standard_error


def test_a_linear_river_model_is_exact() -> None:
    training = TrainingSpec(river=RiverSpec(model="river.linear_model.LogisticRegression"), minimum_rows=50)
    import msgspec

    spec = msgspec.structs.replace(make_spec(), training=training)
    frame, labels, _ = make_rows()
    pipeline, background = fit(spec, frame, labels), columns_of(spec, frame)
    found = moved(spec, pipeline, background, select_rows(background, [3]), seed=1)
    assert found.exact
    assert abs(found.remainder) < 1e-9
    assert found.output == pytest.approx(logit(predict(pipeline, spec, select_rows(background, [3]))[0]), abs=1e-9)


def exact_values(spec: ModelSpec, pipeline: Pipeline, background: Columns, row: Columns) -> dict[str, float]:
    """Shapley's formula over all subsets of features, each with the whole background."""
    names, rows = list(spec.features), len(next(iter(background.values())))
    held = select_rows(row, [0] * rows)

    def worth(chosen: tuple[str, ...]) -> float:
        mixed = {name: (held if name in chosen else background)[name] for name in names}
        return float(predict(pipeline, spec, mixed).mean())

    found = {}
    for name in names:
        others = [other for other in names if other != name]
        total = 0.0
        for size in range(len(names)):
            share = math.factorial(size) * math.factorial(len(names) - size - 1) / math.factorial(len(names))
            total += share * sum(worth((*some, name)) - worth(some) for some in combinations(others, size))
        found[name] = total
    return found


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_sampled_values_are_those_of_all_subsets_within_their_error(task: str) -> None:
    kind = "Regressor" if task == "regression" else "Classifier"
    spec, pipeline, background = world(
        task, f"sklearn.tree.DecisionTree{kind}", training={"parameters": {"max_depth": 5}}
    )
    for place in (3, 77):
        row = select_rows(background, [place])
        found = moved(spec, pipeline, background, row, seed=seed_of(f"p{place}"))
        assert not found.exact
        assert found.output == predict(pipeline, spec, row)[0]
        # Efficiency: nothing is left over, whatever was drawn.
        assert abs(found.remainder) < 1e-12
        truth = exact_values(spec, pipeline, background, row)
        for part in found.parts:
            assert part.standard_error is not None
            assert abs(part.value - truth[part.feature]) <= 4 * part.standard_error + 1e-12, part
        again = moved(spec, pipeline, background, row, seed=seed_of(f"p{place}"))
        assert again == found
        other = moved(spec, pipeline, background, row, seed=seed_of("another"))
        assert of(other) != of(found)


def test_a_small_background_is_used_whole_and_errors_are_honest() -> None:
    """Over many seeds the spread is about what the standard error says, from few rows."""
    spec, pipeline, background = world("regression", "sklearn.tree.DecisionTreeRegressor")
    row = select_rows(background, [5])
    found = []
    rng = np.random.default_rng(0)
    for seed in range(12):
        some = select_rows(background, rng.choice(400, 60, replace=False).tolist())
        found.append(moved(spec, pipeline, some, row, seed=seed, pairs=120))
    for name in ("x", "colour"):
        values = np.array([of(one)[name] for one in found])
        errors = [part.standard_error for one in found for part in one.parts if part.feature == name]
        assert 0.4 < values.std(ddof=1) / np.mean(errors) < 2.0  # type: ignore[arg-type]


def test_a_linear_model_behind_products_of_features_is_sampled() -> None:
    """``coef_`` alone does not make the output a sum over features."""
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import PolynomialFeatures

    spec = make_spec("regression")
    rng = np.random.default_rng(0)
    background: Columns = {name: rng.normal(size=100) for name in ("x", "noise")} | {"colour": ["a"] * 100}
    from sklearn.compose import ColumnTransformer

    prepare = ColumnTransformer([("products", PolynomialFeatures(2), ["x", "noise"])])
    frame = feature_frame(spec, background)
    pipeline = Pipeline([("prepare", prepare), ("model", Ridge())]).fit(frame, frame["x"] * frame["noise"])
    found = moved(spec, pipeline, background, select_rows(background, [1]), seed=0, pairs=200)
    assert not found.exact
    assert abs(found.remainder) < 1e-12
    assert of(found)["colour"] == 0.0


def test_nothing_to_compare_with_is_said() -> None:
    spec, pipeline, background = world("binary")
    with pytest.raises(ValueError, match="no row to compare with"):
        moved(spec, pipeline, select_rows(background, []), select_rows(background, [0]), seed=0)
