"""A/A pairs: under no drift, no method's p-value is below 0.05 or 0.01 more often than chance explains.

Seeds are fixed. The bound is the 99.9 % quantile of the binomial distribution.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import stats

from driftloop.drift import pairs, significance
from driftloop.drift.methods import categorical_method, numeric_method
from driftloop.spec.methods import METHODS, method_names
from support.drift_pairs import counted_pair, numeric_pair

PAIRS = 1_000


@pytest.fixture(autouse=True)
def _ks_p_values_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exact null distribution takes milliseconds, and few statistics are possible."""
    monkeypatch.setattr(pairs, "ks_p_value", cache(significance.ks_p_value))


SIZES = [(6, 7), (25, 12), (1_200, 90)]
NUMERIC_TESTS = [name for name in method_names("numeric") if METHODS[name].test]
CATEGORICAL_TESTS = [name for name in method_names("categorical") if METHODS[name].test]

DRAWS: dict[str, Callable[[Generator, int], NDArray[np.float64]]] = {
    "continuous": lambda random, size: random.lognormal(size=size),
    "rounded": lambda random, size: random.normal(size=size).round(),
    "two values": lambda random, size: (random.random(size) < 0.2) * 1.0,
    "many zeros": lambda random, size: np.where(random.random(size) < 0.6, 0.0, random.exponential(size=size)),
}
SHARES = {
    "two": [0.7, 0.3],
    "one is rare": [0.97, 0.03],
    "five": [0.4, 0.3, 0.15, 0.1, 0.05],
    "sixty": np.random.default_rng(8).dirichlet(np.ones(60)).tolist(),
}


def assert_not_anti_conservative(p_values: dict[str, list[float]]) -> None:
    for name, found in p_values.items():
        for level in (0.05, 0.01):
            alarms = sum(p_value < level for p_value in found)
            assert alarms <= stats.binom.ppf(0.999, PAIRS, level), (name, level, alarms)


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize(("reference_rows", "rows"), SIZES)
def test_numeric_tests(draw: str, reference_rows: int, rows: int) -> None:
    random = np.random.default_rng(reference_rows)
    p_values: dict[str, list[float]] = {name: [] for name in NUMERIC_TESTS}
    for _ in range(PAIRS):
        pair = numeric_pair(DRAWS[draw](random, reference_rows), DRAWS[draw](random, rows))
        for name, found in p_values.items():
            p_value = numeric_method(name)(pair).p_value
            assert p_value is not None
            found.append(p_value)
    assert_not_anti_conservative(p_values)


def test_numeric_tests_with_quantile_anchors() -> None:
    random = np.random.default_rng(1)
    p_values: dict[str, list[float]] = {name: [] for name in NUMERIC_TESTS}
    for _ in range(PAIRS):
        pair = numeric_pair(random.normal(size=950), random.normal(size=100), max_anchors=64)
        for name, found in p_values.items():
            p_value = numeric_method(name)(pair).p_value
            assert p_value is not None
            found.append(p_value)
    assert_not_anti_conservative(p_values)


@pytest.mark.parametrize("shares", SHARES)
@pytest.mark.parametrize(("reference_rows", "rows"), SIZES)
def test_categorical_tests(shares: str, reference_rows: int, rows: int) -> None:
    random = np.random.default_rng(rows)
    p_values: dict[str, list[float]] = {name: [] for name in CATEGORICAL_TESTS}
    for _ in range(PAIRS):
        reference = random.multinomial(reference_rows, SHARES[shares]).tolist()
        pair = counted_pair(reference, random.multinomial(rows, SHARES[shares]).tolist())
        for name, found in p_values.items():
            p_value = categorical_method(name)(pair).p_value
            if p_value is not None:  # tests for two values have none for more
                found.append(p_value)
    assert_not_anti_conservative(p_values)
