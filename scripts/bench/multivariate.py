"""Time and false alarms of the methods on sampled rows, and what sampling costs the monitor.

    .venv/bin/python scripts/bench/multivariate.py --rows 500 --features 20
    .venv/bin/python scripts/bench/multivariate.py --peers /path/to/python/with/nannyml

One window of ``--rows`` sampled rows against a reference of twice as many, numeric features and five categorical ones,
with one thread: milliseconds of CPU time for each method, the median of ``--repeats``. With ``--windows N`` each method
is run on N windows without any change, and the shares of p-values below 0.05, 0.01 and 0.001 are printed. With
``--peers`` the same rows are given to NannyML, whose time for one chunk is measured in a process of that Python, with
one thread as well (fitting on the reference apart, since NannyML does that once).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from driftloop.multivariate.correlation import correlation_change
from driftloop.multivariate.domain_classifier import linear_classifier, text_classifier, tree_classifier
from driftloop.multivariate.encoding import ordinal_matrix, score_matrix
from driftloop.multivariate.kernel import centroid_shift, mmd
from driftloop.multivariate.outcome import Effect, one_thread
from driftloop.multivariate.reconstruction import pca_reconstruction
from driftloop.profiles.columns import Columns, select_rows
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec import parse_spec

CATEGORICAL = 5
VECTOR_LENGTH = 384
_PEER = """
import json, os, sys, time
os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
import warnings; warnings.filterwarnings("ignore")
import nannyml, pandas as pd
given = json.load(sys.stdin)
reference, window = (pd.DataFrame(given[side]) for side in ("reference", "window"))
found = {"nannyml": nannyml.__version__}
for name, kind in (
    ("reconstruction", nannyml.DataReconstructionDriftCalculator), ("classifier", nannyml.DomainClassifierCalculator)
):
    if name not in given["methods"]:
        continue
    options = {"column_names": list(reference.columns)} if name == "reconstruction" else {
        "feature_column_names": list(reference.columns)}
    calculator = kind(chunk_size=len(window), **options)
    start = time.process_time(); calculator.fit(reference); fitted = time.process_time()
    calculator.calculate(window)
    found[name] = {"fit_ms": 1000 * (fitted - start), "window_ms": 1000 * (time.process_time() - fitted)}
