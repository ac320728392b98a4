from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from driftloop.events.decisions import GateDetail
from driftloop.spec.gates import GateSpec
from driftloop.training.comparison import compare
from driftloop.training.gates.slices import LEAST_OF_A_CLASS
from driftloop.training.gates.verdicts import MOST_DETAILS, gate_result, within
from support.training_rows import make_spec
from support.trials import good, holdout, judge

FRAME, LABELS = holdout(2000, seed=1)
RED = (FRAME["colour"] == "red").to_numpy()
SCORES = good(FRAME)
#: Better than the champion everywhere but in red, and better in total.
BROKEN = np.where(RED, 1.0 - SCORES, SCORES)
POOR = np.clip(0.5 * SCORES + 0.25 + 0.35 * np.random.default_rng(2).normal(size=2000), 0.001, 0.999)


def slices(**more: object) -> GateSpec:
    return GateSpec(gate="slices", columns=["colour"], **more)  # type: ignore[arg-type]


def test_a_broken_slice_is_found_though_the_total_improves() -> None:
    spec = make_spec()
    total = compare("binary", "brier", LABELS, BROKEN, POOR, seed=0)
    assert total.low > 0.0
    result = judge(slices(metric="brier", margin=0.01), FRAME, LABELS, BROKEN, POOR, spec=spec)
    assert (result.gate, result.passed, result.verdict) == ("slices:brier", False, "failed")
    assert result.details[0].name == "colour=red"
    assert [detail.verdict for detail in result.details] == ["failed", "passed", "passed", "passed"]
    assert result.value is not None
    assert result.high is not None
    assert result.value <= result.high < result.bound == -0.01  # type: ignore[operator]
    assert "worst is colour=red" in result.sentence
    assert "shown to be worse by more than 0.01 than champion v1 (Holm): colour=red" in result.sentence
    assert sum(detail.rows or 0 for detail in result.details) == 2000


def test_the_difference_is_that_of_the_rows_and_intervals_are_simultaneous() -> None:
    result = judge(slices(metric="brier"), FRAME, LABELS, BROKEN, SCORES)
    for detail in result.details:
        rows = (FRAME["colour"] == detail.name.partition("=")[2]).to_numpy()
        truth = LABELS[rows]
        gain = (SCORES[rows] - truth) ** 2 - (BROKEN[rows] - truth) ** 2
        assert detail.value == pytest.approx(gain.mean(), abs=1e-12)
        if detail.name != "colour=red":
            assert (detail.low, detail.high) == (0.0, 0.0)
            continue
        # The bootstrap's standard error of a mean is close to the textbook's; z of 0.05 / 4, two-sided.
        half = 2.4977 * gain.std(ddof=1) / np.sqrt(len(gain))
        assert detail.value is not None
        assert detail.low == pytest.approx(detail.value - half, abs=0.1 * half)
        assert detail.high == pytest.approx(detail.value + half, abs=0.1 * half)


def test_a_model_is_as_good_as_itself_by_every_criterion() -> None:
    for criterion in ("proven", "not_refuted", "point"):
        for correction in ("holm", "bonferroni"):
            gate = slices(metric="brier", criterion=criterion, correction=correction)
            result = judge(gate, FRAME, LABELS, SCORES, SCORES.copy())
            assert result.passed, result.sentence
            assert result.value == 0.0
    assert judge(slices(), FRAME, LABELS, SCORES, SCORES.copy()).value == 0.0


def test_what_must_be_proven_needs_rows() -> None:
    frame, labels = holdout(400, seed=3)
    mine, theirs = good(frame), np.clip(good(frame) + np.random.default_rng(0).normal(0, 0.1, 400), 0, 1)
    assert judge(slices(metric="brier", margin=0.001, criterion="not_refuted"), frame, labels, mine, theirs).passed
    proven = judge(slices(metric="brier", margin=0.001, criterion="proven"), frame, labels, mine, theirs)
    assert not proven.passed
    assert "not shown to be at most 0.001 worse" in proven.sentence


