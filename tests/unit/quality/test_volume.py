"""Rows against those of comparable windows."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from driftloop.events.reports import QualityReport
from driftloop.quality.history import QualityHistory, caught_up
from driftloop.quality.judge import judge_volume
from driftloop.quality.volume import expected_rows
from driftloop.spec import ModelSpec, parse_spec

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_704_067_200_000  # 2024-01-01, a Monday
SPEC = parse_spec("{model: m, task: binary, features: {x: {kind: numeric}}}")
HOURLY = parse_spec("{model: m, task: binary, features: {x: {kind: numeric}}, window: 1h}")


def history(rows: list[int], window_ms: int = DAY) -> QualityHistory:
    return QualityHistory(version="v1", end_ms=START + len(rows) * window_ms, window_ms=window_ms, rows=tuple(rows))


def judged(earlier: list[int], rows: int, spec: ModelSpec = SPEC) -> QualityReport:
    known = history(earlier, spec.window_ms)
    (report,) = judge_volume(known, rows, known.end_ms, spec)
    return report


def test_far_fewer_and_far_more_rows_than_usual() -> None:
    usual = [1000, 1040, 960, 1010, 990, 1020, 980, 1000]
    few, many = judged(usual, 300), judged(usual, 3000)
    assert (few.decision, many.decision) == ("broken", "broken")
    assert few.statistic == pytest.approx(0.3)
    assert few.p_value is not None
    assert few.p_value < 1e-6
    assert few.sentence.startswith("300 rows, where 1,000 are expected (500 to 2,")
    assert [judged(usual, rows).decision for rows in (501, 800, 1_300, 1_999)] == ["ok"] * 4


def test_the_interval_is_where_the_decision_changes() -> None:
    for usual in (
        [1000, 1040, 960, 1010, 990, 1020, 980],
        [10, 12, 9, 8, 14, 11, 7, 10],
        [100, 300, 20, 500, 80, 900, 10],
    ):
        report = judged(usual, 50)
        assert report.low is not None
        assert report.high is not None
        low, high = int(np.ceil(report.low)), int(np.floor(report.high))
        assert judged(usual, low).decision == judged(usual, high).decision == "ok"
        assert judged(usual, high + 1).decision == "broken"
        assert low == 0 or judged(usual, low - 1).decision == "broken"


def test_less_than_a_week_says_nothing() -> None:
    assert judged([1000] * 6, 1).decision == "insufficient"
    assert judged([1000] * 167, 1, HOURLY).decision == "insufficient"
    assert judged([1000] * 168, 1, HOURLY).decision == "broken"


def test_an_empty_window_is_odd_where_none_was() -> None:
    assert judged([1000] * 3, 0).decision == "broken"
    assert judged([1000] * 2, 0).decision == "insufficient"
    assert judged([1000, 0, 1000, 1000], 0).decision == "insufficient"
    assert judged([5, 6, 4, 5], 0).decision == "ok", "five rows may well be none"


def test_weekends_and_nights_are_no_alarm() -> None:
    week = [1000, 1050, 950, 1000, 1020, 200, 150]
    for weeks in range(1, 7):
        for day in range(7):
            assert judged(week * weeks + week[:day], week[day]).decision == "ok", f"week {weeks}, day {day}"
    day = [0] * 7 + [100] * 12 + [10] * 5
    hours = day * 5 + [0] * 48
    for hour in range(168):
        assert judged(hours * 2 + hours[:hour], hours[hour], HOURLY).decision in ("ok", "insufficient"), f"hour {hour}"


def test_what_is_usual_on_a_weekend_is_few_on_a_weekday() -> None:
    week = [1000, 1050, 950, 1000, 1020, 200, 150]
    report = judged(week * 4, 200)
    assert report.decision == "broken"
    assert "from 4 windows of the same hour of the week" in report.sentence
    assert judged(week * 2, 200).decision == "broken"


def test_one_outage_blinds_nobody() -> None:
    usual = [1000, 1010, 990, 0, 1005, 995, 1000, 1000, 1010]
    assert judged(usual, 100).decision == "broken"


def test_mostly_empty_windows_expect_nothing() -> None:
    assert judged([0] * 20 + [100], 0).decision == "insufficient"


def test_hours_are_compared_with_the_same_hours() -> None:
    day = [10] * 8 + [1000] * 16
    known = history(day * 10, HOUR)
    night = expected_rows(known, known.end_ms, 2.0, empty=False)
    assert night is not None
    assert (night.median, night.slot) == (10.0, "windows of the same time of the day")


@pytest.mark.parametrize("seed", range(3))
def test_overdispersed_counts_with_a_week_in_them_are_quiet(seed: int) -> None:
    """Variance far above Poisson's: at most one false alarm in a hundred windows."""
    chance = np.random.default_rng(seed)
    alarms = windows = 0
    for _ in range(20):
        base, dispersion = chance.choice([50, 400, 5_000]), chance.choice([0.005, 0.05])
        week = np.array([1, 1, 1, 1, 1, 0.3, 0.2]) * base
        rows: list[int] = []
        for day in range(70):
            mean = week[day % 7]
            count = int(chance.negative_binomial(1 / dispersion, 1 / (1 + dispersion * mean)))
            if day:
                alarms += judged(rows[-28:], count).decision == "broken"
                windows += 1
            rows.append(count)
    assert alarms / windows <= 0.01


def test_it_can_be_switched_off() -> None:
    off = msgspec.structs.replace(SPEC, quality=msgspec.structs.replace(SPEC.quality, volume=None))
    assert judge_volume(history([1000] * 9), 0, START + 9 * DAY, off) == []


# -- the history


def test_windows_that_nobody_reported_were_empty() -> None:
    known = caught_up(history([5, 6]), START + 5 * DAY, DAY)
    assert (known.rows, known.quiet, known.end_ms) == ((5, 6, 0, 0, 0), 3, START + 5 * DAY)
    assert caught_up(known, START + 5 * DAY, DAY) == known


def test_another_window_length_starts_anew() -> None:
    known = caught_up(history([5, 6]), START + 2 * DAY, HOUR)
    assert (known.rows, known.window_ms) == ((), HOUR)


@pytest.mark.parametrize("window_ms", [60_000, HOUR, DAY, 30 * DAY])
def test_a_long_gap_takes_no_more_memory(window_ms: int) -> None:
    known = caught_up(history([5] * 10, window_ms), START + 1_000_000 * window_ms, window_ms)
    assert len(known.rows) <= 1_008
    assert set(known.rows) == {0}
