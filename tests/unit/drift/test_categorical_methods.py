"""G-test, Fisher's exact test, z-test and lost categories against scipy and known answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from driftloop.drift.companions import chi_square, g_test
from driftloop.drift.lost_categories import find_lost, lost_number, lost_share
from driftloop.drift.pairs import Outcome
from driftloop.drift.two_valued import fisher_exact, fisher_two_sided, z_test
from support.drift_pairs import categorical_pair, counted_pair


@pytest.mark.parametrize("seed", range(20))
def test_g_test(seed: int) -> None:
    random = np.random.default_rng(seed)
    table = random.integers(20, 200, (2, int(random.integers(2, 30))))
    theirs = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
    outcome = g_test(counted_pair(table[0].tolist(), table[1].tolist()))
    assert outcome.statistic == pytest.approx(theirs.statistic, rel=1e-9)
    # Williams' factor by hand, from the margins.
    total, degrees = table.sum(), theirs.dof
    inverse_rows, inverse_columns = (total / table.sum(axis=1)).sum() - 1, (total / table.sum(axis=0)).sum() - 1
    factor = 1 + inverse_rows * inverse_columns / (6 * total * degrees)
    assert factor >= 1
    assert outcome.p_value == pytest.approx(stats.chi2.sf(theirs.statistic / factor, degrees), rel=1e-9)


def test_g_test_of_one_category() -> None:
    assert g_test(counted_pair([9], [4])) == Outcome(0.0, p_value=1.0)


TABLES = [(3, 50, 100, 1_000), (40, 200, 100, 10_000), (5, 5, 0, 7), (0, 9, 4, 7), (900, 1_000, 40, 50), (7, 9, 1, 30)]


@pytest.mark.parametrize(("hits", "rows", "reference_hits", "reference_rows"), TABLES)
def test_fisher_exact(hits: int, rows: int, reference_hits: int, reference_rows: int) -> None:
    table = [[hits, rows - hits], [reference_hits, reference_rows - reference_hits]]
    theirs = stats.fisher_exact(table).pvalue
    assert fisher_two_sided(hits, rows, reference_hits, reference_rows) == pytest.approx(theirs, rel=1e-9)
    outcome = fisher_exact(counted_pair([reference_hits, reference_rows - reference_hits], [hits, rows - hits]))
    assert outcome.p_value == pytest.approx(theirs, rel=1e-9)
    assert outcome.statistic == pytest.approx(abs(hits / rows - reference_hits / reference_rows), abs=1e-12)
    assert outcome.low is not None
    assert outcome.high is not None
    assert outcome.low <= outcome.statistic <= outcome.high <= 1.0


@pytest.mark.parametrize("seed", range(60))
def test_fisher_of_random_tables(seed: int) -> None:
    random = np.random.default_rng(seed)
    table = random.integers(0, [10, 60, 500][seed % 3], (2, 2)) + random.integers(0, 2, (2, 2))
    hits, rows = int(table[0, 0]), int(table[0].sum())
    reference_hits, reference_rows = int(table[1, 0]), int(table[1].sum())
    theirs = stats.fisher_exact(table).pvalue
    assert fisher_two_sided(hits, rows, reference_hits, reference_rows) == pytest.approx(theirs, rel=1e-8)


def test_fisher_of_large_tables() -> None:
    """Far from independence, and where the normal approximation takes over."""
    assert fisher_two_sided(90_000, 100_000, 10, 1_000_000) < 1e-300
    outcome = fisher_exact(counted_pair([50_000, 150_000], [25_300, 74_700]))
    theirs = stats.fisher_exact([[25_300, 74_700], [50_000, 150_000]]).pvalue
    assert outcome.p_value == pytest.approx(theirs, rel=0.01)


@pytest.mark.parametrize("seed", range(20))
def test_z_test_is_the_chi_square_test_of_two_values(seed: int) -> None:
    random = np.random.default_rng(seed)
    table = random.integers(10, 300, (2, 2))
    theirs = stats.chi2_contingency(table, correction=False).pvalue
    assert z_test(counted_pair(table[0].tolist(), table[1].tolist())).p_value == pytest.approx(theirs, rel=1e-9)


def test_z_test_is_exact_where_the_normal_approximation_is_not() -> None:
    outcome = z_test(counted_pair([2, 998], [2, 48]))
    assert outcome.p_value == pytest.approx(stats.fisher_exact([[2, 998], [2, 48]]).pvalue, rel=1e-9)


def test_newcombe_s_interval() -> None:
    """R. G. Newcombe 1998, table II, method 10, example (a): 56/70 less 48/80 is 0.2 with 0.0524 to 0.3339."""
    outcome = z_test(counted_pair([32, 48], [14, 56]))
    assert outcome.statistic == pytest.approx(0.2)
    assert (outcome.low, outcome.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_more_than_two_values_get_no_number() -> None:
    three = counted_pair([5, 5, 5], [3, 3, 3])
    two_unseen = categorical_pair(["a"] * 9, ["x", "y"])
    for test in (fisher_exact, z_test):
        assert test(three) == test(two_unseen) == Outcome(None)
        one_unseen = test(categorical_pair(["a"] * 30, ["a"] * 3 + ["x"] * 3))
        assert one_unseen.statistic == 0.5
        assert one_unseen.p_value == pytest.approx(stats.fisher_exact([[30, 0], [3, 3]]).pvalue, rel=1e-9)
        assert test(counted_pair([9], [4])).p_value == 1.0


def test_lost_categories() -> None:
    pair = counted_pair([500, 300, 190, 10], [60, 40, 0, 0])
    lost = find_lost(pair)
    assert (lost.number, lost.share) == (1, 0.19)
    # Only the third is too frequent to be absent by chance; the fourth is absent from 36 % of such windows.
    absent = stats.hypergeom.pmf(0, 1_100, 190, 100)
    assert lost.p_value == pytest.approx(4 * absent, rel=1e-9)
    assert lost_number(pair) == Outcome(1.0, p_value=lost.p_value)
    assert lost_share(pair) == Outcome(0.19, p_value=lost.p_value)
    assert find_lost(counted_pair([5, 5], [1, 1])) == (0, 0.0, 1.0)


def test_a_rare_category_is_not_lost_by_chance() -> None:
    random = np.random.default_rng(1)
    shares = random.dirichlet(np.ones(200))
    found = 0
    for _ in range(200):
        reference, window = random.multinomial(5_000, shares).tolist(), random.multinomial(400, shares).tolist()
        found += find_lost(counted_pair(reference, window)).number > 0
    assert found <= 7  # 2 expected at most


def test_unseen_categories_do_not_look_like_drift_because_they_are_unseen() -> None:
    """60 categories, many of them rare: each sample has some that the other has not."""
    random = np.random.default_rng(2)
    shares = random.dirichlet(np.ones(60))
    alarms = 0
    for _ in range(400):
        pair = counted_pair(random.multinomial(500, shares).tolist(), random.multinomial(500, shares).tolist())
        p_value = chi_square(pair).p_value
        assert p_value is not None
        alarms += p_value < 0.05
    assert alarms <= stats.binom.ppf(0.999, 400, 0.05)


def test_a_new_category_is_seen_in_spite_of_the_pool() -> None:
    pair = categorical_pair(["a"] * 700 + ["b"] * 290 + ["rare"] * 10, ["a"] * 160 + ["b"] * 60 + ["new"] * 30)
    assert pair.pooled.pooled == 2
    assert pair.chi_square.p_value < 1e-6
