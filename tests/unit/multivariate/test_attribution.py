"""Contributions to a change of the mean output: known answers, sums, and the definition by all orders."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from driftloop.multivariate.attribution import (
    NotAdditive,
    additive_contributions,
    linear_contributions,
    shapley_contributions,
)
from driftloop.multivariate.encoding import Matrix
from driftloop.profiles.columns import Columns

NAMES = ["a", "b", "place"]


def make_columns(rows: int, seed: int, shift: float = 0.0) -> Columns:
    rng = np.random.default_rng(seed)
    return {
        "a": rng.normal(shift, 1, rows),
        "b": rng.normal(0, 1 + shift, rows),
        "place": [["x", "y", None][at] for at in rng.integers(0, 3 if shift else 2, rows)],
    }


def additive(columns: Columns) -> Matrix:
    place = np.array([{"x": 1.0, "y": -2.0}.get(str(value), 0.5) for value in columns["place"]])
    return 2 * np.asarray(columns["a"]) + np.asarray(columns["b"]) ** 2 + place


def interacting(columns: Columns) -> Matrix:
    place = np.array([1.0 if value == "x" else -1.0 for value in columns["place"]])
    a, b = np.asarray(columns["a"]), np.asarray(columns["b"])
    return a * b * place + np.tanh(a + b) + 0.3 * place


def parts_of(columns: Columns) -> dict[str, float]:
    place = np.array([{"x": 1.0, "y": -2.0}.get(str(value), 0.5) for value in columns["place"]])
    return {
        "a": 2 * float(np.mean(columns["a"])),  # type: ignore[arg-type]
        "b": float((np.asarray(columns["b"]) ** 2).mean()),
        "place": float(place.mean()),
    }


@pytest.mark.parametrize("sampled", [True, False])
def test_additive_models_are_exact(sampled: bool) -> None:
    before, now = make_columns(40, 1), make_columns(20, 2, shift=1.0)
    expected = {name: parts_of(now)[name] - parts_of(before)[name] for name in NAMES}
    if sampled:
        found = shapley_contributions(additive, before, now, NAMES, pairs=40, seed=3)
    else:
        found = additive_contributions(additive, before, now, NAMES)
    for part in found.contributions:
        assert part.value == pytest.approx(expected[part.feature], abs=1e-12)
        assert part.standard_error is not None
    assert found.change == pytest.approx(sum(expected.values()), abs=1e-12)
    assert found.remainder == pytest.approx(0.0, abs=1e-12)
    assert found.exact is not sampled


def test_linear_models_are_exact() -> None:
    rng = np.random.default_rng(4)
    before, now, coefficients = rng.normal(size=(50, 3)), rng.normal(0.4, 1, (30, 3)), np.array([1.0, -2.0, 0.0])
    found = linear_contributions(coefficients, before, now, ["p", "q", "r"], intercept=7.0)
    expected = coefficients * (now.mean(axis=0) - before.mean(axis=0))
    assert [part.value for part in found.contributions] == pytest.approx(expected.tolist())
    assert found.reference_mean == pytest.approx(7.0 + float((before @ coefficients).mean()))
    assert found.remainder == pytest.approx(0.0, abs=1e-12)
    assert found.contributions[2].standard_error == 0.0
    columns: list[Columns] = [dict(zip("pqr", side.T, strict=True)) for side in (before, now)]
    again = additive_contributions(
        lambda rows: 7.0 + np.column_stack([np.asarray(rows[name]) for name in "pqr"]) @ coefficients, *columns, "pqr"
    )
    assert [part.value for part in again.contributions] == pytest.approx(expected.tolist())


def test_what_is_no_sum_over_features_is_not_called_exact() -> None:
    before, now = make_columns(40, 1), make_columns(20, 2, shift=1.0)

    def products(columns: Columns) -> np.ndarray:
        return additive(columns) + 1e-6 * np.asarray(columns["a"]) * np.asarray(columns["b"])

    def bottomless(columns: Columns) -> np.ndarray:
        return np.where(np.asarray(columns["a"]) == np.asarray(now["a"])[0], -np.inf, additive(columns))

    for model in (products, lambda columns: 1e-12 * products(columns), bottomless):
        with pytest.raises(NotAdditive):
            additive_contributions(model, before, now, NAMES)
    # A sum is one at any scale, and also where not all of its features are asked about.
    for factor in (1e-12, 1e12):
        found = additive_contributions(lambda columns, by=factor: by * additive(columns), before, now, NAMES[:2])
        assert found.exact
        assert found.contributions[0].value == pytest.approx(factor * (parts_of(now)["a"] - parts_of(before)["a"]))


def by_definition(before: Columns, now: Columns) -> dict[str, float]:
    """All orders of the features and all pairs of rows."""
    rows_before, rows_now = len(before["a"]), len(now["a"])
    pairs = list(itertools.product(range(rows_before), range(rows_now)))

    def value(moved: frozenset[str]) -> float:
        mixed: Columns = {
            name: [column[n if name in moved else b] for b, n in pairs]
            if isinstance(column, list)
            else np.array([(now[name] if name in moved else column)[n if name in moved else b] for b, n in pairs])
            for name, column in before.items()
        }
        texts = [now["place"][n] if "place" in moved else before["place"][b] for b, n in pairs]
        return float(interacting({**mixed, "place": texts}).mean())  # type: ignore[dict-item]

    total = dict.fromkeys(NAMES, 0.0)
    for order in itertools.permutations(NAMES):
        for at, name in enumerate(order):
            total[name] += (value(frozenset(order[: at + 1])) - value(frozenset(order[:at]))) / 6
    return total


def test_an_interaction_is_shared_as_the_definition_says() -> None:
    before, now = make_columns(30, 5), make_columns(30, 6, shift=1.0)
    expected = by_definition(before, now)
    found = shapley_contributions(interacting, before, now, NAMES, pairs=9_000, seed=7)
    for part in found.contributions:
        assert part.standard_error is not None
        # The error is that of another sample of rows, far above that of the drawing on these rows.
        assert abs(part.value - expected[part.feature]) < 0.3 * part.standard_error
    assert sum(part.value for part in found.contributions) == pytest.approx(found.change, abs=1e-9)


def test_the_standard_error_is_that_of_other_rows() -> None:
    """Over forty pairs of samples the spread of a contribution is what one of them says."""
    values, errors = [], []
    for seed in range(40):
        found = shapley_contributions(
            interacting, make_columns(60, seed), make_columns(60, 100 + seed, 1.0), NAMES, pairs=600
        )
        values.append(found.contributions[0].value)
        errors.append(found.contributions[0].standard_error)
    assert float(np.std(values)) == pytest.approx(float(np.mean([error or 0.0 for error in errors])), rel=0.4)


def test_unused_features_get_nothing_and_seeds_decide() -> None:
    before, now = {**make_columns(30, 8), "idle": np.zeros(30)}, {**make_columns(31, 9, 1.0), "idle": np.ones(31)}
    names = [*NAMES, "idle"]
    first = shapley_contributions(interacting, before, now, names, pairs=100, seed=1)
    assert first.contributions[3].value == 0.0
    assert first.contributions[3].standard_error == 0.0
    assert first == shapley_contributions(interacting, before, now, names, pairs=100, seed=1)
    assert first != shapley_contributions(interacting, before, now, names, pairs=100, seed=2)
    # 31 rows cannot be used equally often in 100 pairs: what that leaves is said.
    assert 0 < abs(first.remainder) < 0.3
    assert math.isclose(sum(p.value for p in first.contributions) + first.remainder, first.change)


def test_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two pairs"):
        shapley_contributions(interacting, make_columns(3, 1), make_columns(3, 2), NAMES, pairs=1)
    one = shapley_contributions(interacting, make_columns(3, 1), make_columns(1, 2), NAMES, pairs=6)
    assert one.contributions[0].standard_error is None
