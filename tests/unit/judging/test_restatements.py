"""Restated reports: what comes late is in the last one of a window, whatever happened to the assessor meanwhile."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from driftloop.events.batch import RecordBatch
from driftloop.events.messages import PartialMessage, WindowPartial
from driftloop.events.reports import WindowReport
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.source import SourceMonitor
from faults.history import history
from support import world
from support.core_world import Catalog, Logs, Stored, logs_of, run

PARTITIONS = 3


@pytest.fixture(scope="module")
def logs() -> Logs:
    events = [event for event, _ in history(10, 120, drift_from_day=4)]
    return logs_of([*events, *world.end_of_time(PARTITIONS, 10)], PARTITIONS)


def last_said(stored: Stored) -> dict[str, WindowReport]:
    """The last report of each window, of those that were restated."""
    return {report.report_id: report for report, _ in stored.judged.reports if report.status == "restated"}


def test_restarts_change_no_restated_report(logs: Logs) -> None:
    """An assessor that starts again reads late partials of windows that it had forgotten: not all of them, since the
    log is read from where windows that are still held begin."""
    for seed in range(4):
        expected = last_said(run(logs, PARTITIONS, seed=seed))
        assert len(expected) > 20
        assert last_said(run(logs, PARTITIONS, seed=seed, restarts=40)) == expected, f"seed {seed}"


@pytest.mark.parametrize("restarts", [False, True])
def test_what_a_source_brings_after_it_was_taken_for_idle_is_restated(restarts: bool) -> None:
    """A partition stands still with rows yet to come, and others pass the ends of its windows meanwhile."""
    partitions = 3
    events, ends = world.history(5, 150), world.end_of_time(partitions, 5)
    logs, whole = logs_of(events, partitions), logs_of([*events, *ends], partitions)
    expected = {report.report_id: report for report, _ in run(whole, partitions, seed=0).judged.reports}
    stored, chance = Stored(), random.Random(5)
    assessor = stored.assessor(partitions)
    partials: list[PartialMessage] = []
    for messages in _with_a_still_source(logs, whole, still=1):
        partials += messages
        assessor.take(list(enumerate(partials))[assessor.next_offset :])
        if restarts and chance.random() < 0.3:
            assessor = stored.assessor(partitions)
            assessor.take(list(enumerate(partials))[assessor.next_offset :])
        stored.commit(assessor)
    restated = last_said(stored)
    assert restated
    last = {report.report_id: report for report, _ in stored.judged.reports}
    assert last.keys() == expected.keys()
    for name, report in last.items():
        assert (report.rows, report.labeled_rows, report.sources, report.confusion) == (
            expected[name].rows,
            expected[name].labeled_rows,
            expected[name].sources,
            expected[name].confusion,
        ), name


def _with_a_still_source(logs: Logs, whole: Logs, still: int) -> Iterator[list[PartialMessage]]:
    """What monitors publish, of which one reads half of its topics, is taken for idle, and reads on afterwards."""
    partitions = len(logs) // 2
    monitors = [
        SourceMonitor(at, Catalog(), Limits(), predictions_topic="predictions", labels_topic="labels")
        for at in range(partitions)
    ]

    def reads(at: int, until: float, logs: Logs = logs) -> list[PartialMessage]:
        monitor = monitors[at]
        for topic, take in (("predictions", monitor.take_predictions), ("labels", monitor.take_labels)):
            values = logs[topic, at]
            start = monitor.predictions_offset if topic == "predictions" else monitor.labels_offset
            stop = int(len(values) * until)
            take(
                RecordBatch(
                    topic,
                    at,
                    range(start, stop),
                    [world.START + 1000 * world.DAY] * (stop - start),
                    [b""] * (stop - start),
                    values[start:stop],
                )
            )
        return [*monitor.take_partials(), monitor.progress()]

    others = [at for at in range(partitions) if at != still]
    yield reads(still, 0.5)
    yield [monitors[still].progress(predictions_idle=True, labels_idle=True)]
    for step in range(1, 10):  # less than what late rows are kept for ahead of it
        for at in others:
            yield reads(at, step / 10)
    for step in range(11, 19):
        yield reads(still, step / 20)
    for at in [*others, still]:
        yield reads(at, 1, whole)


def test_what_comes_for_a_forgotten_window_restates_nothing() -> None:
    """A source that lags by more than late rows are kept for: of the windows that the others had passed long ago,
    nobody knows what else was late."""
    events = [*world.history(6, 100), *world.end_of_time(3, 6)]
    logs = logs_of(events, 3)
    stored, partials = Stored(), list[PartialMessage]()
    assessor = stored.assessor(3)
    for messages in _with_a_still_source(logs, logs, still=1):
        partials += messages
        assessor.take(list(enumerate(partials))[assessor.next_offset :])
        stored.commit(assessor)
    assert assessor.forgotten["credit"] > 0
    assert last_said(stored) == {}
    again = stored.assessor(3)
    again.take(enumerate(partials))
    after = again.advance()
    assert after.judged.reports == []
    stored.progress = after.progress
    once_more = stored.assessor(3)
    once_more.take(enumerate(partials))
    assert once_more.advance().judged.reports == []
    assert not +once_more.forgotten, "that has been said"


@pytest.mark.parametrize("restarts", [False, True])
def test_partials_of_a_source_that_had_nothing_more_are_let_go_when_it_says_so(restarts: bool) -> None:
    """One that was idle speaks again, of later windows: what was held for it is let go, and not read at a start."""
    first, then = world.START + 2 * world.DAY, world.START + 3 * world.DAY + 6 * world.HOUR
    events = world.history(6, 100)
    quiet = logs_of([event for event in events if event[0] < first], 2)
    busy = logs_of([event for event in events if event[0] < then], 2)
    soon = logs_of([event for event in events if then <= event[0] < then + 2 * world.HOUR], 2)
    stored, partials = Stored(), list[PartialMessage]()
    assessor = stored.assessor(2)
    monitors = [
        SourceMonitor(at, Catalog(), Limits(), predictions_topic="predictions", labels_topic="labels") for at in (0, 1)
    ]

    def says(messages: list[PartialMessage]) -> None:
        nonlocal assessor
        partials.extend(messages)
        if restarts:
            assessor = stored.assessor(2)
        assessor.take(list(enumerate(partials))[assessor.next_offset :])
        stored.commit(assessor)

    says(_read(monitors[1], quiet))
    says([monitors[1].progress(predictions_idle=True, labels_idle=True)])
    said = len(partials)
    says(_read(monitors[0], busy))
    assert any(report.status == "final" and report.rows for report, _ in stored.judged.reports)
    assert stored.restart_offset < said, "there might be more of it"
    said = len(partials)
    says(_read(monitors[1], {place: values + soon[place] for place, values in quiet.items()}))
    of_those_days = (
        offset
        for offset, message in enumerate(partials[:said])
        if isinstance(message, WindowPartial) and message.window_end_ms <= first
    )
    assert assessor.advance().restart_offset > max(of_those_days)
    assert last_said(stored) == {}


def _read(monitor: SourceMonitor, logs: Logs) -> list[PartialMessage]:
    """Read to the end of the logs; what is published then."""
    for topic, start, take in (
        ("predictions", monitor.predictions_offset, monitor.take_predictions),
        ("labels", monitor.labels_offset, monitor.take_labels),
    ):
        values = logs[topic, monitor.partition][start:]
        times, keys = [world.START + 1000 * world.DAY] * len(values), [b""] * len(values)
        take(RecordBatch(topic, monitor.partition, range(start, start + len(values)), times, keys, values))
    return [*monitor.take_partials(), monitor.progress()]
