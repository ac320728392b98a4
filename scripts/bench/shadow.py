#!/usr/bin/env python
"""How often a shadow promotes a challenger that is no better, and how soon one that is: beside tests with a fixed n.

Two binary models say the truth's probability with noise; the challenger's has less noise by a chosen amount. Each day
brings ``--rows`` pairs, and after each day somebody looks, for ``--days`` days. Compared are

- the confidence sequence of :mod:`driftloop.shadow`, which may be looked at after every day;
- a paired t-test at the same level (one-sided), looked at after every day, as people do;
- the same t-test looked at once, on the last day, as it is meant.

    PYTHONPATH=app .venv/bin/python scripts/bench/shadow.py --runs 4000
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from driftloop.concept import bets

Floats = NDArray[np.float64]


def differences(rng: np.random.Generator, shape: tuple[int, ...], less_noise: float) -> Floats:
    """Champion's Brier loss less the challenger's."""
    truth = rng.random(shape)
    labels = (rng.random(shape) < truth).astype(np.float64)
    champion = np.clip(truth + rng.normal(0.0, 0.15, shape), 0.0, 1.0)
    challenger = np.clip(truth + rng.normal(0.0, 0.15 - less_noise, shape), 0.0, 1.0)
    return np.asarray((champion - labels) ** 2 - (challenger - labels) ** 2)


def log_capitals(d: Floats) -> Floats:
    """ln of the capital against "no better", after each day; ``d`` (runs, days, rows). See shadow/verdict.py."""
    x = 0.5 + 0.5 * d
    days, rows = x.shape[1:]
    n = rows * np.arange(1, days + 1)
    total = x.sum(axis=2).cumsum(axis=1)
    guesses = (0.5 + np.c_[np.zeros(len(x)), total[:, :-1]]) / (1.0 + n - rows)
    spread = ((x - guesses[:, :, None]) ** 2).sum(axis=2).cumsum(axis=1)
    log = np.full(total.shape, -np.inf)
    # One bet after the other, as log_factors gives them for one comparison.
    for bet, weight in enumerate(bets.LOG_WEIGHTS):
        if bet < bets._TILTS.size:
            gain = bets._TILTS[bet] * total - n * np.log1p(0.5 * bets._EXPM1[bet])
        else:
            stake = bet - bets._TILTS.size
            gain = bets._STAKES[stake] * (total - 0.5 * n) - bets._PSI[stake] * spread
        log = np.logaddexp(log, weight + gain)
    return log


def t_statistics(d: Floats) -> Floats:
    days, rows = d.shape[1:]
    n = rows * np.arange(1, days + 1)
    total, squares = d.sum(axis=2).cumsum(axis=1), (d * d).sum(axis=2).cumsum(axis=1)
    variance = (squares - total * total / n) / (n - 1)
    return np.asarray(total / np.sqrt(n * variance))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4000)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    critical = float(stats.norm.ppf(1.0 - options.alpha))
    line = math.log(1.0 / options.alpha)
    started = time.monotonic()
    print(f"{options.runs} runs, {options.days} days of {options.rows} pairs, level {options.alpha:g}")
    print(f"{'improvement':>12} {'of a spread':>12} {'sequence':>10} {'days':>6} {'t, daily':>10} {'t, once':>10}")
    for less_noise in (0.0, 0.02, 0.05, 0.1, 0.15):
        found: dict[str, list[Floats]] = {
            "sequence": [],
            "peeked": [],
            "once": [],
            "days": [],
            "mean": [],
            "spread": [],
        }
        for start in range(0, options.runs, 100):
            count = min(100, options.runs - start)
            d = differences(rng, (count, options.days, options.rows), less_noise)
            crossed = log_capitals(d) >= line
            t = t_statistics(d)
            promoted = crossed.any(axis=1)
            found["sequence"].append(promoted)
            found["days"].append(crossed.argmax(axis=1)[promoted] + 1.0)
            found["peeked"].append((t >= critical).any(axis=1))
            found["once"].append(t[:, -1] >= critical)
            found["mean"].append(d.mean(keepdims=True).ravel())
            found["spread"].append(d.std(keepdims=True).ravel())
        joined = {name: np.concatenate(parts) for name, parts in found.items()}
        days = f"{np.median(joined['days']):.0f}" if len(joined["days"]) else "-"
        print(
            f"{joined['mean'].mean():12.4f} {joined['spread'].mean():12.3f} {joined['sequence'].mean():10.1%} "
            f"{days:>6} {joined['peeked'].mean():10.1%} {joined['once'].mean():10.1%}"
        )
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
