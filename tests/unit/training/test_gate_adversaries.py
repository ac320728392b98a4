"""Challengers that were made worse on purpose, and challengers that are no better, over many seeds.

``scripts/bench/gates.py`` does the same with fitted models, all gates and more seeds.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from driftloop.spec.gates import GateSpec
from driftloop.training.comparison import compare
from support.training_rows import make_spec
from support.trials import good, holdout, judge, sigmoid

SEEDS = range(200)
SPEC = make_spec()


def test_shuffled_labels_never_pass_the_metric_gate() -> None:
    gate = GateSpec(gate="metric", metric="brier", margin=0.01)
    for seed in SEEDS:
        frame, labels = holdout(300, seed)
        # What a model learns from shuffled labels: the base rate, and noise.
        chance = np.random.default_rng([seed, 1])
        learnt = sigmoid(0.2 * chance.normal() * frame["x"].to_numpy() + 0.2 * chance.normal(size=300))
        assert not judge(gate, frame, labels, learnt, good(frame), spec=SPEC, seed=seed).passed, seed


def test_a_leaked_column_never_passes_the_robustness_gate() -> None:
    gate = GateSpec(gate="robustness", metric="brier", each_missing=0.15, noise=0.0, missing=0.0, unseen=0.0)

    def leaky(rows: pd.DataFrame) -> np.ndarray:
        leak = rows["noise"].to_numpy(np.float64)
        return np.where(np.isnan(leak), 0.5, 0.02 + 0.96 * np.nan_to_num(leak))

    for seed in SEEDS:
        frame, labels = holdout(120, seed)
        frame = frame.assign(noise=labels.astype(float))  # there in training, empty in serving
        result = judge(gate, frame, labels, leaky, spec=SPEC, seed=seed)
        assert not result.passed, seed
        assert "noise missing" in result.sentence
        assert seed > 20 or judge(gate, frame, labels, good, spec=SPEC, seed=seed).passed, seed


def test_a_broken_slice_never_passes_the_slices_gate_while_the_total_improves() -> None:
    gate = GateSpec(gate="slices", columns=["colour"], metric="brier", margin=0.01)
    better = 0
    for seed in SEEDS:
        frame, labels = holdout(600, seed)
        dull = np.full(600, 0.5)
        broken = np.where(frame["colour"] == "red", sigmoid(-0.7 * frame["x"].to_numpy()), good(frame))
        better += np.mean((broken - labels) ** 2) < np.mean((dull - labels) ** 2)
        result = judge(gate, frame, labels, broken, dull, spec=SPEC, seed=seed)
        assert not result.passed, (seed, result.sentence)
        assert result.details[0].name == "colour=red"
    assert better > 190


def test_a_constant_in_one_group_never_passes_the_fairness_gate() -> None:
    bounds = {"demographic_parity_difference": 0.25, "equal_opportunity_difference": 0.25}
    gate = GateSpec(gate="fairness", columns=["colour"], bounds=bounds)
    for seed in SEEDS:
        frame, labels = holdout(800, seed)
        unfair = np.where(frame["colour"] == "red", 0.1, good(frame))
        assert not judge(gate, frame, labels, unfair, spec=SPEC, seed=seed).passed, seed
        assert judge(gate, frame, labels, good(frame), spec=SPEC, seed=seed).passed, seed


def test_overconfidence_never_passes_the_calibration_gate() -> None:
    gate = GateSpec(gate="calibration", bounds={"ece": 0.05, "slope": 0.25})
    for seed in SEEDS:
        frame, labels = holdout(1000, seed)
        sure = sigmoid(4.0 * 1.5 * frame["x"].to_numpy())
        assert not judge(gate, frame, labels, sure, spec=SPEC, seed=seed).passed, seed


def test_nan_on_missing_input_and_a_crash_on_new_categories_never_pass_the_schema_gate() -> None:
    def crash(rows: pd.DataFrame) -> np.ndarray:
        if not set(rows["colour"]) <= {"red", "green", "blue", "grey", None}:
            raise ValueError("unknown category")
        return good(rows)

    for seed in range(20):
        frame, labels = holdout(100, seed)
        for broken in (lambda rows: sigmoid(np.asarray(rows["x"], np.float64)), crash):
            assert not judge(GateSpec(gate="schema"), frame, labels, broken, spec=SPEC, seed=seed).passed
        assert judge(GateSpec(gate="schema"), frame, labels, good, spec=SPEC, seed=seed).passed


def test_an_equal_challenger_is_found_superior_in_fewer_than_alpha_of_1000_seeds() -> None:
    alpha, passed = 0.05, 0
    for seed in range(1000):
        rng = np.random.default_rng([seed, 7])
        labels = (rng.random(120) < 0.4).astype(np.int64)
        # Two models of the same worth that err on different rows.
        first, second = (np.clip(0.4 + 0.2 * labels + 0.2 * rng.normal(size=120), 0.0, 1.0) for _ in range(2))
        passed += compare("binary", "brier", labels, first, second, seed=seed, confidence=1.0 - alpha).low > 0.0
    assert passed <= alpha * 1000
    assert passed > 5  # the interval is no wider than it need be: about alpha / 2


def test_an_equal_challenger_fails_the_slices_gate_in_fewer_than_alpha_of_200_seeds() -> None:
    refused = 0
    gate = GateSpec(gate="slices", columns=["colour"], metric="brier", margin=0.0)
    for seed in SEEDS:
        frame, labels = holdout(480, seed, colours=[f"c{index}" for index in range(8)])
        rng = np.random.default_rng([seed, 5])
        logit = 1.5 * frame["x"].to_numpy()
        first, second = (sigmoid(logit + 0.5 * rng.normal(size=480)) for _ in range(2))
        refused += not judge(gate, frame, labels, first, second, spec=SPEC, seed=seed).passed
    assert refused <= 10
