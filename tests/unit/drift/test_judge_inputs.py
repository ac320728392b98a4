"""Decisions about features: drift, ok, insufficient; and no number that is not one."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec import structs

from driftloop.drift.judge import judge_inputs
from driftloop.events.reports import FeatureReport
from driftloop.profiles.columns import PREDICTION, Columns
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec.model import DriftMethod, DriftRules, FeatureSpec, ModelSpec

SPEC = ModelSpec(
    model="m",
    task="binary",
    features={
        "temp": FeatureSpec(kind="numeric"),
        "carrier": FeatureSpec(kind="categorical"),
        "constant": FeatureSpec(kind="numeric"),
        "rain": FeatureSpec(kind="numeric"),
    },
)


def make_columns(rows: int, seed: int, **changed: Any) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        "temp": random.normal(50, 10, rows),
        "carrier": list(random.choice(["AA", "B6", "UA", "DL"], rows, p=[0.4, 0.3, 0.2, 0.1])),
        "constant": np.full(rows, 3.0),
        "rain": np.where(random.uniform(size=rows) < 0.9, 0.0, random.exponential(size=rows)),
        PREDICTION: random.beta(2, 5, rows),
    }
    return columns | changed


@pytest.fixture(scope="module")
def profile() -> ReferenceProfile:
    return ReferenceProfile.build(SPEC, make_columns(10_000, 0), model_version="v1")


def judge(profile: ReferenceProfile, columns: Columns, spec: ModelSpec = SPEC) -> dict[str, FeatureReport]:
    stats = InputStats(profile)
    stats.update(columns, max(map(len, columns.values())))
    reports = judge_inputs(stats, profile, spec)
    assert [report.feature for report in reports] == [*spec.features, PREDICTION]
    for report in reports:
        assert report.sentence
        values = [report.mean, report.reference_mean, report.adjusted_p_value]
        values += [value for result in report.results for value in (result.statistic, result.threshold, result.p_value)]
        assert all(value is None or math.isfinite(value) for value in values)
    assert b"NaN" not in msgspec.json.encode(reports)
    return {report.feature: report for report in reports}


def test_nothing_drifts_without_drift(profile: ReferenceProfile) -> None:
    reports = judge(profile, make_columns(2_000, 1))
    assert {report.decision for report in reports.values()} == {"ok"}
    assert reports["temp"].sentence == "temp is like the reference"
    assert [result.method for result in reports["temp"].results] == [
        "wasserstein",
        "ks",
        "psi",
        "jensen_shannon",
        "missing",
    ]
    assert [result.method for result in reports["carrier"].results] == [
        "jensen_shannon",
        "psi",
        "chi_square",
        "missing",
        "unseen",
    ]


@pytest.mark.parametrize("rows", [100, 1_000])
def test_false_alarms_are_rare_in_small_and_large_windows(profile: ReferenceProfile, rows: int) -> None:
    """5 features at p < 0.001, corrected, in 150 windows: fewer than one false alarm is expected."""
    alarms = sum(
        report.decision == "drift"
        for seed in range(150)
        for report in judge(profile, make_columns(rows, 10_000 + seed)).values()
    )
    assert alarms <= 3


def test_a_shift_drifts_and_says_by_how_much(profile: ReferenceProfile) -> None:
    report = judge(profile, make_columns(500, 2, temp=np.random.default_rng(2).normal(63.5, 10, 500)))["temp"]
    assert report.decision == "drift"
    assert report.sentence.startswith("temp is 1.29 reference deviations higher")
    assert "higher than the reference (mean 63 against 50.1)" in report.sentence
    assert "threshold 0.25; adjusted p < 0.000001" in report.sentence
    assert report.results[0].exceeded


def test_a_category_that_grows(profile: ReferenceProfile) -> None:
    report = judge(profile, make_columns(500, 3, carrier=["DL"] * 250 + ["AA"] * 250))["carrier"]
    assert report.decision == "drift"
    assert report.sentence.startswith("carrier: 'DL' makes up 50 % of the rows, ")
    assert report.adjusted_p_value is not None
    assert report.adjusted_p_value < 1e-6


def test_significant_but_small_and_large_but_by_chance(profile: ReferenceProfile) -> None:
    small = judge(profile, make_columns(60_000, 4, temp=np.random.default_rng(4).normal(50.8, 10, 60_000)))["temp"]
    assert small.decision == "ok"
    assert small.sentence == "temp differs measurably from the reference, but by less than any threshold"
    sharp = structs.replace(SPEC, drift=DriftRules(numeric=[DriftMethod(method="ks", threshold=0.001)]))
    chance = judge(profile, make_columns(150, 5), sharp)["temp"]
    assert chance.decision == "ok"
    assert chance.results[0].exceeded
    assert "do not tell it from chance" in chance.sentence


def test_methods_without_threshold_never_decide(profile: ReferenceProfile) -> None:
    spec = structs.replace(SPEC, drift=DriftRules(numeric=[DriftMethod(method="ks")]))
    assert judge(profile, make_columns(500, 6, temp=np.full(500, 90.0)), spec)["temp"].decision == "ok"


def test_missing_values_drift(profile: ReferenceProfile) -> None:
    temp = make_columns(500, 7)["temp"]
    temp[:400] = math.nan
    report = judge(profile, make_columns(500, 7, temp=temp))["temp"]
    assert (report.decision, report.rows, report.missing) == ("drift", 100, 400)
    assert report.sentence == "temp is missing in 80 % of the rows, 0 % in the reference"


def test_everything_missing_is_judged_by_that_alone(profile: ReferenceProfile) -> None:
    reports = judge(profile, {"rain": np.zeros(500)})
    for name in ("temp", "carrier", "constant", PREDICTION):
        report = reports[name]
        assert (report.decision, report.rows, report.missing, report.mean) == ("drift", 0, 500, None)
        assert report.adjusted_p_value is None
        assert [result.method for result in report.results] in (["missing"], ["missing", "unseen"])


def test_infinite_values_count_as_missing(profile: ReferenceProfile) -> None:
    temp = make_columns(500, 8)["temp"]
    temp[:200], temp[200:210] = math.inf, -math.inf
    report = judge(profile, make_columns(500, 8, temp=temp))["temp"]
    assert (report.decision, report.rows, report.missing) == ("drift", 290, 210)
    assert "(210 rows are infinite)" in report.sentence
    assert report.mean is not None
    assert report.mean == pytest.approx(50, abs=3)


def test_unseen_categories_drift(profile: ReferenceProfile) -> None:
    carrier = [*make_columns(450, 9)["carrier"], *["XX"] * 30, *["YY"] * 20]
    report = judge(profile, make_columns(500, 9, carrier=carrier))["carrier"]
    assert (report.decision, report.unseen) == ("drift", 50)
    assert "10 % of the rows of carrier have a category that the reference has not ('XX', 'YY')" in report.sentence
    few = judge(profile, make_columns(500, 9, carrier=[*carrier[:450], *["AA"] * 47, "XX", "XX", "YY"]))["carrier"]
    assert (few.decision, few.unseen) == ("ok", 3)


def test_a_constant_that_moves_drifts_and_one_that_stays_does_not(profile: ReferenceProfile) -> None:
    report = judge(profile, make_columns(500, 10, constant=np.full(500, 3.5)))["constant"]
    assert report.decision == "drift"
    assert report.sentence.startswith("constant was always 3 in the reference, 100 % of rows differ")
    assert all(result.statistic is not None for result in report.results)


def test_too_few_rows_give_no_number(profile: ReferenceProfile) -> None:
    reports = judge(profile, make_columns(99, 11, temp=np.full(99, 500.0)))
    assert {report.decision for report in reports.values()} == {"insufficient"}
    assert all(not report.results and report.mean is None for report in reports.values())
    assert reports["temp"].sentence == "too few rows to judge temp: 99, at least 100 are needed"
    assert reports[PREDICTION].sentence.startswith("too few rows to judge the prediction")
    assert {report.decision for report in judge(profile, make_columns(1, 11)).values()} == {"insufficient"}


def test_too_few_values_of_one_feature() -> None:
    sparse = np.full(1_000, math.nan)
    sparse[:100] = np.arange(100.0)
    profile = ReferenceProfile.build(SPEC, make_columns(1_000, 12, temp=sparse), model_version="v1")
    report = judge(profile, make_columns(200, 13, temp=np.append(np.full(180, math.nan), np.arange(20.0))))["temp"]
    assert (report.decision, report.adjusted_p_value) == ("insufficient", None)
    assert report.sentence == "too few values to judge temp: 20, at least 100 are needed"


def test_a_reference_without_values() -> None:
    empty = ReferenceProfile.build(SPEC, make_columns(500, 14, temp=np.full(500, math.nan)), model_version="v1")
    report = judge(empty, make_columns(500, 15))["temp"]
    assert (report.decision, report.reference_rows) == ("insufficient", 0)
    assert report.sentence == "the reference has no values of temp to compare with"


def test_extreme_values_stay_numbers(profile: ReferenceProfile) -> None:
    temp = np.array([1e308, -1e308, 5e-324, 0.0] * 100)
    report = judge(profile, make_columns(400, 16, temp=temp))["temp"]
    assert report.decision == "drift"


def test_a_spec_that_the_reference_does_not_fit(profile: ReferenceProfile) -> None:
    spec = structs.replace(
        SPEC,
        features={"temp": FeatureSpec(kind="categorical"), "wind": FeatureSpec(kind="numeric")},
    )
    reports = judge(profile, make_columns(500, 17), spec)
    assert reports["temp"].decision == reports["wind"].decision == "insufficient"
    assert reports["temp"].sentence.startswith("temp is categorical in the spec but not in the reference of version v1")
    assert reports["wind"].sentence.startswith("the reference of version v1 does not know wind")
    assert reports[PREDICTION].decision == "ok"


def test_statistics_of_another_profile_are_refused(profile: ReferenceProfile) -> None:
    other = ReferenceProfile.build(SPEC, make_columns(500, 18), model_version="v2")
    with pytest.raises(ValueError, match="'v2'"):
        judge_inputs(InputStats(other), profile, SPEC)


@pytest.mark.parametrize("correction", ["benjamini-hochberg", "bonferroni", "none"])
def test_the_correction_is_the_spec_s(profile: ReferenceProfile, correction: str) -> None:
    spec = structs.replace(SPEC, drift=structs.replace(SPEC.drift, correction=correction))
    reports = judge(profile, make_columns(1_000, 19), spec)
    raw = {name: report.results[0].p_value for name, report in reports.items()}
    adjusted = {name: report.adjusted_p_value for name, report in reports.items()}
    for name, p_value in raw.items():
        assert p_value is not None
        if correction == "bonferroni":
            assert adjusted[name] == min(p_value * 5, 1.0)
        elif correction == "none":
            assert adjusted[name] == p_value
        else:
            assert p_value <= (adjusted[name] or 0.0) <= 1.0
