"""Energy and Wasserstein distance, shifts of mean and quantiles, and distances over bins, against scipy and numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from driftloop.drift.binned import hellinger, kullback_leibler, l_infinity, total_variation
from driftloop.drift.distances import psi
from driftloop.drift.pairs import NumericPair, Outcome
from driftloop.drift.shifts import mean_shift, median_shift, quantile_05_shift, quantile_95_shift
from driftloop.drift.transport import energy_normed, energy_raw, wasserstein_normed, wasserstein_raw
from support.drift_pairs import numeric_pair

Values = NDArray[np.float64]


def sparse(seed: int) -> tuple[Values, Values]:
    """Window values on anchors, and at most one in each interval and beyond the ends: everything is known."""
    random = np.random.default_rng(seed)
    reference = np.unique(random.normal(10, 3, 300).round(2))
    on_anchors = random.choice(reference, 400)
    gaps = random.permutation(reference.size - 1)[:60]
    shares = random.uniform(size=60)
    between = reference[gaps] * (1 - shares) + reference[gaps + 1] * shares
    outside = [reference[0] - 1.7, reference[-1] + 0.4][: seed % 3]
    return random.choice(reference, 500), np.concatenate([on_anchors, between, outside])


def value(outcome: Outcome) -> float:
    assert outcome.statistic is not None
    return outcome.statistic


@pytest.mark.parametrize("seed", range(20))
def test_energy_distance_where_every_value_is_known(seed: int) -> None:
    reference, window = sparse(seed)
    reference = np.unique(np.append(reference, []))  # distinct: the anchors themselves
    window = window[(window == window) & (np.isin(window, reference) | lonely(window, reference))]
    pair = numeric_pair(reference, window)
    assert pair.reference.exact
    assert value(energy_raw(pair)) == pytest.approx(stats.energy_distance(reference, window), rel=1e-9)
    deviation = reference.std(ddof=1)
    assert value(energy_normed(pair)) == pytest.approx(
        stats.energy_distance(reference, window) / deviation**0.5, rel=1e-9
    )


def lonely(window: Values, reference: Values) -> NDArray[np.bool_]:
    """Values that share the gap between two reference values with no other one."""
    gaps = reference.searchsorted(window)
    off = ~np.isin(window, reference)
    crowd = np.bincount(gaps[off], minlength=reference.size + 1)
    return off & (crowd[gaps] == 1)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("anchors", [512, 64])
def test_energy_distance_stays_within_its_bound(seed: int, anchors: int) -> None:
    random = np.random.default_rng(seed)
    reference, window = random.normal(size=3_000), random.normal(0.05 * seed, 1, 700)
    pair = numeric_pair(reference, window, anchors)
    share = pair.counts[2:-1:2] / 700 + pair.reference_counts[2:-1:2] / 3_000
    bound = float((pair.reference.widths * share**2).sum()) / 4
    for distances, count in ((pair.window.below, pair.counts[0]), (pair.window.above, pair.counts[-1])):
        bound += distances * max(int(count) - 1, 0) / 700**2
    ours, theirs = value(energy_raw(pair)), stats.energy_distance(reference, window)
    assert abs(ours**2 - theirs**2) / 2 <= bound
    assert ours == pytest.approx(theirs, rel=0.05 if anchors == 512 else 0.2)


@pytest.mark.parametrize("shift", [5.0, -8.0, 100.0])
def test_energy_distance_beyond_the_reference(shift: float) -> None:
    random = np.random.default_rng(4)
    reference, window = random.normal(size=5_000), random.normal(shift, 1, 800)
    theirs = stats.energy_distance(reference, window)
    assert value(energy_raw(numeric_pair(reference, window))) == pytest.approx(theirs, rel=0.01)


def test_normed_distances_do_not_depend_on_the_unit() -> None:
    random = np.random.default_rng(5)
    reference, window = random.normal(size=400), random.normal(0.4, 1, 300)
    one, other = numeric_pair(reference, window), numeric_pair(reference * 1024, window * 1024)
    for method in (energy_normed, wasserstein_normed, mean_shift, median_shift):
        assert value(method(one)) == pytest.approx(value(method(other)), rel=1e-12)
    assert value(wasserstein_raw(other)) == pytest.approx(1024 * value(wasserstein_raw(one)), rel=1e-12)
    assert value(energy_raw(other)) == pytest.approx(32 * value(energy_raw(one)), rel=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_mean_shift_and_welch_s_interval(seed: int) -> None:
    random = np.random.default_rng(seed)
    reference = random.normal(3, 2, random.integers(3, 3_000))
    window = random.normal(3 + 0.2 * (seed % 5 - 2), 3, random.integers(2, 900))
    outcome = mean_shift(numeric_pair(reference, window))
    deviation = reference.std(ddof=1)
    shift = (window.mean() - reference.mean()) / deviation
    assert outcome.change == pytest.approx(shift, rel=1e-9, abs=1e-12)
    interval = stats.ttest_ind(window, reference, equal_var=False).confidence_interval(0.95)
    low, high = interval.low / deviation, interval.high / deviation
    if low <= 0 <= high:
        expected = (0.0, max(-low, high))
    else:
        expected = (min(abs(low), abs(high)), max(abs(low), abs(high)))
    assert (outcome.low, outcome.high) == pytest.approx(expected, rel=1e-9)


QUANTILES = [(0.05, quantile_05_shift), (0.5, median_shift), (0.95, quantile_95_shift)]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("level", "method"), QUANTILES)
def test_quantile_shifts_are_exact_on_anchors_and_close_between(seed: int, level: float, method: object) -> None:
    assert callable(method)
    random = np.random.default_rng(seed)
    reference, window = random.normal(size=250), random.normal(0.3, 1, 400)
    on_anchors = random.choice(reference, 177)
    for values, tolerance in ((on_anchors, 1e-12), (window, None)):
        outcome = method(numeric_pair(reference, values))
        theirs = np.quantile(values, level, method="inverted_cdf") - np.quantile(
            reference, level, method="inverted_cdf"
        )
        deviation = reference.std(ddof=1)
        if tolerance is None:  # between the same two anchors as the true one
            quantile = np.quantile(values, level, method="inverted_cdf")
            around = np.concatenate([[values.min()], np.sort(reference), [values.max()]])
            place = int(np.sort(reference).searchsorted(quantile))
            tolerance = abs(around[place + 1] - around[place]) / deviation + 1e-12
        assert outcome.change == pytest.approx(theirs / deviation, abs=tolerance)
        assert outcome.statistic == abs(outcome.change)


@pytest.mark.parametrize(("level", "method"), QUANTILES)
@pytest.mark.parametrize("rows", [60, 300])
def test_quantile_intervals_cover(level: float, method: object, rows: int) -> None:
    assert callable(method)
    random = np.random.default_rng(rows)
    missed = 0
    for _ in range(400):
        reference, window = random.lognormal(size=400), 1.5 * random.lognormal(size=rows)
        outcome = method(numeric_pair(reference, window))
        truth = 0.5 * math.exp(stats.norm.ppf(level)) / reference.std(ddof=1)
        missed += outcome.low is not None and truth < outcome.low
        missed += outcome.high is not None and truth > outcome.high
    assert missed <= 0.05 * 400


def test_open_sides_of_quantile_intervals() -> None:
    outcome = quantile_95_shift(numeric_pair(np.arange(500.0), np.arange(20.0)))
    assert outcome.change is not None
    assert outcome.change < 0
    assert outcome.low == 0.0  # the window's upper bound is open, so no change cannot be excluded
    assert outcome.high is None


def test_a_constant_reference() -> None:
    for pair, share in ((numeric_pair([5.0] * 10, [5.0, 5.0, 6.0, 7.0]), 0.5), (numeric_pair([5.0] * 10, [5.0]), 0.0)):
        assert value(wasserstein_normed(pair)) == value(energy_normed(pair)) == value(mean_shift(pair)) == share
        assert value(quantile_95_shift(pair)) == share
        assert value(median_shift(pair)) == 0.0
        assert mean_shift(pair).low is None
    assert value(energy_raw(numeric_pair([5.0] * 10, [6.0] * 4))) == pytest.approx(2**0.5)


def test_distances_over_counts_against_scipy() -> None:
    random = np.random.default_rng(6)
    for bins in (1, 2, 9, 300):
        reference, window = random.integers(1, 90, bins), random.integers(1, 40, bins)
        p, q = reference / reference.sum(), window / window.sum()
        affinity = float(np.sqrt(p * q).sum())
        assert hellinger(reference, window) == pytest.approx(math.sqrt(max(1 - affinity, 0)), abs=2e-8)
        assert total_variation(reference, window) == pytest.approx(np.abs(p - q).sum() / 2, abs=1e-12)
        assert l_infinity(reference, window) == pytest.approx(np.abs(p - q).max(), abs=1e-12)
        both = [kullback_leibler(reference, window), kullback_leibler(window, reference)]
        assert all(distance is not None for distance in both)
        assert psi(reference, window) == pytest.approx(sum(d for d in both if d is not None), rel=1e-9, abs=1e-12)
        many = kullback_leibler(reference * 10**9, window * 10**9)
        assert many == pytest.approx(stats.entropy(q, p), rel=1e-6, abs=1e-9)
    for distance in (hellinger, total_variation, l_infinity):
        assert distance(np.array([4, 0]), np.array([0, 9])) == 1.0
    for distance in (hellinger, total_variation, l_infinity, kullback_leibler):
        assert distance(np.array([0, 0]), np.array([0, 9])) is None
        assert distance(np.array([2, 4]), np.array([1, 2])) == pytest.approx(0.0, abs=1e-15)


def test_pairs_share_what_methods_need() -> None:
    pair = numeric_pair(np.arange(50.0), np.arange(30.0))
    assert pair.bins is pair.bins
    assert pair.before is pair.before
    assert isinstance(pair, NumericPair)
