"""p-values against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from driftloop.drift.multiple_testing import CORRECTIONS, benjamini_hochberg, bonferroni
from driftloop.drift.significance import chi_square_of_table, fisher_greater, ks_p_value, pool_rare_categories


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 5), (7, 7), (20, 33), (200, 100), (64, 900), (500, 500)])
@pytest.mark.parametrize("shift", [0.0, 0.3, 2.0])
def test_exact_ks(n: int, m: int, shift: float) -> None:
    random = np.random.default_rng(n * m)
    result = stats.ks_2samp(random.normal(size=n), random.normal(shift, 1, m), method="exact")
    assert ks_p_value(result.statistic, n, m) == pytest.approx(result.pvalue, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(2_000, 10), (1_500, 100), (10_000, 500), (26_000, 1_300), (100_000, 40_000)])
@pytest.mark.parametrize("z", [0.3, 0.5, 0.7, 1.0, 1.3, 1.48, 1.49, 1.8, 2.2, 3.0, 3.7])
def test_large_sample_ks(n: int, m: int, z: float) -> None:
    effective = round(n * m / (n + m))
    statistic = min(z / effective**0.5, 1.0)
    expected = stats.kstwo.sf(statistic, effective)
    assert ks_p_value(statistic, n, m) == pytest.approx(expected, rel=0.01, abs=1e-3 if expected > 0.025 else 0.0)


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.1, 0.3])
def test_large_sample_ks_of_data(shift: float) -> None:
    random = np.random.default_rng(6)
    result = stats.ks_2samp(random.normal(size=10_000), random.normal(shift, 1, 900), method="asymp")
    assert ks_p_value(result.statistic, 10_000, 900) == pytest.approx(result.pvalue, rel=1e-3)


def test_ks_bounds() -> None:
    assert ks_p_value(0.0, 10, 10) == 1.0
    assert ks_p_value(1.0, 10, 10) == pytest.approx(2 / 184_756, rel=1e-12)
    assert 0.0 <= ks_p_value(1.0, 10**6, 10**6) < 1e-300
    with pytest.raises(ValueError, match="rows on both sides"):
        ks_p_value(0.5, 0, 10)


@pytest.mark.parametrize("seed", range(20))
def test_chi_square_without_rare_categories(seed: int) -> None:
    random = np.random.default_rng(seed)
    table = random.integers(20, 200, (2, int(random.integers(2, 30))))
    ours = chi_square_of_table(pool_rare_categories(table[0], table[1]))
    theirs = stats.chi2_contingency(table, correction=False)
    assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-12)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (ours.degrees_of_freedom, ours.pooled) == (theirs.dof, 0)


def test_rare_categories_are_pooled_until_the_pool_expects_enough() -> None:
    reference = np.array([500, 2, 300, 1, 40, 0, 0])
    current = np.array([50, 1, 30, 0, 4, 3, 0])
    # Expected on the window's side: 4.1 for the category with 44 rows, less for the three others. Pooled they expect
    # 4.8, which is too few still, so the next one joins them.
    pooled = np.array([[343, 500], [38, 50]])
    ours = chi_square_of_table(pool_rare_categories(reference, current))
    theirs = stats.chi2_contingency(pooled, correction=False)
    assert (ours.pooled, ours.degrees_of_freedom) == (5, 1)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-9)


def test_chi_square_without_anything_to_compare() -> None:
    for counts in (([1, 2], [0, 0]), ([100, 0], [50, 0])):
        assert chi_square_of_table(pool_rare_categories(*map(np.array, counts))).p_value == 1.0


def test_chi_square_false_alarms_do_not_grow_with_the_window() -> None:
    """A goodness-of-fit test against 10,000 reference rows alarms on 63 % of windows of 5,000 here; this must not."""
    random = np.random.default_rng(4)
    shares = random.dirichlet(np.ones(50) * 5)
    alarms = 0
    for _ in range(300):
        table = pool_rare_categories(random.multinomial(10_000, shares), random.multinomial(5_000, shares))
        alarms += chi_square_of_table(table).p_value < 0.05
    assert 3 <= alarms <= 30  # 15 expected


@pytest.mark.parametrize(
    ("hits", "rows", "reference_hits", "reference_rows"),
    [(1, 100, 0, 10_000), (3, 50, 100, 1_000), (40, 200, 100, 10_000), (5, 5, 0, 7), (10, 100, 1_000, 1_000)],
)
def test_fisher(hits: int, rows: int, reference_hits: int, reference_rows: int) -> None:
    table = np.array([[hits, rows - hits], [reference_hits, reference_rows - reference_hits]])
    theirs = stats.fisher_exact(table, alternative="greater").pvalue
    assert fisher_greater(hits, rows, reference_hits, reference_rows) == pytest.approx(theirs, rel=1e-8)


def test_fisher_of_large_tables_is_close_to_the_exact_one() -> None:
    for hits in (10_000, 10_150, 10_300, 10_600):
        theirs = stats.hypergeom.sf(hits - 1, 300_000, 20_000 + hits, 100_000)
        ours = fisher_greater(hits, 100_000, 20_000, 200_000)
        assert ours == pytest.approx(theirs, rel=0.1, abs=2e-3)
    assert fisher_greater(0, 100, 5, 100) == 1.0
    assert fisher_greater(3, 0, 5, 100) == 1.0
    assert fisher_greater(3, 10, 0, 0) == 1.0


@pytest.mark.parametrize("size", [0, 1, 2, 13, 200])
def test_benjamini_hochberg_agrees_with_scipy(size: int) -> None:
    random = np.random.default_rng(size)
    p_values = random.uniform(size=size) ** 3
    p_values[::4] = p_values[:1] if size else p_values[::4]
    expected = stats.false_discovery_control(p_values).tolist() if size else []
    assert benjamini_hochberg(p_values.tolist()) == pytest.approx(expected, rel=1e-12)


def test_bonferroni_and_none() -> None:
    assert bonferroni([0.01, 0.6]) == [0.02, 1.0]
    assert CORRECTIONS["none"]([0.01, 0.6]) == [0.01, 0.6]
