"""Thresholds that are found: over the reference's windows, or from the statistic's distribution under no change."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from driftloop.drift.judge import judge_inputs
from driftloop.drift.measure import measure_feature
from driftloop.drift.methods import numeric_method
from driftloop.drift.null_distribution import NullDistribution, null_distribution
from driftloop.drift.pairs import NumericPair
from driftloop.drift.reference_windows import with_reference_windows
from driftloop.drift.statistic import statistic_of
from driftloop.drift.thresholds import Bound, find_bound
from driftloop.profiles.categorical import CategoricalReference, CategoricalSummary
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.numeric import NumericReference, NumericSummary
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec.model import DriftMethod, DriftRules, FeatureSpec, ModelSpec, ThresholdRule

DAY = 86_400_000
NUMERIC = ("ks", "wasserstein", "psi", "jensen_shannon")
GOLDEN_MEDIAN = 0.053
CATEGORICAL = ("chi_square", "psi", "jensen_shannon")


def never(draws: int) -> NullDistribution | None:
    raise AssertionError("there are windows enough")


def some(draws: int) -> NullDistribution:
    values = np.arange(1, draws + 1) / draws
    return NullDistribution(100, 64, values, values)


def test_constants_and_nothing_pass() -> None:
    assert find_bound(0.25, [], never) == Bound(0.25)
    assert find_bound(None, [], never) == Bound(None)


def test_spread_and_quantile_over_reference_windows() -> None:
    windows = [0.1, 0.2, 0.3, 0.4, 0.2, 0.1, 0.3, 0.4]
    spread = find_bound(ThresholdRule(spread=3), windows, never)
    assert spread.value == pytest.approx(0.25 + 3 * math.sqrt(0.0125))
    assert spread.basis == "mean + 3 deviations of 8 reference windows"
    many = [float(value) for value in range(1, 101)]
    quantile = find_bound(ThresholdRule(quantile=0.99), many, never)
    assert quantile == Bound(pytest.approx(np.quantile(many, 0.99)), "99 % quantile of 100 reference windows")
    assert find_bound(ThresholdRule(spread=2), [0.0] * 10, never).value == math.ulp(0.0), "no distance is no drift"


def test_no_rule_goes_below_the_smallest_effect_that_counts() -> None:
    windows = [0.1, 0.2, 0.3, 0.4, 0.2, 0.1, 0.3, 0.4]
    raised = find_bound(ThresholdRule(spread=3, at_least=0.8), windows, never)
    assert raised == Bound(0.8, "at least that, more than the mean + 3 deviations of 8 reference windows")
    assert find_bound(ThresholdRule(spread=3, at_least=0.1), windows, never) == find_bound(
        ThresholdRule(spread=3), windows, never
    )


def test_too_few_windows_fall_back_to_chance_and_say_so() -> None:
    few = find_bound(ThresholdRule(spread=3), [0.1] * 7, some)
    assert few.basis == "mean + 3 deviations of chance at 100 rows, as there are only 7 reference windows"
    assert few.value == pytest.approx(0.5 + 3 * 0.2887, abs=0.01)
    none = find_bound(ThresholdRule(quantile=0.99), [], some)
    assert none.basis == "99 % quantile of chance at 100 rows, as there are no reference windows"
    assert none.value == pytest.approx(0.99, abs=0.01)
    assert find_bound(ThresholdRule(quantile=0.99), [0.1] * 99, some).basis.endswith("only 99 reference windows")


def test_nothing_to_draw_from_decides_nothing() -> None:
    assert find_bound(ThresholdRule(false_alarms=0.01), [], lambda _: None).value is None


def test_a_bound_is_exceeded_by_fewer_draws_than_its_rank() -> None:
    values = np.arange(1.0, 200.0)
    assert np.count_nonzero(values >= NullDistribution(8, 8, values, values).bound(0.05)) == 9
    ties = np.repeat(1.0, 199)
    assert np.count_nonzero(ties >= NullDistribution(8, 8, ties, ties).bound(0.05)) == 0


def test_bounds_between_powers_of_two_are_interpolated() -> None:
    lower, upper = np.full(199, 1 / 8), np.full(199, 1 / math.sqrt(128))
    for rows in (64, 65, 96, 127):
        drawn = NullDistribution(rows, 64, lower, upper)
        assert drawn.bound(0.05) == pytest.approx(1 / math.sqrt(rows))
        assert drawn.spread(3) == pytest.approx(1 / math.sqrt(rows))


@pytest.mark.parametrize(("method", "rows"), [("ks", 60), ("wasserstein", 60), *((name, 700) for name in NUMERIC)])
def test_calibrated_thresholds_keep_their_false_alarm_rate(method: str, rows: int) -> None:
    """Fresh samples of the same population, against references that are samples too: 600 windows at 5 %."""
    random = np.random.default_rng(17)
    exceeded = 0
    trials = 150
    for _ in range(4):
        reference = NumericReference.build(np.exp(random.normal(size=4_000)))
        for _ in range(trials):
            summary = NumericSummary(reference)
            summary.update(np.exp(random.normal(size=rows)))
            drawn = null_distribution(("m", "x"), method, summary, 199)
            assert drawn is not None
            statistic = statistic_of(method, summary)
            assert statistic is not None
            exceeded += statistic >= drawn.bound(0.05)
    # The standard error of the rate is 0.9 %, that of each of the four thresholds 1.5 %.
    assert 0.02 < exceeded / (4 * trials) < 0.08, (method, rows, exceeded)


@pytest.mark.parametrize("method", CATEGORICAL)
def test_calibrated_thresholds_of_categories(method: str) -> None:
    """50 categories and 500 rows: a constant 0.1 would fire on nine windows of ten."""
    random = np.random.default_rng(18)
    names = [f"c{number}" for number in range(50)]
    exceeded = 0
    for trial in range(600):
        if not trial % 150:
            reference = CategoricalReference.build(list(random.choice(names, 5_000)))
        summary = CategoricalSummary(reference)
        summary.update(list(random.choice(names, 500)))
        drawn = null_distribution(("m", "c"), method, summary, 199)
        assert drawn is not None
        statistic = statistic_of(method, summary)
        assert statistic is not None
        exceeded += statistic >= drawn.bound(0.05)
    assert 0.02 < exceeded / 600 < 0.08, (method, exceeded)


def test_the_null_distribution_is_the_same_in_every_process() -> None:
    """The value is that of the machine on which this was written: the stream of RandomState does not change."""
    values = (np.arange(2_000) * 7919 % 2_003) / 100.0
    summary = NumericSummary(NumericReference.build(values))
    summary.update(values[:300])
    drawn = null_distribution(("m", "x"), "ks", summary, 199)
    assert drawn is not None
    assert (drawn.rows, drawn.below) == (300, 256)
    again = NumericSummary(NumericReference.build(values))
    again.update(values[50:350])
    twin = null_distribution(("m", "x"), "ks", again, 199)
    assert twin is not None
    assert twin.lower.tobytes() == drawn.lower.tobytes()
    assert float(np.median(drawn.lower)) == pytest.approx(GOLDEN_MEDIAN, abs=1e-12)
    other = null_distribution(("m", "y"), "ks", again, 199)
    assert other is not None
    assert other.lower.tobytes() != drawn.lower.tobytes()


@pytest.mark.parametrize("scale", [1e-308, 1e-3, 1e308])
def test_extreme_values_have_a_null_distribution(scale: float) -> None:
    values = np.array([-1.0, 0.5, 1.0] * 50) * scale
    summary = NumericSummary(NumericReference.build(values))
    summary.update(values[:90])
    for method in NUMERIC:
        drawn = null_distribution(("m", "x"), method, summary, 199)
        assert drawn is None or np.isfinite(drawn.upper).all()


@pytest.mark.parametrize("method", sorted({*NUMERIC, *CATEGORICAL}))
def test_the_statistic_by_name_is_the_one_measured(method: str) -> None:
    random = np.random.default_rng(6)
    numbers = NumericSummary(NumericReference.build(random.normal(size=900)))
    numbers.update(random.normal(0.3, 1.1, 200))
    texts = CategoricalSummary(CategoricalReference.build(list(random.choice(["a", "b", "c"], 900))))
    texts.update(list(random.choice(["a", "b", "d"], 200)))
    rules = DriftRules(
        numeric=[DriftMethod(method=name) for name in NUMERIC],  # type: ignore[arg-type]
        categorical=[DriftMethod(method=name) for name in CATEGORICAL],  # type: ignore[arg-type]
    )
    summaries: list[tuple[NumericSummary | CategoricalSummary, tuple[str, ...]]] = [
        (numbers, NUMERIC),
        (texts, CATEGORICAL),
    ]
    for summary, known in summaries:
        if method in known:
            measured = {r.method: r.statistic for r in measure_feature("x", summary, 200, 1, rules).distances}
            assert statistic_of(method, summary) == measured[method]
        else:
            with pytest.raises(ValueError, match="is no drift method for"):
                statistic_of(method, summary)


# -- the reference's own windows ---------------------------------------------------------------------------------------

SPEC = ModelSpec(
    model="m",
    task="binary",
    features={"temp": FeatureSpec(kind="numeric"), "gate": FeatureSpec(kind="categorical")},
    segments=["gate"],
    sliding=["7d"],
    minimum_rows=20,
    drift=DriftRules(
        numeric=[
            DriftMethod(method="wasserstein", threshold=ThresholdRule(spread=3)),
            DriftMethod(method="ks", threshold=1.0),
            DriftMethod(method="psi"),
        ],
        categorical=[DriftMethod(method="jensen_shannon", threshold=ThresholdRule(quantile=0.9))],
    ),
)


def weather(days: int, per_day: int, seed: int) -> tuple[dict[str, object], np.ndarray]:
    """Every day has a temperature of its own, as weather does: a day is always far from the year."""
    random = np.random.default_rng(seed)
    mean = np.repeat(random.normal(0, 10, days), per_day)
    times = np.repeat(np.arange(days) * DAY, per_day) + random.integers(0, DAY, days * per_day)
    columns = {
        "temp": mean + random.normal(0, 2, days * per_day),
        "gate": list(random.choice(["A", "B"], days * per_day)),
    }
    return columns, times


@pytest.fixture(scope="module")
def profile() -> ReferenceProfile:
    columns, times = weather(60, 120, 1)
    bare = ReferenceProfile.build(SPEC, columns, model_version="v1")  # type: ignore[arg-type]
    return with_reference_windows(bare, SPEC, columns, times)  # type: ignore[arg-type]


def test_the_profile_keeps_each_piece_against_the_rest(profile: ReferenceProfile) -> None:
    windows = profile.windows
    assert isinstance(windows, list)
    assert [(known.window_ms // DAY, len(known.features["temp"]["ks"])) for known in windows] == [(1, 60), (7, 9)]
    columns, times = weather(60, 120, 1)
    temp = np.asarray(columns["temp"])
    inside = times < DAY
    from scipy import stats

    expected = stats.ks_2samp(temp[inside], temp[~inside]).statistic
    assert windows[0].features["temp"]["ks"][0] == pytest.approx(expected, abs=2 / 511)
    assert set(windows[0].features["temp"]) == {"wasserstein", "ks"}, "what only is reported needs no threshold"
    assert ReferenceProfile.decode(profile.encode()).digest() == profile.digest()
    part = profile.segments["gate=A"].windows
    assert isinstance(part, list)
    assert set(part[0].features["temp"]) == {"wasserstein"}, "of segments only what thresholds look at"


def test_row_order_changes_no_statistic() -> None:
    columns, times = weather(20, 50, 2)
    order = np.random.default_rng(0).permutation(times.size)
    mixed = {"temp": np.asarray(columns["temp"])[order], "gate": [columns["gate"][at] for at in order]}  # type: ignore[index]
    profiles = [
        with_reference_windows(ReferenceProfile.build(SPEC, c, model_version="v1"), SPEC, c, t)  # type: ignore[arg-type]
        for c, t in ((columns, times), (mixed, times[order]))
    ]
    assert profiles[0].encode() == profiles[1].encode()


def test_a_profile_without_times_keeps_the_bytes_that_it_had() -> None:
    columns, _ = weather(5, 50, 3)
    profile = ReferenceProfile.build(SPEC, columns, model_version="v1")  # type: ignore[arg-type]
    assert b"windows" not in profile.encode()
    assert ReferenceProfile.decode(profile.encode()).windows is msgspec.UNSET


def test_times_that_do_not_fit_are_refused() -> None:
    columns, times = weather(5, 50, 3)
    profile = ReferenceProfile.build(SPEC, columns, model_version="v1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="give one each"):
        with_reference_windows(profile, SPEC, columns, times[1:])  # type: ignore[arg-type]


def test_spread_lets_usual_days_pass_and_not_unusual_ones(profile: ReferenceProfile) -> None:
    """By a constant of 0.25, every day would drift."""
    columns, times = weather(40, 120, 4)
    constant = msgspec.structs.replace(SPEC, drift=DriftRules())
    fired: dict[str, int] = {"spread": 0, "constant": 0}
    for day in range(40):
        inside = times // DAY == day
        stats = InputStats(profile)
        gates = [gate for gate, chosen in zip(columns["gate"], inside, strict=True) if chosen]  # type: ignore[arg-type]
        stats.update({"temp": np.asarray(columns["temp"])[inside], "gate": gates}, int(inside.sum()))
        for name, spec in (("spread", SPEC), ("constant", constant)):
            fired[name] += judge_inputs(stats, profile, spec)[0].decision == "drift"
    assert fired["constant"] >= 35
    assert fired["spread"] <= 2

    hot = InputStats(profile)
    hot.update({"temp": np.random.default_rng(5).normal(60, 2, 120), "gate": ["A", "B"] * 60}, 120)
    report = judge_inputs(hot, profile, SPEC)[0]
    assert report.decision == "drift"
    assert "(mean + 3 deviations of 60 reference windows)" in report.sentence
    assert report.results[0].threshold == pytest.approx(report.results[0].threshold)
    assert report.results[0].severity == "warning"


def test_sliding_windows_have_thresholds_of_their_own_length(profile: ReferenceProfile) -> None:
    stats = InputStats(profile)
    stats.update({"temp": np.random.default_rng(5).normal(0, 10, 840), "gate": ["A", "B"] * 420}, 840)
    day, week = (judge_inputs(stats, profile, SPEC, window_ms=days * DAY)[0].results[0] for days in (1, 7))
    assert day.threshold is not None
    assert week.threshold is not None
    assert week.threshold < day.threshold
    assert week.basis == "mean + 3 deviations of 9 reference windows"
    month = judge_inputs(stats, profile, SPEC, window_ms=28 * DAY)[0].results[0]
    assert month.basis.endswith("as there are no reference windows")


def test_severity_is_critical_from_its_own_bound_on(profile: ReferenceProfile) -> None:
    def severity(mean: float, **rules: object) -> str | None:
        method = DriftMethod(method="wasserstein", threshold=0.5, critical=rules.pop("critical", None))  # type: ignore[arg-type]
        spec = msgspec.structs.replace(SPEC, drift=DriftRules(numeric=[method], **rules))  # type: ignore[arg-type]
        stats = InputStats(profile)
        stats.update({"temp": np.random.default_rng(5).normal(mean, 10, 400), "gate": ["A", "B"] * 200}, 400)
        report = judge_inputs(stats, profile, spec)[0]
        assert (report.results[0].severity is not None) == (report.decision == "drift")
        return report.results[0].severity

    assert severity(0.0) is None
    assert severity(9.0) == "warning"
    assert severity(30.0) == "warning"
    assert severity(30.0, critical=2.0) == "critical"
    assert severity(9.0, critical=2.0) == "warning"
    assert severity(30.0, critical=ThresholdRule(times=4)) == "critical"
    assert severity(30.0, critical_times=4.0) == "critical"
    assert severity(9.0, critical_times=4.0) == "warning"


def test_draws_under_no_change_compute_no_p_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exact p-value takes milliseconds, and there are thousands of draws."""
    values = np.random.default_rng(3).normal(size=120)
    summary = NumericSummary(NumericReference.build(values))
    summary.update(values[:60] + 0.3)
    expected = numeric_method("ks")(NumericPair(summary.reference, summary)).statistic
    monkeypatch.setattr("driftloop.drift.pairs.ks_p_value", None)
    assert statistic_of("ks", summary) == expected
