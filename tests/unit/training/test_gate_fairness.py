from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from driftloop.spec.gates import GateSpec
from driftloop.spec.model import FairnessSpec
from driftloop.training.gates.fairness import gap_differences
from support.training_rows import make_spec
from support.trials import good, holdout, judge

FRAME, LABELS = holdout(4000, seed=1)
RED = (FRAME["colour"] == "red").to_numpy()
SCORES = good(FRAME)
METRICS = (
    "demographic_parity_difference", "demographic_parity_ratio", "equal_opportunity_difference",
    "equalized_odds_difference",
)  # fmt: skip


def fairness(**more: object) -> GateSpec:
    return GateSpec(gate="fairness", columns=["colour"], **more)  # type: ignore[arg-type]


def rates(said: np.ndarray) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"selected": [], "true": [], "false": []}
    for colour in sorted(set(FRAME["colour"])):
        here = (FRAME["colour"] == colour).to_numpy()
        found["selected"].append(said[here].mean())
        found["true"].append(said[here & (LABELS == 1)].mean())
        found["false"].append(said[here & (LABELS == 0)].mean())
    return found


def by_definition(said: np.ndarray) -> dict[str, float]:
    found = rates(said)
    width = {name: max(values) - min(values) for name, values in found.items()}
    return {
        "demographic_parity_difference": width["selected"],
        "demographic_parity_ratio": min(found["selected"]) / max(found["selected"]),
        "equal_opportunity_difference": width["true"],
        "equalized_odds_difference": max(width["true"], width["false"]),
    }


def test_gaps_are_those_of_the_definitions() -> None:
    bounds = dict.fromkeys(METRICS, 0.5)
    result = judge(fairness(bounds=bounds, margin=0.5), FRAME, LABELS, SCORES, np.where(RED, 0.0, SCORES))
    assert {detail.name for detail in result.details} == {
        *(f"{metric}/colour" for metric in METRICS),
        *(f"{metric}/colour worse than v1" for metric in METRICS),
    }
    expected = by_definition(SCORES >= 0.5)
    theirs = by_definition(np.where(RED, 0.0, SCORES) >= 0.5)
    for detail in result.details:
        metric = detail.name.split("/")[0]
        if detail.name.endswith("v1"):
            assert detail.challenger == pytest.approx(expected[metric])
            assert detail.champion == pytest.approx(theirs[metric])
            sign = -1.0 if metric.endswith("ratio") else 1.0
            assert detail.value == pytest.approx(sign * (expected[metric] - theirs[metric]))
        else:
            assert detail.value == pytest.approx(expected[metric])
        assert detail.low <= detail.value <= detail.high  # type: ignore[operator]


def test_a_constant_in_one_group_is_refused() -> None:
    unfair = np.where(RED, 0.1, SCORES)
    bounds = {"demographic_parity_difference": 0.2, "demographic_parity_ratio": 0.8}
    for criterion in ("point", "not_refuted", "proven"):
        gate = fairness(bounds=bounds, criterion=criterion)
        assert judge(gate, FRAME, LABELS, SCORES).passed is True
        result = judge(gate, FRAME, LABELS, unfair)
        assert (result.passed, result.verdict) == (False, "failed")
        assert [detail.verdict for detail in result.details] == ["failed", "failed"]
        assert "against red" in result.sentence or "red" in result.details[0].note


def test_not_worse_than_the_champion_by_more_than_a_margin() -> None:
    unfair = np.where(RED, 0.1, SCORES)
    gate = fairness(margin=0.05)
    assert judge(gate, FRAME, LABELS, SCORES, unfair).passed
    assert judge(gate, FRAME, LABELS, unfair, unfair).passed
    result = judge(gate, FRAME, LABELS, unfair, SCORES)
    assert not result.passed
    assert {detail.name for detail in result.details} == {
        "demographic_parity_difference/colour worse than v1",
        "equal_opportunity_difference/colour worse than v1",
    }
    assert judge(gate, FRAME, LABELS, unfair).sentence == "no champion to compare with"


def test_the_interval_of_the_difference_is_that_of_resampled_rows() -> None:
    rng = np.random.default_rng(3)
    cells = rng.integers(20, 60, size=(3, 8))
    values, drawn = gap_differences("equal_opportunity_difference", cells, seed=1)
    rows = [np.repeat(np.arange(8), counts) for counts in cells]

    def gap(chosen: list[np.ndarray], bit: int) -> float:
        rates = [float(((group[group >= 4] >> bit) & 1).mean()) for group in chosen]
        return max(rates) - min(rates)

    assert values[0] == pytest.approx(gap(rows, 1))
    assert values[1] == pytest.approx(gap(rows, 0))
    again = []
    for _ in range(2000):
        chosen = [rng.choice(group, len(group)) for group in rows]
        again.append(gap(chosen, 1) - gap(chosen, 0))
    assert np.mean(drawn) == pytest.approx(np.mean(again), abs=0.01)
    assert np.std(drawn) == pytest.approx(np.std(again), rel=0.1)


def test_groups_that_are_too_small_are_named() -> None:
    colour = FRAME["colour"].to_numpy(object).copy()
    colour[:5] = "rare"
    colour[5:9] = None
    frame = FRAME.assign(colour=pd.Series(colour, dtype=object))
    result = judge(fairness(bounds={"demographic_parity_difference": 0.2}), frame, LABELS, SCORES)
    assert result.passed
    assert "colour=rare (5 of 30 rows needed)" in result.sentence
    alone = judge(fairness(bounds={"demographic_parity_difference": 0.2}, minimum_rows=3900), frame, LABELS, SCORES)
    assert (alone.passed, alone.verdict) == (False, "insufficient")
    assert "0 groups have enough rows, two are needed" in alone.sentence


def test_one_class_only_in_a_group_leaves_opportunity_undefined_and_parity_defined() -> None:
    labels = np.where(RED, 0, LABELS)
    result = judge(
        fairness(bounds={"equal_opportunity_difference": 0.2, "demographic_parity_difference": 0.2}),
        FRAME, labels, SCORES,
    )  # fmt: skip
    assert [(detail.name, detail.verdict) for detail in result.details] == [
        ("equal_opportunity_difference/colour", "insufficient"),
        ("demographic_parity_difference/colour", "passed"),
    ]
    assert "one class only in red" in result.sentence


def test_columns_are_those_of_the_models_fairness_unless_named() -> None:
    spec = make_spec(segments=["colour"])
    rules = type(spec.performance)(fairness=[FairnessSpec(column="colour")])
    spec = make_spec(segments=["colour"], performance=rules)
    gate = GateSpec(gate="fairness", bounds={"demographic_parity_difference": 0.2})
    assert judge(gate, FRAME, LABELS, SCORES, spec=spec).details[0].name == "demographic_parity_difference/colour"


def test_a_fair_challenger_is_rarely_refuted() -> None:
    refused = 0
    for seed in range(200):
        frame, labels = holdout(600, seed=seed)
        gate = fairness(bounds={"demographic_parity_difference": 0.05}, criterion="not_refuted")
        refused += not judge(gate, frame, labels, good(frame), seed=seed).passed
    assert refused <= 10
