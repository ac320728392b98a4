"""Predictions of versions that the registry never approved: alerts of their own, whoever serves beside them."""

from __future__ import annotations

import msgspec
import pytest

from driftloop.events.messages import Alert
from driftloop.events.reports import WindowReport
from driftloop.judging.alerts import AlertBook, retire_versions, window_kind_of
from driftloop.judging.approval import alert_unapproved
from driftloop.judging.state import ModelState
from driftloop.profiles.quality import MAX_KINDS, QualityStats
from driftloop.spec.model import AlertRules
from driftloop.windows.assembly import WindowKey
from support import core_world, world

DAY = 86_400_000
RULES = AlertRules(open_after=3, open_within=3, resolve_after=2)


def report(version: str, rows: int, day: int, segment: str = "") -> WindowReport:
    return WindowReport(
        report_id=f"{version}/{day}",
        model_id="m",
        model_version=version,
        kind="input",
        segment=segment,
        window_start_ms=day * DAY,
        window_end_ms=day * DAY + DAY,
        status="final",
        rows=rows,
        late_rows=0,
        sources=[],
    )


def days(windows: list[dict[str, int]], approved_from_ms: dict[str, int]) -> tuple[AlertBook, list[Alert]]:
    """Windows as version to rows, one a day."""
    book, alerts = AlertBook(), []
    for day, rows in enumerate(windows):
        key = WindowKey(day * DAY + DAY, day * DAY, "m", "input")
        reports = [report(version, count, day) for version, count in rows.items()]
        reports += [report(version, count, day, "region=a") for version, count in rows.items()]
        serving = max(rows, key=lambda version: rows[version])
        book, more = retire_versions(
            book, "input", serving=serving, window_start_ms=key.start_ms, window_end_ms=key.end_ms
        )
        alerts += more
        book, more = alert_unapproved(
            book, key, reports, RULES, lambda _, version, at_ms: at_ms >= approved_from_ms.get(version, at_ms + 1)
        )
        alerts += more
    return book, alerts


