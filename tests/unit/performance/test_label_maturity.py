"""Label delays: Kaplan and Meier's estimate, arrivals by slot and outcome, and metrics corrected for labels to come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop.performance.delays import DelayHistogram
from driftloop.performance.kaplan_meier import kaplan_meier
from driftloop.performance.maturity import DelayHistory, corrected_metrics, label_report
from driftloop.performance.outcome_wire import without_arrivals
from driftloop.performance.outcomes import OutcomeStats
from driftloop.spec.basics import Task
from parity.estimated_worlds import delays_world

HOUR = 3_600_000
DAY = 24 * HOUR
GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[2] / "parity" / "golden_estimated.json").read_text())[
    "survival"
]


def test_kaplan_meier_is_statsmodels() -> None:
    delays, arrived = delays_world()
    come, waiting = DelayHistogram(), DelayHistogram()
    come.add(delays[arrived], 1)
    waiting.add(delays[~arrived], 1)
    curve = kaplan_meier(*come.table(), *waiting.table())
    assert curve.times_ms.tolist() == GOLDEN["times"]
    np.testing.assert_allclose(curve.pending, GOLDEN["survival"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(curve.standard_errors, GOLDEN["standard_errors"], rtol=0, atol=1e-12)


def test_kaplan_meier_by_hand() -> None:
    # Ten predictions: 2 labels at 1 h, 3 give up at 2 h, 1 label at 3 h, the rest are watched up to 5 h.
    curve = kaplan_meier(np.array([1, 3]), np.array([2, 1]), np.array([2, 5]), np.array([3, 4]))
    assert [curve.arrived(age) for age in (0, 1, 2, 3, 9)] == pytest.approx([0, 0.2, 0.2, 1 - 0.8 * 4 / 5, 0.36])
    nothing = kaplan_meier(np.array([], np.int64), np.array([], np.int64), np.array([4]), np.array([7]))
    assert (nothing.arrived(10), nothing.standard_error(10)) == (0.0, 0.0)
    everything = kaplan_meier(np.array([4]), np.array([7]), np.array([], np.int64), np.array([], np.int64))
    assert (everything.arrived(4), everything.standard_error(4)) == (1.0, 0.0)


def test_the_delay_table_has_each_bins_middle() -> None:
    delays = DelayHistogram()
    values = np.array([0, 1, 31, 32, 63, 64, 65, 1_000, HOUR, 3 * DAY], np.int64)
    delays.add(values, 1)
    times, counts = delays.table()
    assert counts.sum() == values.size
    assert times[:5].tolist() == [0, 1, 31, 32, 63]
    for value in values.tolist():
        assert min(abs(times - value)) <= 0.016 * value
    assert (np.diff(times) > 0).all()


def stats_of(task: Task) -> OutcomeStats:
    return OutcomeStats(task, ["a", "b", "c"] if task == "multiclass" else (), center=0.5, window_ms=DAY)


def rows_of(task: Task, chance: np.random.Generator, count: int) -> tuple[Any, Any]:
    if task == "multiclass":
        return chance.dirichlet([1, 1, 1], count), chance.integers(0, 3, count)
    if task == "binary":
        return chance.random(count), chance.integers(0, 2, count)
    return chance.normal(0, 1, count), chance.normal(0, 1, count)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(0, 60), max_size=3))
def test_arrivals_are_the_same_in_any_split_and_after_corrections(task: Task, seed: int, cuts: list[int]) -> None:
    chance = np.random.default_rng(seed)
    predictions, labels = rows_of(task, chance, 60)
    delays, offsets = chance.integers(0, DAY, 60), chance.integers(0, DAY, 60)
    whole = stats_of(task)
    whole.add_predicted(60, offsets)
    whole.update(predictions, labels, delays, 1, offsets)
    parts = []
    for rows in np.split(chance.permutation(60), sorted(cuts)):
        part = stats_of(task)
        part.add_predicted(len(rows), offsets[rows])
        wrong, wrong_labels = rows_of(task, chance, len(rows))
        part.update(wrong, wrong_labels, delays[rows], 1, offsets[rows])
        part.update(predictions[rows], labels[rows], delays[rows], 1, offsets[rows])
        part.update(wrong, wrong_labels, delays[rows], -1, offsets[rows])
        parts.append(OutcomeStats.decode(part.encode(), stats_of(task)))
    total = stats_of(task)
    for index in chance.permutation(len(parts)):
        total.merge(parts[index])
    assert total == whole
    assert total.encode() == whole.encode() == whole.copy().encode()


def test_statistics_without_arrivals_take_them_away_and_old_ones_can_be_read() -> None:
    chance = np.random.default_rng(0)
    known, bare = stats_of("binary"), OutcomeStats("binary")
    known.add_predicted(5, chance.integers(0, DAY, 5))
    again = OutcomeStats.decode(bare.encode(), known)
    assert again.arrivals is None
    known.merge(again)
    assert known.arrivals is None
    report = label_report(known, start_ms=0, horizon_ms=DAY, watermark_ms=None)
    assert (report.coverage_by_age[-1].share, report.never_share, report.maturity) == (0.0, 1.0, 1.0)
    report = label_report(known, start_ms=0, horizon_ms=DAY, watermark_ms=DAY)
    assert (report.coverage_by_age, report.never_share, report.maturity) == ([], None, None)
    assert OutcomeStats.decode(without_arrivals(again.encode()), known).arrivals is None
    with pytest.raises(ValueError, match="offsets_ms"):
        stats_of("binary").add_predicted(3)


def window(
    chance: np.random.Generator, watermark_ms: int | None, rows: int = 4_000
) -> tuple[OutcomeStats, float, float]:
    """A day's predictions. Labels "1" take six hours on average, labels "0" one; a tenth never comes. The model is
    right more often about "0". Returns the statistics of what has come by then, and the true base rate and accuracy."""
    offsets = chance.integers(0, DAY, rows)
    labels = (chance.random(rows) < 0.3).astype(np.int64)
    right = chance.random(rows) < np.where(labels == 1, 0.6, 0.9)
    scores = np.where(right == (labels == 1), 0.8, 0.2)
    delays = chance.exponential(np.where(labels == 1, 6 * HOUR, HOUR)).astype(np.int64)
    comes = (chance.random(rows) < 0.9) & (delays <= 2 * DAY)
    there = comes if watermark_ms is None else comes & (offsets + delays <= watermark_ms)
    stats = stats_of("binary")
    made = np.ones(rows, np.bool_) if watermark_ms is None else offsets <= watermark_ms
    stats.add_predicted(int(made.sum()), offsets[made])
    stats.update(scores[there], labels[there], delays[there], 1, offsets[there])
    return stats, float(labels[comes].mean()), float(right[comes].mean())


def history_of(windows: int, seed: int = 99) -> DelayHistory:
    history = DelayHistory()
    for number in range(windows):
        stats = window(np.random.default_rng(seed + number), None)[0]
        assert stats.arrivals is not None
        history = history.after([stats.arrivals])
    return history


def test_a_final_window_tells_delays_coverage_by_age_and_what_never_comes() -> None:
    stats, _, _ = window(np.random.default_rng(1), None)
    report = label_report(stats, start_ms=0, horizon_ms=2 * DAY, watermark_ms=None)
    assert report.never_share == pytest.approx(1 - stats.labeled / stats.predicted, abs=1e-12)
    assert report.never_share == pytest.approx(0.1, abs=0.02)
    assert [age.age_ms for age in report.coverage_by_age][-3:] == [6 * HOUR, DAY, 2 * DAY]
    shares = [age.share for age in report.coverage_by_age]
    assert shares == sorted(shares)
    hour = next(age for age in report.coverage_by_age if age.age_ms == HOUR)
    assert hour.low < 0.9 * (0.7 * (1 - np.exp(-1)) + 0.3 * (1 - np.exp(-1 / 6))) < hour.high
    assert report.delay_p50_ms is not None
    assert report.delay_p90_ms is not None
    assert report.delay_p99_ms is not None
    assert report.delay_p50_ms < report.delay_p90_ms < report.delay_p99_ms
    assert (report.maturity, report.effective_rows) == (1.0, float(stats.labeled))
    assert msgspec.json.decode(msgspec.json.encode(report), type=type(report)) == report


def test_an_open_window_is_censored_at_its_age_and_says_no_more_than_it_can_know() -> None:
    watermark = DAY - HOUR
    covered = 0
    errors, naive_errors = [], []
    truth = 0.9 * (0.7 * (1 - np.exp(-6)) + 0.3 * (1 - np.exp(-1)))
    for seed in range(40):
        stats, _, _ = window(np.random.default_rng(seed), watermark)
        report = label_report(stats, start_ms=0, horizon_ms=2 * DAY, watermark_ms=watermark)
        assert report.never_share is None
        assert max(age.age_ms for age in report.coverage_by_age) == 6 * HOUR
        six = report.coverage_by_age[-1]
        covered += six.low <= truth <= six.high
        errors.append(six.share - truth)
        assert stats.arrivals is not None
        within = sum(counts[times <= 6 * HOUR].sum() for times, counts in (d.table() for d in stats.arrivals.delays))
        naive_errors.append(within / stats.predicted - truth)
    assert abs(np.mean(errors)) < 0.005
    assert np.mean(naive_errors) < -0.03, "the young ones had no six hours yet"
    assert 34 <= covered <= 40, covered


def test_the_correction_takes_the_bias_out_and_its_interval_covers() -> None:
    history = history_of(4)
    watermark = DAY + HOUR
    naive_errors, errors, covered, maturities = [], [], 0, []
    for seed in range(60):
        stats, base_rate, accuracy = window(np.random.default_rng(500 + seed), watermark)
        reports = corrected_metrics(stats, start_ms=0, horizon_ms=2 * DAY, watermark_ms=watermark, history=history)
        by_name = {report.metric: report for report in reports}
        found = by_name["base_rate~corrected"]
        assert found.value is not None
        assert found.low is not None
        assert found.high is not None
        naive = stats.metrics()["base_rate"].value
        assert naive is not None
        naive_errors.append(naive - base_rate)
        errors.append(found.value - base_rate)
        covered += found.low <= base_rate <= found.high
        whole = by_name["accuracy~corrected"]
        assert whole.value is not None
        assert abs(whole.value - accuracy) < 0.05
        labels = label_report(stats, start_ms=0, horizon_ms=2 * DAY, watermark_ms=watermark, history=history)
        assert labels.maturity is not None
        assert labels.effective_rows is not None
        assert labels.effective_rows < stats.labeled
        maturities.append(labels.maturity - stats.labeled / (0.9 * 4_000))
    assert np.mean(naive_errors) < -0.03, "labels of the slow class are missing"
    assert abs(np.mean(errors)) < 0.006
    assert covered >= 50, covered
    assert abs(np.mean(maturities)) < 0.03


def test_without_history_or_labels_nothing_is_corrected() -> None:
    stats, _, _ = window(np.random.default_rng(3), DAY)
    common = {"start_ms": 0, "horizon_ms": 2 * DAY, "watermark_ms": DAY}
    assert corrected_metrics(stats, history=DelayHistory(), **common) == []  # type: ignore[arg-type]
    assert label_report(stats, history=DelayHistory(), **common).maturity is None  # type: ignore[arg-type]
    empty = stats_of("binary")
    empty.add_predicted(3, np.array([0, 1, 2]))
    assert corrected_metrics(empty, history=history_of(1), **common) == []  # type: ignore[arg-type]
    report = label_report(empty, history=history_of(1), **common)  # type: ignore[arg-type]
    assert report.maturity is None
    assert report.coverage_by_age[0].share == 0.0


def test_a_regression_is_corrected_for_late_large_labels() -> None:
    def rows(chance: np.random.Generator, watermark_ms: int | None) -> tuple[OutcomeStats, float]:
        offsets = chance.integers(0, DAY, 3_000)
        slow = chance.random(3_000) < 0.4
        labels = np.where(slow, 1.0, 0.0) + chance.normal(0, 0.01, 3_000)
        predictions = np.zeros(3_000)
        delays = chance.exponential(np.where(slow, 8 * HOUR, HOUR)).astype(np.int64)
        comes = delays <= 2 * DAY
        there = comes if watermark_ms is None else comes & (offsets + delays <= watermark_ms)
        stats = stats_of("regression")
        stats.add_predicted(3_000, offsets)
        stats.update(predictions[there], labels[there], delays[there], 1, offsets[there])
        return stats, float(np.abs(labels[comes]).mean())

    past = rows(np.random.default_rng(1), None)[0]
    assert past.arrivals is not None
    history = DelayHistory().after([past.arrivals])
    stats, truth = rows(np.random.default_rng(2), DAY)
    reports = {
        report.metric: report.value
        for report in corrected_metrics(stats, start_ms=0, horizon_ms=2 * DAY, watermark_ms=DAY, history=history)
    }
    plain = stats.metrics()["mae"].value
    corrected, root = reports["mae~corrected"], reports["rmse~corrected"]
    assert plain is not None
    assert corrected is not None
    assert root is not None
    assert truth - plain > 0.05
    assert corrected == pytest.approx(truth, abs=0.03)
    assert root == pytest.approx(np.sqrt(0.4), abs=0.03)


def test_the_history_is_bounded_and_keeps_the_last_windows() -> None:
    history = history_of(11)
    assert len(history.windows) == 8
    strata = history.strata()
    assert len(strata) == 2
    assert strata[0].quantile_ms(0.5) == pytest.approx(HOUR * np.log(2), rel=0.05)
    assert history.after([]) is history