def test_small_slices_are_listed_and_none_that_can_be_judged_is_no_pass() -> None:
    frame, labels = holdout(300, seed=4)
    colour = frame["colour"].to_numpy(object).copy()
    colour[:7] = "rare"
    colour[7:12] = None
    frame = frame.assign(colour=pd.Series(colour, dtype=object))
    result = judge(slices(), frame, labels, good(frame), good(frame))
    assert result.passed
    few = {detail.name: detail for detail in result.details if detail.verdict == "insufficient"}
    assert set(few) == {"colour=rare", "colour=(missing)"}
    assert few["colour=rare"].rows == 7
    assert "30 rows are needed" in few["colour=rare"].note
    assert "too few rows to judge: colour=(missing) (5 rows), colour=rare (7 rows)" in result.sentence
    nothing = judge(slices(minimum_rows=500), frame, labels, good(frame), good(frame))
    assert (nothing.passed, nothing.verdict) == (False, "insufficient")
    assert "none of the 6 slices" in nothing.sentence
    assert judge(slices(minimum_rows=500, insufficient="pass"), frame, labels, good(frame), good(frame)).passed


def test_one_class_only_is_insufficient_for_a_metric_of_both() -> None:
    labels = np.where(RED, 1, LABELS)
    result = judge(slices(), FRAME, labels, BROKEN, SCORES)
    red = next(detail for detail in result.details if detail.name == "colour=red")
    assert red.verdict == "insufficient"
    assert f"{LEAST_OF_A_CLASS} of either class are needed" in red.note
    alone = judge(slices(), FRAME, np.ones_like(LABELS), SCORES, SCORES)
    assert (alone.passed, alone.verdict) == (False, "insufficient")


def test_pairs_and_rare_values_together_are_slices_too() -> None:
    frame, labels = holdout(3000, seed=5, colours=[f"c{index:02d}" for index in range(40)])
    result = judge(slices(metric="brier"), frame, labels, good(frame), good(frame))
    names = [detail.name for detail in result.details]
    assert len(names) == 21
    assert "colour=(other)" in names


def test_multiclass_and_regression() -> None:
    rng = np.random.default_rng(6)
    truth = rng.integers(0, 3, 2000)
    sure = 0.7 * np.eye(3)[truth] + 0.1
    swapped = np.where(RED[:, None], sure[:, [1, 2, 0]], sure)
    result = judge(slices(margin=0.05), FRAME, truth, swapped, sure, spec=make_spec("multiclass"))
    assert (result.gate, result.passed) == ("slices:log_loss", False)
    assert result.details[0].name == "colour=red"
    values = rng.normal(size=2000)
    result = judge(slices(margin=0.05), FRAME, values, values + RED, values, spec=make_spec("regression"))
    assert (result.gate, result.passed) == ("slices:mae", False)
    assert result.value == pytest.approx(-1.0)


def test_without_a_champion_or_with_broken_predictions() -> None:
    assert judge(slices(), FRAME, LABELS, SCORES).sentence == "no champion to compare with"
    result = judge(slices(), FRAME, LABELS, np.full(2000, np.nan), SCORES)
    assert not result.passed
    assert "not finite" in result.sentence


@pytest.mark.parametrize(
    ("criterion", "value", "low", "high", "at_most", "at_least"),
    [
        ("proven", 0.1, 0.0, 0.3, "failed", "failed"),
        ("not_refuted", 0.1, 0.0, 0.3, "passed", "passed"),
        ("point", 0.1, 0.0, 0.3, "passed", "failed"),
        ("point", 0.2, None, None, "passed", "passed"),
        ("proven", 0.2, None, None, "insufficient", "insufficient"),
        ("proven", 0.2, 0.2, 0.2, "passed", "passed"),
        ("not_refuted", 0.4, 0.3, 0.5, "failed", "passed"),
        ("not_refuted", 0.1, 0.0, 0.1, "passed", "failed"),
        ("point", None, None, None, "insufficient", "insufficient"),
        ("point", float("nan"), 0.0, 1.0, "insufficient", "insufficient"),
    ],
)
def test_criteria(criterion, value, low, high, at_most, at_least) -> None:  # type: ignore[no-untyped-def]
    assert within(criterion, value, low, high, 0.2) == at_most
    assert within(criterion, value, low, high, 0.2, at_least=True) == at_least


def test_reports_are_bounded_and_keep_the_failures() -> None:
    details = [GateDetail(name=f"c={index}", verdict="passed", value=0.0) for index in range(MOST_DETAILS + 50)]
    details.append(GateDetail(name="worst", verdict="failed", value=-1.0))
    result = gate_result("slices", GateSpec(gate="slices"), details, "said")
    assert len(result.details) == MOST_DETAILS
    assert result.details[0].name == "worst"
    assert result.sentence == "said; 51 more results are not listed"