print(json.dumps(found))
"""


def make_rows(rows: int, features: int, rng: np.random.Generator) -> Columns:
    columns: dict[str, np.ndarray | list[str | None]] = {
        f"x{at}": rng.normal(size=rows) for at in range(features - CATEGORICAL)
    }
    for at in range(CATEGORICAL):
        columns[f"k{at}"] = ["abcdefgh"[value] for value in np.minimum(rng.geometric(0.4, rows) - 1, 7)]
    return columns


def methods(
    reference: Columns, window: Columns, rng: np.random.Generator, seed: int
) -> dict[str, Callable[[], Effect]]:
    """Every method on these rows, and on vectors and texts drawn beside them, as functions to be timed."""
    kinds = {name: "numeric" if name.startswith("x") else "categorical" for name in reference}
    names = [name for name in kinds if kinds[name] == "numeric"]
    count, rows = len(reference["k0"]), len(window["k0"])
    vectors = rng.normal(size=(count + rows, VECTOR_LENGTH))
    words = [[f"w{word}" for word in rng.geometric(0.02, 30)] for _ in range(count + rows)]

    def correlation() -> Effect:
        sides = (np.column_stack([np.asarray(side[name]) for name in names]) for side in (reference, window))
        return correlation_change(*sides, names)

    return {
        "domain_classifier": lambda: tree_classifier(*ordinal_matrix(reference, window, kinds), count, seed=seed),
        "pca_reconstruction": lambda: pca_reconstruction(reference, window, kinds, seed=seed),
        "mmd": lambda: mmd(score_matrix(reference, window, kinds), count, seed=seed),
        "correlation_change": correlation,
        f"vector of {VECTOR_LENGTH}: domain_classifier": lambda: linear_classifier(vectors, count, seed=seed),
        f"vector of {VECTOR_LENGTH}: mmd": lambda: mmd(vectors, count, seed=seed),
        f"vector of {VECTOR_LENGTH}: centroid_shift": lambda: centroid_shift(vectors, count, seed=seed),
        "text of 30 words: domain_classifier": lambda: text_classifier(words, count, seed=seed),
    }


def sampling_cost(features: int, rows: int) -> tuple[float, float]:
    """Microseconds of CPU time for each row of the monitor's statistics, without and with a sample, 100,000 rows."""
    kinds = "".join(f"  x{at}: {{kind: numeric}}\n" for at in range(features - CATEGORICAL))
    kinds += "".join(f"  k{at}: {{kind: categorical}}\n" for at in range(CATEGORICAL))
    plain = f"model: m\ntask: binary\nfeatures:\n{kinds}"
    rng = np.random.default_rng(0)
    batch = make_rows(2_000, features, rng)
    found = []
    for text in (plain, f"{plain}drift: {{multivariate: {{methods: [{{method: mmd}}], sample_rows: {rows}}}}}\n"):
        profile = ReferenceProfile.build(parse_spec(text), make_rows(5_000, features, rng), model_version="v1")
        stats = InputStats(profile)
        start = time.process_time()
        for number in range(50):
            stats.update(batch, 2_000, [f"{number}-{at}" for at in range(2_000)])
        found.append((time.process_time() - start) / 100_000 * 1e6)
    return found[0], found[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--windows", type=int, default=0)
    parser.add_argument("--peers", help="a Python that has nannyml")
    parser.add_argument("--peer-methods", default="reconstruction,classifier", help="what of it is measured")
    options = parser.parse_args()
    console = Console()
    rng = np.random.default_rng(1)
    reference, window = (
        make_rows(2 * options.rows, options.features, rng),
        make_rows(options.rows, options.features, rng),
    )
    table = Table("method", "CPU ms a window", box=None)
    for name, run in methods(reference, window, rng, 0).items():
        times = []
        with one_thread():
            run()
            for _ in range(options.repeats):
                start = time.process_time()
                run()
                times.append(time.process_time() - start)
        table.add_row(name, f"{1000 * sorted(times)[len(times) // 2]:.0f}")
    console.print(table)
    without, with_sample = sampling_cost(options.features, options.rows)
    console.print(f"statistics of a row: {without:.2f} µs without a sample, {with_sample:.2f} µs with one")
    if options.windows:
        false_alarms(options.windows, options.rows, options.features, console)
    if options.peers:
        given = json.dumps(
            {"methods": options.peer_methods.split(",")}
            | {
                side: {n: list(c) for n, c in rows.items()}
                for side, rows in (("reference", reference), ("window", window))
            }
        )
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        told = subprocess.run(
            [options.peers, "-c", _PEER], input=given, capture_output=True, text=True, check=True, env=environment
        )
        console.print(told.stdout.strip().splitlines()[-1])


def false_alarms(windows: int, rows: int, features: int, console: Console) -> None:
    found: dict[str, list[float]] = {}
    for seed in range(windows):
        rng = np.random.default_rng(1_000 + seed)
        both = make_rows(3 * rows, features, rng)
        reference = select_rows(both, range(2 * rows))
        window = select_rows(both, range(2 * rows, 3 * rows))
        for name, run in methods(reference, window, rng, seed).items():
            p_value = run().p_value
            found.setdefault(name, []).append(1.0 if p_value is None else p_value)
    table = Table("method", "p < 0.05", "p < 0.01", "p < 0.001", title=f"{windows} windows without a change", box=None)
    for name, p_values in found.items():
        table.add_row(name, *(f"{np.mean(np.array(p_values) < level):.3f}" for level in (0.05, 0.01, 0.001)))
    console.print(table)


if __name__ == "__main__":
    main()