def told(alerts: list[Alert]) -> list[tuple[str, str, int]]:
    return [(alert.model_version, alert.state, alert.window_end_ms // DAY) for alert in alerts]


def test_it_opens_at_once_fires_on_and_resolves_when_its_predictions_end() -> None:
    windows = [{"v1": 100}, {"v1": 90, "v9": 10}, {"v1": 10, "v9": 90}, {"v1": 100}, {"v1": 100}, {"v1": 100}]
    book, alerts = days(windows, {"v1": 0})
    assert told(alerts) == [("v9", "opened", 2), ("v9", "firing", 3), ("v9", "resolved", 5)]
    opened = alerts[0]
    assert (opened.kind, opened.subject, opened.severity, opened.statistic) == (
        "unapproved_version",
        "version",
        "critical",
        10.0,
    )
    assert "10 predictions of version v9, which the registry never approved" in opened.message
    assert window_kind_of(opened) == "input"
    assert book == AlertBook()


def test_each_version_has_its_own_and_an_approval_resolves_it() -> None:
    windows = [{"v8": 5, "v9": 5}, {"v8": 5, "v9": 5}, {"v8": 5, "v9": 5}, {"v8": 5, "v9": 5}]
    _, alerts = days(windows, {"v9": 3 * DAY})
    assert told(alerts) == [
        ("v8", "opened", 1),
        ("v9", "opened", 1),
        ("v8", "firing", 2),
        ("v9", "firing", 2),
        ("v8", "firing", 3),
        ("v8", "firing", 4),
        ("v9", "resolved", 4),
    ]
    assert len({alert.event_id for alert in alerts}) == len(alerts)


def test_a_version_without_rows_is_none() -> None:
    assert days([{"v9": 0}], {})[1] == []


@pytest.mark.parametrize("restarts", [0, 3])
def test_from_events_the_same_however_they_come(restarts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the interleaving, and however often the assessor starts anew, as a replay would have it."""
    logs = core_world.logs_of([*world.history(4, 200), *world.end_of_time(2, 4)], 2)
    until = world.START + 2 * world.DAY
    original = core_world.Lookups

    def with_approval(*given: object) -> object:
        return original(*given, lambda _, version, at_ms: version == "v1" and at_ms >= until)  # type: ignore[arg-type]

    monkeypatch.setattr(core_world, "Lookups", with_approval)
    found = []
    for seed in range(3):
        stored = core_world.run(logs, 2, seed, restarts=restarts)
        alerts = [alert for alert in stored.judged.alerts if alert.kind == "unapproved_version"]
        found.append(sorted(msgspec.json.encode(alert) for alert in alerts))
        assert [alert.state for alert in alerts][:1] == ["opened"]
        assert alerts[0].window_end_ms == world.START + world.DAY
        state = msgspec.json.decode(stored.states["credit"], type=ModelState)
        assert not any("unapproved" in lane for lane in state.alerts.judged_until_ms)
    assert found[0] == found[1] == found[2]


def _as_version(logs: core_world.Logs, day: int, version: str, share: int) -> core_world.Logs:
    """Every ``share``-th prediction of a day is of this version."""
    start = world.START + day * world.DAY
    changed: core_world.Logs = {}
    for (topic, partition), values in logs.items():
        changed[topic, partition] = []
        for number, value in enumerate(values):
            if topic == "predictions" and value and number % share == 0 and value.startswith(b'{"prediction_id"'):
                event = msgspec.json.decode(value)
                if start <= event["event_time_ms"] < start + world.DAY:
                    value = msgspec.json.encode({**event, "model_version": version})
            changed[topic, partition].append(value)
    return changed


@pytest.mark.parametrize("share", [3, 1])
def test_versions_that_nobody_registered_alert_too_also_where_no_other_serves(share: int) -> None:
    events = [*world.history(4, 200, faults=False), *world.end_of_time(2, 4)]
    logs = _as_version(core_world.logs_of(events, 2), 1, "v9", share)
    found = []
    for seed, restarts in ((0, 0), (1, 0), (2, 4)):
        stored = core_world.run(logs, 2, seed, restarts=restarts)
        alerts = [alert for alert in stored.judged.alerts if alert.kind == "unapproved_version"]
        assert told_days(alerts) == [("v9", "opened", 2), ("v9", "resolved", 4)]
        assert [alert.method for alert in alerts] == ["registration", "registration"]
        assert "which the registry does not hold" in alerts[0].message
        found.append(sorted(msgspec.json.encode(alert) for alert in alerts))
        whole = [report for report, _ in stored.judged.reports if not report.segment]
        assert {report.model_version for report in whole} == {"v1"}
        assert [r.rows for r in whole if r.kind == "input" and r.window_start_ms == world.START + world.DAY] == [
            200 - int(alerts[0].statistic or 0)
        ]
    assert found[0] == found[1] == found[2]


def told_days(alerts: list[Alert]) -> list[tuple[str, str, int]]:
    return [(alert.model_version, alert.state, (alert.window_end_ms - world.START) // world.DAY) for alert in alerts]


def test_a_flood_of_names_is_bounded() -> None:
    key = WindowKey(DAY, 0, "m", "input")
    names = {f"v{number}": number for number in range(100)}
    book, alerts = alert_unapproved(AlertBook(), key, [], RULES, lambda *_: True, names)
    assert [alert.model_version for alert in alerts] == sorted(f"v{number}" for number in range(80, 100))
    assert len(book.entries) == 20


def test_kinds_of_refusals_are_bounded_whatever_the_order() -> None:
    names = [f"v{number}" for number in range(500)]
    forward, backward, parts = QualityStats(), QualityStats(), QualityStats()
    for name in names:
        forward.add_refused("@model_version", name)
        backward.add_refused("@model_version", names[len(names) - 1 - names.index(name)])
    for half in (names[::2], names[1::2]):
        part = QualityStats()
        for name in half:
            part.add_refused("@model_version", name)
        parts.merge(part)
    assert forward.refused == backward.refused
    assert len(forward.refused["@model_version"]) == MAX_KINDS
    # A merge of bounded parts holds what the whole would, and more; the smallest hashes are the same.
    assert forward.refused["@model_version"].items() <= parts.refused["@model_version"].items()
