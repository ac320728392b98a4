"""Earlier windows are found the same way whether they were judged a moment ago or are stored."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from driftloop.events.reports import WindowReport
from driftloop.judging.assess import judge_window
from driftloop.judging.earlier import EarlierWindows
from driftloop.judging.report import MergedPart, report_of
from driftloop.judging.state import ModelState, TrailingWindow
from driftloop.performance.outcomes import OutcomeStats
from driftloop.profiles.columns import PREDICTION
from driftloop.profiles.inputs import InputStats
from driftloop.windows.assembly import WindowKey
from support.core_world import PROFILE, SPEC
from support.world import DAY, START

WINDOWS = 600
Stored = dict[str, tuple[WindowReport, bytes]]


def key_of(day: int) -> WindowKey:
    return WindowKey(START + (day + 1) * DAY, START + day * DAY, "credit", "input")


def report_with(day: int, rows: int) -> tuple[WindowReport, bytes]:
    stats = InputStats(PROFILE)
    if rows:
        columns = {"income": np.ones(rows), "age": np.ones(rows), "region": ["north"] * rows, PREDICTION: np.ones(rows)}
        stats.update(columns, rows)
    return report_of(key_of(day), MergedPart("v1", "", stats, [], PROFILE), SPEC, "digest")


def windows_of(stored: Stored) -> EarlierWindows:
    return EarlierWindows(stored.get, lambda _key, _part, stats: InputStats.decode(stats, PROFILE))


def test_no_window_is_forgotten_before_it_is_stored() -> None:
    """After a long absence hundreds of windows are judged before the first of them is stored."""
    stored: Stored = {}
    earlier = windows_of(stored)
    report, stats = report_with(0, 1)
    for day in range(WINDOWS):
        fresh = msgspec.structs.replace(report, report_id=f"credit/v1/input/{day}")
        earlier.remember(fresh, stats)
    first = report_with(0, 1)
    earlier.remember(*first)
    for day in range(WINDOWS):
        earlier.remember(msgspec.structs.replace(report, report_id=f"other/{day}"), stats)
    assert earlier.merged(key_of(WINDOWS), ("v1", ""), [WINDOWS * DAY])[1] == 1
    stored[first[0].report_id] = first
    earlier.stored()
    assert earlier.merged(key_of(WINDOWS), ("v1", ""), [WINDOWS * DAY])[1] == 1


def test_an_empty_window_is_none_whether_it_is_stored_or_not() -> None:
    empty = report_with(3, 0)
    for stored in ({}, {empty[0].report_id: empty}):
        assert windows_of(stored).merged(key_of(4), ("v1", ""), [DAY]) == (None, 0)


def test_a_sliding_window_of_an_earlier_spec_is_no_window() -> None:
    report, _ = report_with(3, 5)
    sliding = msgspec.structs.replace(report, sliding="1d")
    assert windows_of({report.report_id: (sliding, b"")}).merged(key_of(4), ("v1", ""), [DAY]) == (None, 0)


@pytest.mark.parametrize("threshold", [0.5, 0.7])
def test_rules_over_several_windows_begin_anew_after_a_change_of_the_statistics(threshold: float) -> None:
    before = OutcomeStats("binary", decision_threshold=threshold)
    stats = OutcomeStats("binary")
    for one in (before, stats):
        one.add_predicted(2)
        one.update(np.array([0.9, 0.2]), np.array([1, 0]), np.array([1, 1]))
    state = ModelState(trailing={"v1": [TrailingWindow(START + DAY, msgspec.Raw(before.encode()))]})
    key = WindowKey(START + 2 * DAY, START + DAY, "credit", "outcome")
    judged = judge_window(key, [MergedPart("v1", "", stats, [], PROFILE)], state, SPEC, "digest")
    (report,) = (report for report, _ in judged.reports)
    rows = {metric.metric: metric.rows for metric in report.metrics}
    assert rows["roc_auc@2"] == (4 if threshold == 0.5 else 2)


def test_windows_of_other_statistics_are_no_earlier_windows() -> None:
    report, stats = report_with(3, 5)

    def refuse(*_: object) -> InputStats:
        raise ValueError("made with other settings")

    assert EarlierWindows({report.report_id: (report, stats)}.get, refuse).merged(key_of(4), ("v1", ""), [DAY])[1] == 0
