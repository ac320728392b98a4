"""The tails that checks are decided by, held to scipy's distributions."""

from __future__ import annotations

import pytest
from scipy import stats

from driftloop.quality.tails import (
    all_hits,
    binomial_at_least,
    negative_binomial_at_least,
    negative_binomial_at_most,
    no_hits,
    student_above,
)


@pytest.mark.parametrize(("hits", "rows", "rate"), [(3, 100, 0.01), (1, 1, 0.3), (50, 50, 0.9), (700, 100_000, 0.005)])
def test_binomial(hits: int, rows: int, rate: float) -> None:
    expected = stats.binomtest(hits, rows, rate, alternative="greater").pvalue
    assert binomial_at_least(hits, rows, rate) == pytest.approx(expected, rel=1e-9)


def test_binomial_at_the_ends() -> None:
    assert binomial_at_least(0, 10, 0.0) == 1.0
    assert binomial_at_least(1, 10, 0.0) == 0.0
    assert binomial_at_least(10, 10, 1.0) == 1.0


@pytest.mark.parametrize(("rows", "hits", "reference"), [(10, 5, 20), (100, 990, 1000), (3, 0, 50), (500, 3000, 3000)])
def test_all_and_no_hits_are_fishers_test(rows: int, hits: int, reference: int) -> None:
    table = [[rows, 0], [hits, reference - hits]]
    expected = stats.fisher_exact(table, alternative="greater").pvalue
    assert all_hits(rows, hits, reference) == pytest.approx(expected, rel=1e-9)
    table = [[0, rows], [hits, reference - hits]]
    expected = stats.fisher_exact(table, alternative="less").pvalue
    assert no_hits(rows, hits, reference) == pytest.approx(expected, rel=1e-9)


def test_without_rows_nothing_is_known() -> None:
    assert all_hits(0, 1, 2) == no_hits(0, 1, 2) == all_hits(5, 0, 0) == no_hits(5, 0, 0) == 1.0


@pytest.mark.parametrize("mean", [0.5, 30.0, 2_500.5])
@pytest.mark.parametrize("dispersion", [0.01, 0.3, 4.0])
def test_negative_binomial(mean: float, dispersion: float) -> None:
    known = stats.nbinom(1 / dispersion, 1 / (1 + dispersion * mean))
    assert known.mean() == pytest.approx(mean)
    assert known.var() == pytest.approx(mean + dispersion * mean**2)
    for count in (0, 1, 10, round(mean), 3 * round(mean) + 2):
        assert negative_binomial_at_most(count, mean, dispersion) == pytest.approx(known.cdf(count), rel=1e-9)
        assert negative_binomial_at_least(count, mean, dispersion) == pytest.approx(known.sf(count - 1), rel=1e-9)
    assert negative_binomial_at_most(-1, mean, dispersion) == 0.0


def test_student() -> None:
    assert student_above(2.5, 7) == pytest.approx(stats.t(7).sf(2.5), rel=1e-12)
