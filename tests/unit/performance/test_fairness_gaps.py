"""Gaps between groups: their values, their limits, and when they count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from driftloop.events.reports import MetricReport
from driftloop.performance.fairness import judge_fairness
from driftloop.performance.intervals import difference_interval, ratio_interval, wilson_interval
from driftloop.performance.outcomes import OutcomeStats
from driftloop.spec.model import FairnessSpec, FeatureSpec, ModelSpec, PerformanceRules

PARITY = "demographic_parity_difference"


def group(tn: int, fp: int, fn: int, tp: int) -> OutcomeStats:
    stats = OutcomeStats("binary")
    scores = np.repeat([0.1, 0.9, 0.1, 0.9], [tn, fp, fn, tp])
    labels = np.repeat([0, 0, 1, 1], [tn, fp, fn, tp])
    stats.update(scores, labels, np.zeros(len(labels), np.int64))
    return stats


def judged(segments: dict[str, OutcomeStats], **fairness: Any) -> dict[str, MetricReport]:
    spec = ModelSpec(
        model="m",
        task="binary",
        features={"sex": FeatureSpec(kind="categorical")},
        segments=["sex"],
        minimum_rows=50,
        performance=PerformanceRules(fairness=[FairnessSpec(column="sex", **fairness)]),
    )
    return {report.metric.removesuffix("/sex"): report for report in judge_fairness(segments, spec)}


TWO = {"sex=f": group(40, 10, 20, 30), "sex=m": group(60, 40, 20, 80), "sex=(other)": group(99, 1, 0, 0)}


def test_values_are_fairlearns() -> None:
    found = judged(TWO)
    rates = {"f": (40 / 100, 30 / 50, 10 / 50), "m": (120 / 200, 80 / 100, 40 / 100)}
    assert found[PARITY].value == pytest.approx(rates["m"][0] - rates["f"][0])
    assert found["demographic_parity_ratio"].value == pytest.approx(rates["f"][0] / rates["m"][0])
    assert found["equal_opportunity_difference"].value == pytest.approx(0.2)
    assert found["equalized_odds_difference"].value == pytest.approx(0.2)
    assert {report.decision for report in found.values()} == {"info"}
    assert {report.rows for report in found.values()} == {300}
    assert "m against f" in found[PARITY].sentence
    first, second = ((p, *wilson_interval(p, n, 0.95)) for p, n in ((0.6, 200), (0.4, 100)))
    assert (found[PARITY].low, found[PARITY].high) == pytest.approx(difference_interval(first, second))


@pytest.mark.parametrize(
    ("metric", "bound", "decision"),
    [
        (PARITY, 0.1, "drift"),
        (PARITY, 0.3, "ok"),
        ("demographic_parity_ratio", 0.8, "drift"),
        ("demographic_parity_ratio", 0.5, "ok"),
        ("equalized_odds_difference", 0.15, "drift"),
        ("equalized_odds_difference", 0.25, "ok"),
    ],
)
def test_a_gap_must_be_wide_and_significant(metric: str, bound: float, decision: str) -> None:
    report = judged(TWO, bounds={metric: bound})[metric]
    assert (report.decision, report.threshold) == (decision, bound)


def test_segments_of_pairs_are_no_groups() -> None:
    spec = ModelSpec(
        model="m",
        task="binary",
        features={"sex": FeatureSpec(kind="categorical"), "shop": FeatureSpec(kind="categorical")},
        segments=["sex", ["sex", "shop"]],
        minimum_rows=50,
        performance=PerformanceRules(fairness=[FairnessSpec(column="sex")]),
    )
    pairs = {"sex=f&shop=a": group(0, 60, 0, 0), "sex=m&shop=R\\&D": group(60, 0, 0, 0)}
    assert judge_fairness(TWO | pairs, spec) == judge_fairness(TWO, spec)
    unlike = {"sex=a&b": group(0, 60, 0, 0)}
    assert judge_fairness(TWO | unlike, spec) != judge_fairness(TWO, spec)


def test_a_gap_of_few_rows_is_not_significant() -> None:
    few = {"sex=f": group(20, 10, 10, 20), "sex=m": group(24, 6, 14, 16)}
    report = judged(few, bounds={PARITY: 0.1})[PARITY]
    assert report.value == pytest.approx(8 / 60)
    assert report.decision == "ok"
    assert "not significantly" in report.sentence


def test_too_few_groups_or_rows_are_insufficient() -> None:
    small = {"sex=f": group(10, 10, 10, 10), "sex=m": TWO["sex=m"]}
    found = judged(small, bounds={PARITY: 0.1})
    assert found[PARITY].decision == "insufficient"
    assert found[PARITY].value is None
    assert "1 groups of sex have 50 labeled rows" in found[PARITY].sentence
    no_positives = {"sex=f": group(60, 10, 0, 0), "sex=m": TWO["sex=m"]}
    assert judged(no_positives)["equal_opportunity_difference"].value is None
    assert judged(no_positives)[PARITY].value is not None
    nobody = {"sex=f": group(60, 0, 10, 0), "sex=m": group(60, 0, 10, 0)}
    assert judged(nobody)["demographic_parity_ratio"].value is None
    assert judged(nobody)[PARITY].value == 0.0
    assert judged({})[PARITY].value is None


def test_equal_groups_rarely_differ_and_the_limits_hold_the_widest_gap() -> None:
    rng = np.random.default_rng(1)
    fired = held = 0
    for _ in range(300):
        selected = rng.binomial(150, [0.5, 0.5, 0.5, 0.5])
        segments = {f"sex={i}": group(150 - int(n), int(n), 0, 0) for i, n in enumerate(selected)}
        report = judged(segments, metrics=[PARITY], bounds={PARITY: 0.01})[PARITY]
        fired += report.decision == "drift"
        selected = rng.binomial(150, [0.5, 0.45, 0.3, 0.35])
        segments = {f"sex={i}": group(150 - int(n), int(n), 0, 0) for i, n in enumerate(selected)}
        report = judged(segments, metrics=[PARITY])[PARITY]
        assert report.low is not None
        assert report.high is not None
        held += report.low <= 0.2 <= report.high
    assert fired <= 25  # 5 % nominal for six comparisons together, plus chance
    assert held >= 280


def test_ratio_limits_are_those_of_the_logarithm_for_large_samples() -> None:
    n = 10**6
    p, q = 0.3, 0.5
    first, second = (p, *wilson_interval(p, n, 0.95)), (q, *wilson_interval(q, n, 0.95))
    spread = 1.959964 * np.sqrt((1 - p) / (n * p) + (1 - q) / (n * q))
    expected = p / q * np.exp([-spread, spread])
    assert ratio_interval(first, second) == pytest.approx(tuple(expected), abs=1e-6)
    assert ratio_interval((0.0, 0.0, 0.1), (0.5, 0.4, 0.6))[0] == 0.0
    assert ratio_interval((0.2, 0.1, 0.3), (0.1, 0.0, 0.4))[1] == np.inf
