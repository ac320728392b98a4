"""Anderson-Darling, Cramér-von Mises and Mann-Whitney from counts against scipy on the raw values."""

from __future__ import annotations

import warnings
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from driftloop.drift.anderson_darling import anderson_darling
from driftloop.drift.cramer_von_mises import cramer_von_mises
from driftloop.drift.mann_whitney import mann_whitney
from driftloop.drift.pairs import Outcome
from support.drift_pairs import numeric_pair

Values = NDArray[np.float64]


def samples(seed: int) -> tuple[Values, Values]:
    """Continuous; every third pair with ties on anchors, window values between anchors still apart from each other."""
    random = np.random.default_rng(seed)
    reference = random.normal(size=random.integers(2, 480))
    window = random.normal(0.03 * seed, 1.2, random.integers(2, 3_000))
    if seed % 3 == 0:
        reference = reference.round(1)
        rounded = window.round(1)
        window = np.where(np.isin(rounded, reference), rounded, window)
    return reference, window


def scipy_anderson(reference: Values, window: Values) -> tuple[float, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = stats.anderson_ksamp([window, reference], variant="midrank")
    return float(result.statistic), float(result.pvalue)


def number(outcome: Outcome) -> tuple[float, float]:
    assert outcome.statistic is not None
    assert outcome.p_value is not None
    return outcome.statistic, outcome.p_value


@pytest.mark.parametrize("seed", range(30))
def test_anderson_darling_statistic(seed: int) -> None:
    reference, window = samples(seed)
    ours, p_value = number(anderson_darling(numeric_pair(reference, window)))
    theirs, their_p_value = scipy_anderson(reference, window)
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-9)
    # scipy interpolates a table of seven quantiles and stops at its ends.
    if 0.001 < their_p_value < 0.25:
        assert p_value == pytest.approx(their_p_value, rel=0.25)
    elif their_p_value == 0.25:
        assert p_value > 0.2
    else:
        assert p_value < 0.0015


def test_anderson_darling_p_value_against_permutations() -> None:
    random = np.random.default_rng(1)
    for draw in (random.normal, lambda size: random.poisson(0.7, size).astype(float)):
        reference, window = draw(size=90), draw(size=60) + (0.45 if draw == random.normal else 0.0)
        ours, p_value = number(anderson_darling(numeric_pair(reference, window)))
        pooled = np.append(reference, window)
        larger = 0
        for _ in range(1_500):
            random.shuffle(pooled)
            larger += number(anderson_darling(numeric_pair(pooled[:90], pooled[90:])))[0] >= ours - 1e-12
        assert p_value == pytest.approx(larger / 1_500, rel=0.15, abs=0.005)


def test_anderson_darling_of_two_values_is_pearson_s_chi_square() -> None:
    reference, window = np.repeat([0.0, 1.0], [700, 300]), np.repeat([0.0, 1.0], [60, 40])
    _, p_value = number(anderson_darling(numeric_pair(reference, window)))
    table = [[700, 300], [60, 40]]
    assert p_value == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue, rel=5e-3)


@pytest.mark.parametrize("seed", [seed for seed in range(30) if seed % 3])
def test_cramer_von_mises_without_ties(seed: int) -> None:
    reference, window = samples(seed)
    theirs = stats.cramervonmises_2samp(window, reference, method="asymptotic")
    ours, p_value = number(cramer_von_mises(numeric_pair(reference, window)))
    assert ours == pytest.approx(theirs.statistic, rel=1e-9)
    if theirs.pvalue > 1e-6:
        assert p_value == pytest.approx(theirs.pvalue, rel=1e-9, abs=2e-9)  # of which scipy is not sure
    else:
        assert p_value < 1e-6


def test_cramer_von_mises_with_ties_is_the_mean_over_their_orders() -> None:
    random = np.random.default_rng(2)
    reference, window = random.normal(size=40).round(), random.normal(0.5, 1, 25).round()
    broken = []
    for _ in range(1_500):
        jitter = random.uniform(0, 0.5, 65)
        broken.append(stats.cramervonmises_2samp(window + jitter[:25], reference + jitter[25:]).statistic)
    ours, _ = number(cramer_von_mises(numeric_pair(reference, window)))
    assert ours == pytest.approx(np.mean(broken), abs=4 * np.std(broken) / 1_500**0.5)


