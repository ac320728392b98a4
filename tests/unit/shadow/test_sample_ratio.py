"""The split of the arms: evidence that may be looked at after every row."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special

from driftloop.shadow.sample_ratio import ratio_e_value, ratio_log_e_value


def test_it_is_the_bayes_factor_of_a_uniform_prior() -> None:
    for champion, challenger, share in ((3, 5, 0.5), (40, 9, 0.1), (0, 7, 0.2)):
        grid = (np.arange(200_000) + 0.5) / 200_000
        marginal = float((grid**challenger * (1.0 - grid) ** champion).mean())
        planned = share**challenger * (1.0 - share) ** champion
        assert ratio_e_value(champion, challenger, share) == pytest.approx(marginal / planned, rel=1e-9)


def test_it_never_overflows_and_counts_nothing_as_nothing() -> None:
    assert ratio_e_value(0, 0, 0.3) == 1.0
    assert math.isfinite(ratio_e_value(10**9, 10**9, 0.1))


def _log_e_values(chosen: np.ndarray, share: float) -> np.ndarray:  # type: ignore[type-arg]
    """After every row, shape (runs, rows)."""
    n = np.arange(1, chosen.shape[1] + 1)
    k = chosen.cumsum(axis=1)
    c = n - k
    beta = special.gammaln(1.0 + c) + special.gammaln(1.0 + k) - special.gammaln(2.0 + n)
    return np.asarray(beta - k * math.log(share) - c * math.log1p(-share))


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_planned_splits_alarm_in_fewer_than_alpha_of_1000_runs_at_2000_looks(share: float) -> None:
    chosen = np.random.default_rng(7).random((1000, 2000)) < share
    found = _log_e_values(chosen, share)
    first = int(chosen[0].sum())
    assert found[0, -1] == pytest.approx(ratio_log_e_value(2000 - first, first, share))
    assert (found >= math.log(1.0 / 0.05)).any(axis=1).sum() < 50


def test_60_to_40_is_found_where_half_and_half_is_planned() -> None:
    found = _log_e_values(np.random.default_rng(8).random((200, 2000)) < 0.4, 0.5)
    assert (found >= math.log(1000.0)).any(axis=1).mean() > 0.99
