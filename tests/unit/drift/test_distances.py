"""Distances against scipy and known answers."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from numpy.typing import ArrayLike
from scipy import stats
from scipy.spatial.distance import jensenshannon

from driftloop.drift.distances import (
    category_counts,
    decile_counts,
    jensen_shannon,
    ks_statistic,
    psi,
    scaled_wasserstein,
    wasserstein,
)
from driftloop.profiles.anchors import NumericReference
from driftloop.profiles.categorical import CategoricalReference, CategoricalSummary
from driftloop.profiles.numeric import NumericSummary

pytestmark = pytest.mark.filterwarnings("error")  # no overflow or invalid operation goes unnoticed


def pair(reference: ArrayLike, current: ArrayLike, max_anchors: int = 512) -> tuple[NumericReference, NumericSummary]:
    built = NumericReference.build(np.asarray(reference, dtype=np.float64), max_anchors)
    summary = NumericSummary(built)
    summary.update(np.asarray(current, dtype=np.float64))
    return built, summary


@pytest.mark.parametrize("seed", range(30))
def test_ks_is_exact_while_every_reference_value_is_an_anchor(seed: int) -> None:
    random = np.random.default_rng(seed)
    size = int(random.integers(1, 500))
    reference = random.normal(size=size)
    current = random.normal(0.3, 1.5, int(random.integers(1, 900)))
    if seed % 3 == 0:
        reference, current = reference.round(), current.round()
    ours = ks_statistic(*pair(reference, current))
    assert ours == pytest.approx(stats.ks_2samp(reference, current, method="asymp").statistic, abs=1e-15)


@pytest.mark.parametrize("seed", range(5))
def test_ks_with_quantile_anchors_is_close_and_never_larger(seed: int) -> None:
    random = np.random.default_rng(seed)
    reference, current = random.gamma(2, size=20_000), random.gamma(2.1, size=3_000)
    ours = ks_statistic(*pair(reference, current))
    true = stats.ks_2samp(reference, current, method="asymp").statistic
    assert ours is not None
    assert true - 1 / 511 - 1e-4 <= ours <= true + 1e-15


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("shift", [0.0, 0.2, 3.0, -40.0])
def test_wasserstein(seed: int, shift: float) -> None:
    random = np.random.default_rng(seed)
    reference = random.normal(10, 2, int(random.integers(2, 5_000)))
    current = random.normal(10 + shift, 2.5, int(random.integers(1, 2_000)))
    built, summary = pair(reference, current)
    true = stats.wasserstein_distance(reference, current)
    assert wasserstein(built, summary) == pytest.approx(true, abs=4e-3)
    assert scaled_wasserstein(built, summary) == pytest.approx(true / np.std(reference, ddof=1), abs=2e-3)


def test_wasserstein_is_exact_without_crossings() -> None:
    # Every value moves up: the current distribution function lies below the reference's everywhere.
    random = np.random.default_rng(3)
    reference = random.normal(size=300)
    current = reference + random.exponential(size=300)
    true = stats.wasserstein_distance(reference, current)
    assert wasserstein(*pair(reference, current)) == pytest.approx(true, rel=1e-8)
    large = random.normal(size=9_000)
    assert wasserstein(*pair(large, large + 1.75)) == pytest.approx(1.75, rel=1e-8)


def test_a_constant_reference_gives_the_share_that_differs() -> None:
    assert scaled_wasserstein(*pair([5.0] * 10, [5.0, 5.0, 5.0, 6.0])) == 0.25
    assert wasserstein(*pair([5.0] * 10, [5.0, 5.0, 5.0, 6.0])) == 0.25
    assert ks_statistic(*pair([5.0] * 10, [5.0, 4.0])) == 0.5
    assert scaled_wasserstein(*pair([5.0] * 10, [5.0] * 3)) == 0.0


def test_extremes_stay_finite() -> None:
    largest = sys.float_info.max
    for reference, current in (
        ([-largest, 0.0, largest], [largest, 0.0, -largest]),
        ([0.0, 1.0], [largest] * 5),
        ([0.0, 5e-324], [largest, -largest]),
        ([largest] * 2, [-largest] * 2),
        ([-largest, largest], [0.0, 1.0]),
    ):
        built, summary = pair(reference, current)
        values = [wasserstein(built, summary), scaled_wasserstein(built, summary), ks_statistic(built, summary)]
        values += [psi(*decile_counts(built, summary)), jensen_shannon(*decile_counts(built, summary))]
        assert all(value is not None and math.isfinite(value) and value >= 0 for value in values)


def test_nothing_to_compare_gives_none() -> None:
    for reference, current in (([], [1.0]), ([1.0], []), ([math.nan], [math.nan]), ([1.0], [math.inf])):
        built, summary = pair(reference, current)
        assert ks_statistic(built, summary) is None
        assert wasserstein(built, summary) is None
        assert scaled_wasserstein(built, summary) is None
        assert psi(*decile_counts(built, summary)) is None
        assert jensen_shannon(*decile_counts(built, summary)) is None


def test_jensen_shannon_agrees_with_scipy() -> None:
    random = np.random.default_rng(11)
    for bins in (1, 2, 7, 100):
        reference = random.integers(0, 50, bins)
        current = random.integers(0, 9, bins)
        reference[0], current[-1] = 3, 4
        ours = jensen_shannon(reference, current)
        assert ours == pytest.approx(jensenshannon(reference, current, base=2), abs=1e-9)
    assert jensen_shannon(np.array([5, 0]), np.array([0, 2])) == 1.0
    assert jensen_shannon(np.array([5, 1]), np.array([10, 2])) == 0.0


def test_jensen_shannon_with_unseen_categories_pooled_equals_that_with_each_apart() -> None:
    reference = CategoricalReference.build(["a"] * 6 + ["b"] * 4)
    summary = CategoricalSummary(reference)
    summary.update(["a", "a", "b", "x", "y", "y"])
    pooled = category_counts(reference, summary)
    assert [counts.tolist() for counts in pooled] == [[6, 4, 0], [2, 1, 3]]
    apart = jensenshannon([6, 4, 0, 0], [2, 1, 1, 2], base=2)
    assert jensen_shannon(*pooled) == pytest.approx(apart, abs=1e-12)


def test_psi_known_answer_and_smoothing() -> None:
    reference, current = np.array([500_000, 300_000, 200_000]), np.array([400_000, 400_000, 200_000])
    plain = 0.1 * math.log(0.5 / 0.4) + 0.1 * math.log(0.4 / 0.3)
    assert psi(reference, current) == pytest.approx(plain, rel=1e-4)
    # By hand: B = 2, pooled shares 3/4 and 1/4 of 4 rows, one pseudo-row on either side.
    smoothed = (2.75 / 3 - 1.75 / 3) * math.log(2.75 / 1.75) + (0.25 / 3 - 1.25 / 3) * math.log(0.25 / 1.25)
    assert psi(np.array([2, 0]), np.array([1, 1])) == pytest.approx(smoothed, rel=1e-12)
    assert psi(np.array([2, 0, 0]), np.array([1, 1, 0])) == psi(np.array([2, 0]), np.array([1, 1]))
    assert psi(np.array([70, 30]), np.array([7, 3])) == pytest.approx(0.0, abs=1e-15)


def test_deciles_of_a_continuous_reference() -> None:
    random = np.random.default_rng(2)
    built, summary = pair(random.normal(size=10_000), random.normal(size=500))
    reference, current = decile_counts(built, summary)
    assert reference.shape == (10,)
    assert np.all(np.abs(reference - 1_000) <= 40)
    assert (reference.sum(), current.sum()) == (10_000, 500)


def test_frequent_values_have_bins_of_their_own() -> None:
    built, summary = pair([0.0] * 95 + [1.0] * 5, [0.0] * 10 + [-1.0, 0.5, 2.0])
    reference, current = decile_counts(built, summary)
    assert reference.tolist() == [0, 95, 5]
    assert current.tolist() == [1, 10, 2]
    built, summary = pair([7.0] * 20, [7.0, 8.0, 6.0])
    assert [counts.tolist() for counts in decile_counts(built, summary)] == [[0, 20, 0], [1, 1, 1]]


def test_one_outlier_does_not_hide_a_shift() -> None:
    random = np.random.default_rng(8)
    reference = random.normal(size=10_000)
    shifted = random.normal(2, 1, 2_000)
    clean = decile_counts(*pair(reference, shifted))
    spoiled = decile_counts(*pair(np.append(reference, 1e6), np.append(shifted, 1e6)))
    for distance in (psi, jensen_shannon):
        before, after = distance(*clean), distance(*spoiled)
        assert before is not None
        assert after == pytest.approx(before, rel=0.02)
        assert before > 0.5
