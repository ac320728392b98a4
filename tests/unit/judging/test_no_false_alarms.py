"""Nothing has changed, and nothing fires: at most one window in a hundred, by the default rules and the demo's."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from driftloop.demo.flights import FlightsUnavailable, load_flights
from driftloop.drift.judge import judge_inputs
from driftloop.profiles.columns import PREDICTION
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec import load_spec
from driftloop.spec.model import FeatureSpec, ModelSpec

ROOT = Path(__file__).resolve().parents[3]

SPEC = ModelSpec(
    model="m",
    task="binary",
    features={
        **{f"normal{number}": FeatureSpec(kind="numeric") for number in range(4)},
        "heavy": FeatureSpec(kind="numeric"),
        "zeros": FeatureSpec(kind="numeric"),
        "few": FeatureSpec(kind="numeric"),
        "gate": FeatureSpec(kind="categorical"),
        "city": FeatureSpec(kind="categorical"),
    },
)


def rows_of(rows: int, random: np.random.Generator) -> dict[str, Any]:
    """Columns like those of real tables: heavy tails, many zeros, few values, many categories, gaps."""
    columns: dict[str, Any] = {f"normal{number}": random.normal(size=rows) for number in range(4)}
    columns["heavy"] = random.standard_cauchy(rows)
    columns["zeros"] = np.where(random.random(rows) < 0.95, 0.0, random.exponential(size=rows))
    columns["few"] = random.integers(0, 5, rows).astype(np.float64)
    columns["normal0"][random.random(rows) < 0.05] = np.nan
    columns["gate"] = list(random.choice(["A", "B", "C"], rows, p=[0.7, 0.2, 0.1]))
    columns["city"] = [f"c{number}" for number in random.zipf(1.4, rows)]
    columns[PREDICTION] = random.beta(2, 5, rows)
    return columns


@pytest.mark.parametrize("rows", [100, 250, 1_000])
def test_default_rules_on_draws_of_one_distribution(rows: int) -> None:
    random = np.random.default_rng(rows)
    fired = 0
    for _ in range(2):
        profile = ReferenceProfile.build(SPEC, rows_of(20_000, random), model_version="v1")
        for _ in range(100):
            stats = InputStats(profile)
            stats.update(rows_of(rows, random), rows)
            fired += any(report.decision == "drift" for report in judge_inputs(stats, profile, SPEC))
    print(f"{fired} of 200 windows of {rows} rows fired")
    assert fired <= 2


def bench() -> ModuleType:
    path = ROOT / "scripts" / "bench" / "false_alarms.py"
    found = importlib.util.spec_from_file_location("false_alarms", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("rules", ["the demo's", "the defaults", "{false_alarms: 0.01}"])
def test_flights_in_shuffled_order(rules: str) -> None:
    """The whole year, and every set of rules, is scripts/bench/false_alarms.py."""
    false_alarms = bench()
    try:
        flights = load_flights(false_alarms.CACHE)
    except FlightsUnavailable as error:
        pytest.skip(f"FLIGHTS UNAVAILABLE: {error}")
    spec = load_spec(false_alarms.SPECS / "flights-late.yaml")
    false_alarms.PAIRS = [(1, 2)]
    inputs, outcomes = false_alarms.Count(), false_alarms.Count()
    for version in false_alarms.versions(flights, spec, 1):
        false_alarms.count_inputs(version, false_alarms.rule_sets(spec)[rules], inputs)
        false_alarms.count_outcomes(version, spec, outcomes)
    print(f"{rules}: {inputs} of inputs, {outcomes} of outcomes")
    assert inputs.windows == 28
    assert outcomes.windows == 15
    # One would be more than one in a hundred.
    assert (inputs.fired, outcomes.fired) == (0, 0)
