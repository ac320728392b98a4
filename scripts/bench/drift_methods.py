"""Time of each drift method on a window, against scipy's function on the raw values, in the same run.

    .venv/bin/python scripts/bench/drift_methods.py --rows 100000 --reference-rows 10000

The window's counts are there when a method is called: counting is done once for all methods, as rows come in, and is
the first line. Each method starts from a fresh pair, so what methods share is in every line; the last line has all
methods of a kind on one pair. The best of several runs is printed.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats
from scipy.spatial.distance import jensenshannon

from driftloop.drift.methods import categorical_method, numeric_method
from driftloop.drift.pairs import CategoricalPair, NumericPair
from driftloop.profiles.categorical import CategoricalReference, CategoricalSummary
from driftloop.profiles.numeric import NumericReference, NumericSummary
from driftloop.spec.methods import METHODS, method_names


def best_us(call: Callable[[], Any], seconds: float) -> float:
    """Microseconds of the fastest call within so many seconds (three calls at least)."""
    best, end, calls = float("inf"), time.perf_counter() + seconds, 0
    while calls < 3 or time.perf_counter() < end:
        began = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - began)
        calls += 1
    return best * 1e6


def scipy_numeric(reference: np.ndarray, window: np.ndarray) -> dict[str, Callable[[], Any]]:
    def histograms() -> tuple[np.ndarray, np.ndarray]:
        edges = np.quantile(reference, np.arange(1, 10) / 10)
        return tuple(np.bincount(edges.searchsorted(side), minlength=10) / side.size for side in (reference, window))

    def quantile_shift(level: float) -> Callable[[], Any]:
        return lambda: (
            stats.quantile_test(window, p=level).confidence_interval(),
            stats.quantile_test(reference, p=level).confidence_interval(),
        )

    return {
        "ks": lambda: stats.ks_2samp(window, reference, method="asymp"),
        "wasserstein": lambda: stats.wasserstein_distance(reference, window),
        "wasserstein_raw": lambda: stats.wasserstein_distance(reference, window),
        "energy": lambda: stats.energy_distance(reference, window),
        "energy_raw": lambda: stats.energy_distance(reference, window),
        "anderson_darling": lambda: stats.anderson_ksamp([window, reference], variant="midrank"),
        "cramer_von_mises": lambda: stats.cramervonmises_2samp(window, reference, method="asymptotic"),
        "mann_whitney": lambda: stats.mannwhitneyu(window, reference, method="asymptotic"),
        "jensen_shannon": lambda: jensenshannon(*histograms(), base=2),
        "kullback_leibler": lambda: stats.entropy(*reversed(histograms())),
        "mean_shift": lambda: stats.ttest_ind(window, reference, equal_var=False).confidence_interval(),
        "median_shift": quantile_shift(0.5),
        "quantile_05_shift": quantile_shift(0.05),
        "quantile_95_shift": quantile_shift(0.95),
    }


def scipy_categorical(reference: np.ndarray, window: np.ndarray) -> dict[str, Callable[[], Any]]:
    def table() -> np.ndarray:
        names = np.unique(np.concatenate([reference, window]))
        return np.vstack([np.bincount(names.searchsorted(side), minlength=names.size) for side in (reference, window)])

    return {
        "chi_square": lambda: stats.chi2_contingency(table(), correction=False),
        "g_test": lambda: stats.chi2_contingency(table(), correction=False, lambda_="log-likelihood"),
        "jensen_shannon": lambda: jensenshannon(*table(), base=2),
        "kullback_leibler": lambda: stats.entropy(*reversed(table())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--reference-rows", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=0.3, help="for each line and side")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    random = np.random.default_rng(arguments.seed)
    reference, window = random.normal(size=arguments.reference_rows), random.normal(0.05, 1, arguments.rows)
    names = np.array([f"category {index:03}" for index in range(50)])
    shares = random.dirichlet(np.ones(50))
    old, new = (random.choice(names, size, p=shares) for size in (arguments.reference_rows, arguments.rows))
    pairs = [
        ("yes", random.choice(["no", "yes"], arguments.reference_rows, p=[0.7, 0.3])),
        ("yes", random.choice(["no", "yes"], arguments.rows, p=[0.69, 0.31])),
    ]

    numeric_reference = NumericReference.build(reference)
    categorical_reference = CategoricalReference.build(old.tolist())

    def count_numeric() -> NumericSummary:
        summary = NumericSummary(numeric_reference)
        summary.update(window)
        summary.rows  # noqa: B018  (counts what is pending)
        return summary

    def count_categorical(built: CategoricalReference, values: list[str]) -> CategoricalSummary:
        summary = CategoricalSummary(built)
        summary.update(values)
        return summary

    new_list = new.tolist()
    summary, categories = count_numeric(), count_categorical(categorical_reference, new_list)
    two_reference = CategoricalReference.build(pairs[0][1].tolist())
    two = count_categorical(two_reference, pairs[1][1].tolist())
    table = Table("kind", "method", "driftloop, µs", "scipy on raw values, µs")
    seconds = arguments.seconds

    def line(kind: str, name: str, ours: Callable[[], Any], theirs: Callable[[], Any] | None) -> None:
        their_us = f"{best_us(theirs, seconds):,.0f}" if theirs else ""
        table.add_row(kind, name, f"{best_us(ours, seconds):,.0f}", their_us)

    peers = scipy_numeric(reference, window)
    line("numeric", "(counting)", count_numeric, None)

    def on_numeric(method: Callable[[NumericPair], Any]) -> None:
        method(NumericPair(numeric_reference, summary))

    for name in method_names("numeric"):
        method = numeric_method(name)
        line("numeric", name, partial(on_numeric, method), peers.get(name))

    def all_numeric() -> None:
        pair = NumericPair(numeric_reference, summary)
        for name in method_names("numeric"):
            numeric_method(name)(pair)

    line("numeric", "(all methods)", all_numeric, None)
    peers = scipy_categorical(old, new)
    line("categorical", "(counting)", lambda: count_categorical(categorical_reference, new_list), None)

    def on_categorical(method: Callable[[CategoricalPair], Any], counted: CategoricalSummary) -> None:
        method(CategoricalPair(counted.reference, counted))

    for name in method_names("categorical"):
        two_valued = name in ("fisher_exact", "z_test")
        counted = two if two_valued else categories
        line("categorical", name, partial(on_categorical, categorical_method(name), counted), peers.get(name))
    Console().print(f"window of {arguments.rows:,} rows, reference of {arguments.reference_rows:,}", table)
    assert set(METHODS) == {*method_names("numeric"), *method_names("categorical")}


if __name__ == "__main__":
    main()
