"""Every data-quality signal from events to alerts, without a broker: monitors of two partitions, and the assessor."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest

from driftloop.events.batch import RecordBatch
from driftloop.events.decisions import PolicyDecision, RetrainCommand
from driftloop.events.messages import Alert, PartialMessage
from driftloop.events.reports import WindowReport
from driftloop.judging.assessor import Assessor, Lookups
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.source import SourceMonitor
from driftloop.profiles.columns import PREDICTION
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec import ModelSpec, parse_spec

DAY = 86_400_000
START = 1_704_067_200_000  # 2024-01-01, a Monday
DAYS, PER_DAY = 9, 300
PARTITIONS = 2
SPEC_TEXT = """
model: m
task: binary
features:
  age: {kind: numeric, minimum: 0, maximum: 120}
  income: {kind: numeric}
  code: {kind: categorical, pattern: "[A-Z]{2}\\\\d"}
  size: {kind: categorical, categories: [s, m, l]}
window: 1d
label_horizon: 12h
minimum_rows: 30
policy: {triggers: [{on: drift, share: 0.2}], minimum_labeled_rows: 10}
"""
SPEC = parse_spec(SPEC_TEXT)
Row = dict[str, Any]
Change = Callable[[Row, int], Row | None]


def row(day: int, number: int, chance: random.Random) -> Row:
    return {
        "prediction_id": f"p{day}-{number}",
        "model_id": "m",
        "model_version": "v1",
        "event_time_ms": START + day * DAY + number * (DAY // 1000),
        "features": {
            "age": chance.randrange(18, 80),
            "income": round(chance.gauss(50, 10), 2),
            "code": chance.choice(["AB1", "CD2", "EF3", "GH4"]),
            "size": chance.choice(["s", "m", "l"]),
        },
        "prediction": chance.random(),
    }


@cache
def profile() -> ReferenceProfile:
    chance = random.Random(99)
    rows = [row(0, number, chance) for number in range(2_000)]
    columns: dict[str, Any] = {
        name: np.array([r["features"][name] for r in rows], np.float64) for name in ("age", "income")
    }
    columns |= {name: [r["features"][name] for r in rows] for name in ("code", "size")}
    columns[PREDICTION] = np.array([r["prediction"] for r in rows])
    return ReferenceProfile.build(SPEC, columns, model_version="v1", label_mean=0.5)


@dataclass
class Told:
    reports: list[WindowReport] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    decisions: list[PolicyDecision] = field(default_factory=list)
    commands: list[RetrainCommand] = field(default_factory=list)

    def opened(self) -> dict[str, int]:
        """Subjects of data-quality alerts, with the day on which each opened."""
        return {
            alert.subject: (alert.window_start_ms - START) // DAY
            for alert in self.alerts
            if alert.kind == "data_quality" and alert.state == "opened"
        }

    def day(self, number: int) -> WindowReport:
        return next(
            r
            for r in self.reports
            if r.kind == "input" and not r.segment and r.window_start_ms == START + number * DAY and r.status == "final"
        )


def watch(rows: list[Row], labels: list[Row] | None = None, *, spec: ModelSpec = SPEC, seed: int = 0) -> Told:
    """Events through monitors and assessor in random steps, and a last event two days later in every partition."""
    chance = random.Random(seed)
    end = max(r["event_time_ms"] for r in rows) + 2 * DAY
    logs: dict[tuple[str, int], list[bytes]] = {(t, at): [] for t in ("p", "l") for at in range(PARTITIONS)}
    for topic, events in (("p", rows), ("l", labels or [])):
        for event in events:
            logs[topic, zlib.crc32(event["prediction_id"].encode()) % PARTITIONS].append(json.dumps(event).encode())
    for (topic, at), log in logs.items():
        last = row(0, 0, chance) | {"prediction_id": f"end{at}", "event_time_ms": end - end % DAY}
        if topic == "l":
            last = {"prediction_id": "none", "model_id": "m", "event_time_ms": end, "label": 1}
        log.append(json.dumps(last).encode())

    class Catalog:
        def spec(self, model_id: str) -> ModelSpec | None:
            return spec

        def profile(self, model_id: str, model_version: str) -> ReferenceProfile | None:
            return profile()

    monitors = [
        SourceMonitor(at, Catalog(), Limits(), predictions_topic="p", labels_topic="l") for at in range(PARTITIONS)
    ]
    told = Told()
    finals: dict[str, tuple[WindowReport, bytes]] = {}
    assessor = Assessor({"m": spec}, PARTITIONS, Lookups(lambda *_: profile(), lambda _: None, finals.get))
    at = dict.fromkeys(logs, 0)
    partials: list[PartialMessage] = []
    while at:
        topic, partition = chance.choice(list(at))
        log, start = logs[topic, partition], at[topic, partition]
        values = log[start : start + chance.choice([100, 900])]
        if not values:
            del at[topic, partition]
            continue
        batch = RecordBatch(
            topic, partition, range(start, start + len(values)), [end] * len(values), [b""] * len(values), values
        )
        monitor = monitors[partition]
        (monitor.take_predictions if topic == "p" else monitor.take_labels)(batch)
        at[topic, partition] += len(values)
        partials += [*monitor.take_partials(), monitor.progress()]
        assessor.take(list(enumerate(partials))[assessor.next_offset :])
        judged = assessor.advance().judged
        for report, stats in judged.reports:
            told.reports.append(report)
            if report.status == "final":
                finals[report.report_id] = (report, stats)
        told.alerts += judged.alerts
        told.decisions += judged.decisions
        told.commands += judged.commands
    return told


def events(change: Change | None = None, days: range = range(DAYS - 1, DAYS)) -> list[Row]:
    """Days of stable rows; ``change`` is put to each row of ``days``, with its number, and may drop it (None)."""
    chance = random.Random(5)
    found = []
    for day in range(DAYS):
        for number in range(PER_DAY):
            event: Row | None = row(day, number, chance)
            assert event is not None
            if change is not None and day in days:
                event = change(event, number)
            if event is not None:
                found.append(event)
    return found


def with_features(**values: Any) -> Change:
    return lambda event, _: event | {"features": event["features"] | values}


def every(count: int, change: Change) -> Change:
    return lambda event, number: change(event, number) if number % count == 0 else event


def without_age(event: Row, _: int) -> Row:
    return event | {"features": {name: value for name, value in event["features"].items() if name != "age"}}


def copied(event: Row, number: int) -> Row:
    features = {"age": 30 + number % 5, "income": 50.0 + number % 7, "code": "AB1", "size": "sml"[number % 3]}
    return event | {"features": features}


def stopped(event: Row, number: int) -> None:
    return None


def broken_checks(told: Told, day: int = DAYS - 1) -> set[str]:
    return {check.subject for check in told.day(day).quality if check.decision == "broken"}


def test_stable_days_open_nothing() -> None:
    told = watch(events(), spec=parse_spec(SPEC_TEXT + "segments: [size]\n"))
    assert told.opened() == {}
    last = {check.subject: check.decision for check in told.day(DAYS - 1).quality}
    assert last == {
        "age/minimum": "ok",
        "age/maximum": "ok",
        "code/pattern": "ok",
        "size/categories": "ok",
        "repeated_ids": "ok",
        "duplicate_rows": "ok",
        "new_keys": "ok",
        "volume": "ok",
    }
    segments = [r for r in told.reports if r.segment]
    assert segments
    assert not any(r.quality for r in segments)
    outcomes = [r for r in told.reports if r.kind == "outcome" and not r.segment]
    assert {check.check for r in outcomes for check in r.quality} == {"label_coverage"}
    assert not any(check.decision == "broken" for r in outcomes for check in r.quality)


@pytest.mark.parametrize(
    ("change", "subject", "statistic"),
    [
        (every(5, with_features(age="forty")), "age/type_errors", 0.2),
        (every(4, with_features(code=[1])), "code/type_errors", 0.25),
        (every(10, lambda event, _: event | {"prediction": 7}), "@prediction/type_errors", 0.1),
        (every(10, lambda event, _: event | {"features": [1, 2]}), "@features/type_errors", 0.1),
        (every(100, with_features(age=-1)), "age/minimum", 3 / PER_DAY),
        (every(100, with_features(age=121)), "age/maximum", 3 / PER_DAY),
        (every(30, with_features(code="AB12")), "code/pattern", 10 / PER_DAY),
        (every(30, with_features(size="xl")), "size/categories", 10 / PER_DAY),
        (with_features(income=50.0), "income/constant", None),
        (with_features(size="m"), "size/constant", None),
        (lambda event, _: event | {"prediction": 0.5}, "@prediction/constant", None),
        (
            lambda event, number: with_features(income=50.0)(event, 0) if number % 3 else event,
            "income/stuck",
            None,
        ),
        (
            lambda event, _: event if event["features"]["code"] != "GH4" else with_features(code="AB1")(event, 0),
            "code/lost",
            None,
        ),
        (without_age, "age/absent_key", 1.0),
        (with_features(request="x"), "new_keys", 1.0),
        (copied, "duplicate_rows", None),
        (lambda event, number: event if number % 4 == 0 else None, "volume", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_break_opens_its_own_alert_on_its_day(change: Change, subject: str, statistic: float | None) -> None:
    told = watch(events(change))
    assert told.opened().get(subject) == DAYS - 1, told.day(DAYS - 1).quality
    check = next(check for check in told.day(DAYS - 1).quality if check.subject == subject)
    assert check.decision == "broken"
    assert check.sentence in told.day(DAYS - 1).sentence or len(broken_checks(told)) > 1
    assert check.rows > 0
    if statistic is not None:
        assert check.statistic == pytest.approx(statistic)


def test_the_order_of_the_pieces_changes_no_report() -> None:
    def change(event: Row, number: int) -> Row | None:
        pick = (every(3, with_features(age="x")), with_features(age=-1, extra=1), copied, stopped)[number % 4]
        return pick(event, number)

    def told(seed: int) -> dict[str, WindowReport]:
        return {r.report_id: r for r in watch(events(change), seed=seed).reports if r.status == "final"}

    assert told(1) == told(2) == told(3)


def test_an_alert_resolves_once_the_check_finds_nothing() -> None:
    told = watch(events(every(5, with_features(age="forty")), days=range(3, 4)))
    states = [(a.state, (a.window_start_ms - START) // DAY) for a in told.alerts if a.subject == "age/type_errors"]
    assert states == [("opened", 3), ("resolved", 5)]


def test_records_sent_again_are_counted_and_nothing_else_changes() -> None:
    rows = events()
    again = [r for r in rows if r["event_time_ms"] >= START + (DAYS - 1) * DAY][:100]
    told = watch([*rows, *again])
    check = next(check for check in told.day(DAYS - 1).quality if check.subject == "repeated_ids")
    assert (check.statistic, check.rows, check.decision) == (pytest.approx(100 / 400), 400, "broken")
    assert told.opened() == {"repeated_ids": DAYS - 1}
    assert told.day(DAYS - 1).rows == PER_DAY


def test_a_window_without_a_row_is_reported_and_opens_an_alert() -> None:
    told = watch(events(stopped, days=range(6, 8)))
    assert [told.day(day).rows for day in range(5, DAYS)] == [PER_DAY, 0, 0, PER_DAY]
    assert told.day(6).features[0].decision == "insufficient"
    alerts = [(a.state, (a.window_start_ms - START) // DAY, a.severity) for a in told.alerts if a.subject == "volume"]
    assert alerts == [("opened", 6, "critical"), ("firing", 7, "critical")]


def test_a_model_that_stays_away_counts_as_stopped_after_a_while() -> None:
    spec = parse_spec(SPEC_TEXT + "quality: {empty_windows: 2}\n")
    rows = [event for event in events(days=range(0)) if event["event_time_ms"] < START + 4 * DAY]
    late = row(0, 0, random.Random(0)) | {"prediction_id": "late", "event_time_ms": START + 30 * DAY}
    told = watch([*rows, late], spec=spec)
    days = sorted((r.window_start_ms - START) // DAY for r in told.reports if r.kind == "input" and not r.segment)
    assert days == [0, 1, 2, 3, 4, 5, 30]


def test_a_key_that_stays_is_known_from_the_next_window_on() -> None:
    told = watch(events(with_features(request="x"), days=range(4, DAYS)))
    states = [(a.state, (a.window_start_ms - START) // DAY) for a in told.alerts if a.subject == "new_keys"]
    assert states == [("opened", 4), ("resolved", 6)]


def test_switched_off_there_is_nothing() -> None:
    spec = parse_spec(SPEC_TEXT + "quality: {enabled: false}\n")
    told = watch(events(stopped), spec=spec)
    assert not any(r.quality for r in told.reports)
    assert all(r.rows for r in told.reports)


def labels(rows: list[Row]) -> list[Row]:
    return [
        {"prediction_id": r["prediction_id"], "model_id": "m", "event_time_ms": r["event_time_ms"] + 1000, "label": 1}
        for r in rows
    ]


def test_a_retrain_on_drift_waits_while_the_data_is_broken() -> None:
    """A stuck column drifts. Nobody should learn it."""
    rows = events(with_features(income=20.0), days=range(7, 9))
    told = watch(rows, labels(rows))
    assert told.commands == []
    holds = [decision for decision in told.decisions if decision.outcome == "hold"]
    assert holds
    assert all("the data of the newest input window is broken: income is 20 in all 300 rows" in h.reason for h in holds)
    off = parse_spec(SPEC_TEXT.replace("policy: {", "policy: {hold_on_broken_data: false, "))
    assert len(watch(rows, labels(rows), spec=off).commands) == 1


def test_a_drift_of_sound_data_is_not_held() -> None:
    rows = events(lambda event, _: with_features(income=event["features"]["income"] + 20)(event, 0), days=range(5, 7))
    assert len(watch(rows, labels(rows)).commands) == 1
