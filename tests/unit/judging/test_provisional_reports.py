"""Open windows: shown as they fill, with coverage and maturity, and seen by nothing that decides."""

from __future__ import annotations

import random

import msgspec
import pytest

from driftloop.events.batch import RecordBatch
from driftloop.events.messages import PartialMessage
from driftloop.events.reports import WindowReport
from driftloop.judging.assessor import Assessor
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.source import SourceMonitor
from support import world
from support.core_world import SPEC, Catalog, Logs, Stored, logs_of

PARTITIONS = 2
DAYS = 6


def _messages(logs: Logs, until_ms: int) -> list[PartialMessage]:
    """What monitors have published when every log was read up to an event time."""
    found: list[PartialMessage] = []
    for partition in range(PARTITIONS):
        monitor = SourceMonitor(partition, Catalog(), Limits(), predictions_topic="predictions", labels_topic="labels")
        for topic in ("predictions", "labels"):
            values = [
                value
                for value in logs[topic, partition]
                if value is not None and msgspec.json.decode(value)["event_time_ms"] <= until_ms
            ]
            count = len(values)
            record_time = world.START + 1000 * world.DAY
            batch = RecordBatch(topic, partition, range(count), [record_time] * count, [b""] * count, values)
            (monitor.take_predictions if topic == "predictions" else monitor.take_labels)(batch)
        found += [*monitor.take_partials(), monitor.progress()]
    return found


@pytest.fixture(scope="module")
def logs() -> Logs:
    return logs_of(world.history(DAYS, 240, faults=False), PARTITIONS)


def _assessor_at(logs: Logs, stored: Stored, until_ms: int) -> Assessor:
    assessor = stored.assessor(PARTITIONS)
    assessor.take(enumerate(_messages(logs, until_ms)))
    stored.commit(assessor)
    return assessor


def test_open_windows_have_coverage_maturity_and_corrected_metrics(logs: Logs) -> None:
    stored = Stored()
    assessor = _assessor_at(logs, stored, world.START + 4 * world.DAY + 12 * world.HOUR)
    reports = [report for report, _ in assessor.open_reports(50)]
    assert {report.status for report in reports} == {"provisional"}
    assert {report.segment for report in reports} == {""}
    final = {report.report_id for report, _ in stored.judged.reports}
    assert final
    assert not final & {report.report_id for report in reports}
    outcomes = sorted((r for r in reports if r.kind == "outcome"), key=lambda r: r.window_end_ms)
    assert [(r.window_start_ms - world.START) // world.DAY for r in outcomes] == [3, 4]
    older, newest = outcomes
    for report in outcomes:
        assert report.sentence.startswith("Open.")
        assert report.labels is not None
        assert report.labels.maturity is not None
    assert older.labels is not None
    assert newest.labels is not None
    assert older.labels.maturity == pytest.approx(1.0)  # labels take eight hours at most here
    assert newest.labels.maturity is not None
    assert 0.3 < newest.labels.maturity < 0.9
    assert newest.coverage is not None
    assert newest.coverage < 0.9 * 0.9
    corrected = {metric.metric: metric for metric in newest.estimated}
    assert {"accuracy~corrected", "brier~corrected", "base_rate~corrected"} <= set(corrected)
    assert "labels" not in corrected
    inputs = [report for report in reports if report.kind == "input"]
    assert [(r.window_start_ms - world.START) // world.DAY for r in inputs] == [4]


def test_only_what_has_changed_is_reported_again_and_no_more_than_the_limit(logs: Logs) -> None:
    stored = Stored()
    assessor = _assessor_at(logs, stored, world.START + 2 * world.DAY + 12 * world.HOUR)
    first = [report.report_id for report, _ in assessor.open_reports(2)]
    rest = [report.report_id for report, _ in assessor.open_reports(50)]
    assert len(first) == 2
    assert rest
    assert not set(first) & set(rest)
    assert assessor.open_reports(50) == []
    later = _messages(logs, world.START + 2 * world.DAY + 18 * world.HOUR)
    assessor.take((assessor.next_offset + index, message) for index, message in enumerate(later))
    stored.commit(assessor)
    again = [report.report_id for report, _ in assessor.open_reports(50)]
    assert set(again) <= {*first, *rest}
    assert again


def _everything(logs: Logs, asked: bool) -> tuple[Stored, list[WindowReport]]:
    stored, chance = Stored(), random.Random(1)
    shown: list[WindowReport] = []
    assessor = stored.assessor(PARTITIONS)
    offset = 0
    for hour in range(0, (DAYS + 3) * 24, 5):
        messages = _messages(logs, world.START + hour * world.HOUR)
        assessor.take((offset + index, message) for index, message in enumerate(messages))
        offset += len(messages)
        if asked and chance.random() < 0.8:
            shown += [report for report, _ in assessor.open_reports(3)]
        stored.commit(assessor)
        if asked:
            shown += [report for report, _ in assessor.open_reports(3)]
    return stored, shown


def test_asking_for_open_windows_changes_nothing_that_is_final(logs: Logs) -> None:
    quiet, _ = _everything(logs, asked=False)
    asked, shown = _everything(logs, asked=True)
    assert len(shown) > 10
    assert asked.judged.reports == quiet.judged.reports
    assert asked.judged.alerts == quiet.judged.alerts
    assert asked.judged.decisions == quiet.judged.decisions
    assert asked.states == quiet.states
    assert SPEC.label_horizon_ms == 12 * world.HOUR
