"""What a window costs: counting its rows, judging it, and how large its partial is.

    .venv/bin/python scripts/bench/windows.py

A model with eleven numeric and three categorical features against a reference of 20,000 rows, the defaults of a spec.
Printed: time to count a value (whole batches of 4,000 rows), to judge a merged window into a report, and the bytes of
its partial. Best of several runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from driftloop.judging.report import MergedPart, report_of
from driftloop.profiles.columns import PREDICTION
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec import ModelSpec, parse_spec
from driftloop.windows.assembly import WindowKey

DAY_MS = 86_400_000
NUMERIC = [f"n{index}" for index in range(11)]
CATEGORICAL = [f"c{index}" for index in range(3)]
REPEATS = 5


def make_spec() -> ModelSpec:
    features = [f"{name}: {{kind: numeric}}" for name in NUMERIC]
    features += [f"{name}: {{kind: categorical}}" for name in CATEGORICAL]
    return parse_spec(f"model: bench\ntask: binary\nfeatures: {{{', '.join(features)}}}\n")


def rows(count: int, seed: int) -> dict[str, object]:
    chance = np.random.default_rng(seed)
    columns: dict[str, object] = {name: chance.normal(size=count) for name in NUMERIC}
    columns |= {name: chance.choice([f"v{at}" for at in range(20)], count).tolist() for name in CATEGORICAL}
    columns[PREDICTION] = chance.random(count)
    return columns


def best_s(action: Callable[[], object]) -> float:
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        action()
        taken.append(time.perf_counter() - started)
    return min(taken)


def main() -> None:
    spec = make_spec()
    profile = ReferenceProfile.build(spec, rows(20_000, 0), model_version="v1")  # type: ignore[arg-type]
    values = len(NUMERIC) + len(CATEGORICAL) + 1
    table = Table("rows in the window", "ns a value", "ms to judge", "KB of partial")
    for count in (250, 4_000, 100_000):
        batches = [rows(min(count, 4_000), seed) for seed in range(max(1, count // 4_000))]
        size = min(count, 4_000)

        def fill(batches: list[dict[str, object]] = batches, size: int = size) -> InputStats:
            stats = InputStats(profile)
            for batch in batches:
                stats.update(batch, size)  # type: ignore[arg-type]
            assert all(summary.rows for summary in stats.features.values())  # what waits is counted with this
            return stats

        stats = fill()
        part = MergedPart("v1", "", stats, [], profile)
        judge_s = best_s(lambda part=part: report_of(WindowKey(DAY_MS, 0, "bench", "input"), part, spec, ""))  # type: ignore[misc]
        count_ns = best_s(fill) / (len(batches) * size * values) * 1e9
        table.add_row(
            f"{len(batches) * size:,}", f"{count_ns:.0f}", f"{judge_s * 1e3:.1f}", f"{len(stats.encode()) / 1e3:.0f}"
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
