"""Tails of sums of squared normals: published quantiles, closed forms, simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from driftloop.drift.quadratic_tail import anderson_darling_tail, cramer_von_mises_tail, quadratic_form_tail


@pytest.mark.parametrize(
    ("x", "probability"),
    [(0.34730, 0.1), (0.46136, 0.05), (0.58061, 0.025), (0.74346, 0.01), (1.16786, 0.001), (0.02480, 0.99)],
)
def test_cramer_von_mises_quantiles(x: float, probability: float) -> None:
    """T. W. Anderson, D. A. Darling, Annals of Mathematical Statistics 23(2), 1952, table 1."""
    assert cramer_von_mises_tail(x) == pytest.approx(probability, rel=2e-4)


@pytest.mark.parametrize(("x", "probability"), [(1.9329578327, 0.1), (2.492367, 0.05), (3.878125, 0.01)])
def test_anderson_darling_quantiles(x: float, probability: float) -> None:
    """G. Marsaglia, J. Marsaglia, "Evaluating the Anderson-Darling distribution", Journal of Statistical Software 9(2),
    2004."""
    assert anderson_darling_tail(x) == pytest.approx(probability, rel=1e-4)


def test_far_tails_keep_falling() -> None:
    """The leading term is exp(-x m_1 / 2) over the square root of x, m_1 being pi**2 and 2."""
    for tail, zero in ((cramer_von_mises_tail, math.pi**2), (anderson_darling_tail, 2.0)):
        for x in (20.0 / zero * 2, 100.0 / zero * 2):
            ratio = tail(2 * x) / tail(x)
            assert ratio == pytest.approx(math.exp(-x * zero / 2) / math.sqrt(2), rel=0.05)
    assert cramer_von_mises_tail(0.001) == anderson_darling_tail(0.01) == 1.0
    assert 0.0 <= anderson_darling_tail(1e6) < 1e-300


@pytest.mark.parametrize("x", [0.1, 1.0, 3.0, 10.0, 60.0])
def test_equal_coefficients_in_pairs_are_gamma(x: float) -> None:
    assert quadratic_form_tail(x, np.array([2.0])) == pytest.approx(stats.chi2.sf(x / 2, 1), rel=1e-9)
    assert quadratic_form_tail(x, np.array([1.0, 1.0])) == pytest.approx(math.exp(-x / 2), rel=1e-9)
    # Two pairs: a sum of two exponentials with means 2 and 1.
    assert quadratic_form_tail(x, np.array([0.5, 1.0, 1.0, 0.5])) == pytest.approx(
        2 * math.exp(-x / 2) - math.exp(-x), rel=1e-9
    )


@pytest.mark.parametrize("coefficients", [[1.0, 0.5, 0.2], [0.6, 0.25, 0.1, 0.04, 0.01], [0.5, 0.3, 1e-17]])
def test_against_simulation(coefficients: list[float]) -> None:
    random = np.random.default_rng(0)
    draws = random.normal(size=(400_000, len(coefficients))) ** 2 @ np.array(coefficients)
    for x in (0.3, 1.0, 2.5, 5.0):
        share = (draws > x).mean()
        assert quadratic_form_tail(x, np.array(coefficients)) == pytest.approx(
            share, abs=4.5 * math.sqrt(share * (1 - share) / draws.size)
        )


def test_many_coefficients_approach_the_limit() -> None:
    k = np.arange(1, 3_000.0)
    for x in (0.5, 2.5, 10.0):
        assert quadratic_form_tail(x, 1 / (k * (k + 1))) == pytest.approx(anderson_darling_tail(x), rel=1e-2)
    assert quadratic_form_tail(1.0, np.array([])) == 0.0
    assert quadratic_form_tail(-1.0, np.array([1.0])) == 1.0