def test_cramer_von_mises_does_not_take_ties_for_drift_as_scipy_does() -> None:
    random = np.random.default_rng(3)
    reference, window = (random.random(300) < 0.2) * 1.0, (random.random(40) < 0.2) * 1.0
    assert stats.cramervonmises_2samp(window, reference).pvalue < 1e-7
    assert number(cramer_von_mises(numeric_pair(reference, window)))[1] > 0.1


@pytest.mark.parametrize("scale", [1, 1_000, 40_000])
def test_cramer_von_mises_of_large_counts(scale: int) -> None:
    """Up to sums beyond 64 bits, against fractions."""
    reference, window = [30, 40, 30], [10, 15, 25]
    pair = numeric_pair(*(np.repeat([1.0, 2.0, 3.0], np.multiply(side, scale)) for side in (reference, window)))
    m, n = 100 * scale, 50 * scale
    total, before, window_before = 0, 0, 0
    for r, c in zip(reference, window, strict=True):
        r, c = r * scale, c * scale
        total += n * c * (6 * before * (before + r) + r * (2 * r + 1))
        total += m * r * (6 * window_before * (window_before + c) + c * (2 * c + 1))
        before, window_before = before + r, window_before + c
    expected = Fraction(total, 6 * n * m * (n + m)) - Fraction(4 * n * m - 1, 6 * (n + m))
    assert (pair.reference_rows, pair.rows) == (m, n)
    assert number(cramer_von_mises(pair))[0] == float(expected)


@pytest.mark.parametrize("seed", range(30))
def test_mann_whitney(seed: int) -> None:
    reference, window = samples(seed)
    theirs = stats.mannwhitneyu(window, reference, method="asymptotic")
    outcome = mann_whitney(numeric_pair(reference, window))
    ours, p_value = number(outcome)
    superiority = theirs.statistic / reference.size / window.size
    assert ours == pytest.approx(abs(superiority - 0.5), abs=1e-12)
    assert outcome.change == pytest.approx(superiority - 0.5, abs=1e-12)
    assert p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert outcome.low is not None
    assert outcome.high is not None
    assert outcome.low <= ours <= outcome.high


def test_mann_whitney_interval_covers() -> None:
    random = np.random.default_rng(5)
    truth = stats.norm.cdf(0.5 / 2**0.5) - 0.5
    covered = 0
    for _ in range(600):
        outcome = mann_whitney(numeric_pair(random.normal(size=150), random.normal(0.5, 1, 90)))
        assert outcome.low is not None
        assert outcome.high is not None
        covered += outcome.low <= truth <= outcome.high
    assert 0.93 * 600 <= covered <= 0.975 * 600


@pytest.mark.parametrize("seed", range(4))
def test_with_quantile_anchors_the_statistics_are_close(seed: int) -> None:
    random = np.random.default_rng(seed)
    reference, window = random.gamma(2, size=20_000), random.gamma(2 + 0.02 * seed, size=5_000)
    pair = numeric_pair(reference, window)
    largest_share = pair.reference_counts[0::2].max() / pair.reference_rows
    assert largest_share <= 1 / 511 + 1e-4
    theirs = stats.mannwhitneyu(window, reference, method="asymptotic")
    superiority = theirs.statistic / reference.size / window.size
    change = mann_whitney(pair).change
    assert change == pytest.approx(superiority - 0.5, abs=largest_share / 2)
    assert change == pytest.approx(superiority - 0.5, abs=2e-5)
    cvm = stats.cramervonmises_2samp(window, reference, method="asymptotic")
    ours = number(cramer_von_mises(pair))[0]
    place = float((pair.counts / 5_000 + pair.reference_counts / 20_000).max())
    assert ours == pytest.approx(cvm.statistic, abs=5_000 * 20_000 / 25_000 * (2 * pair.ks + place) * place)
    assert ours == pytest.approx(cvm.statistic, rel=0.01)
    assert number(anderson_darling(pair))[0] == pytest.approx(scipy_anderson(reference, window)[0], abs=0.05)


def test_too_few_or_equal_values() -> None:
    assert anderson_darling(numeric_pair([1.0], [2.0, 3.0])) == Outcome(None)
    assert cramer_von_mises(numeric_pair([1.0], [2.0, 3.0])) == Outcome(None)
    constant = numeric_pair([5.0] * 9, [5.0] * 4)
    assert anderson_darling(constant) == Outcome(0.0, p_value=1.0)
    assert number(cramer_von_mises(constant))[1] > 0.3
    assert number(mann_whitney(constant)) == (0.0, 1.0)
    assert number(mann_whitney(numeric_pair([1.0], [2.0]))) == (0.5, 1.0)
