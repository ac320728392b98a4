"""Reports, alerts, decisions, commands and state in one transaction; repeats and former owners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine

from driftloop.events.decisions import PolicyDecision, RetrainCommand
from driftloop.events.messages import Alert
from driftloop.events.reports import WindowReport
from driftloop.registry import AssessmentStore, OutboxRow, Relay, StaleStateError

DAY = 86_400_000


def _report(day: int = 0, *, status: str = "final", digest: str = "d", **options: Any) -> WindowReport:
    fields: dict[str, Any] = {
        "report_id": f"r{day}",
        "model_id": "late",
        "model_version": "v1",
        "kind": "outcome",
        "segment": "",
        "window_start_ms": day * DAY,
        "window_end_ms": (day + 1) * DAY,
        "status": status,
        "rows": 10,
        "late_rows": 0,
        "sources": [],
        "content_digest": digest,
    }
    return WindowReport(**{**fields, **options})


def _alert(event: str, alert: str, state: str) -> Alert:
    return Alert(
        alert_id=alert,
        event_id=event,
        model_id="late",
        model_version="v1",
        kind="drift",
        subject="temp",
        segment="",
        state=state,  # type: ignore[arg-type]
        severity="warning",
        window_start_ms=0,
        window_end_ms=DAY,
        opened_at_ms=DAY,
        report_id="r0",
        statistic=0.4,
        threshold=0.25,
        message="temp drifts",
    )


COMMAND = RetrainCommand(
    command_id="c",
    model_id="late",
    champion_version="v1",
    trigger="performance",
    reason="worse",
    window_end_ms=DAY,
    from_ms=0,
    to_ms=DAY,
)
DECISION = PolicyDecision(model_id="late", window_end_ms=DAY, trigger="performance", outcome="retrain", reason="worse")


def _sent(engine: Engine) -> list[OutboxRow]:
    rows: list[OutboxRow] = []
    Relay(engine, rows.extend).publish_pending()
    return rows


@pytest.fixture
def assessments(engine: Engine) -> AssessmentStore:
    return AssessmentStore(engine)


def test_a_commit_is_whole_and_a_repeat_adds_nothing(assessments: AssessmentStore, engine: Engine) -> None:
    content: dict[str, Any] = {
        "partition": 1,
        "restart_offset": 17,
        "states": {"late": b"state"},
        "reports": [(_report(), b"stats")],
        "alerts": [_alert("e1", "a", "opened")],
        "decisions": [DECISION],
        "commands": [COMMAND],
    }
    committed = assessments.commit(**content)
    assert (committed.reports, committed.alerts) == ([_report()], [_alert("e1", "a", "opened")])
    assert (committed.decisions, committed.commands) == ([DECISION], [COMMAND])
    assert [(row.topic, row.key) for row in _sent(engine)] == [
        ("window-reports", "late"),
        ("alerts", "late"),
        ("policy-decisions", "late"),
        ("retrain-commands", "late"),
    ]
    again = assessments.commit(**content)
    assert (again.reports, again.alerts, again.decisions, again.commands) == ([], [], [], [])
    assert _sent(engine) == []
    assert assessments.reports() == [_report()]
    assert assessments.commands("late") == [COMMAND]
    assert assessments.decisions("late") == [DECISION]
    assert assessments.decisions("other") == []
    assert assessments.restart_offset(1) == 17
    assert assessments.restart_offset(0) is None


def test_the_outbox_holds_the_very_events(assessments: AssessmentStore, engine: Engine) -> None:
    assessments.commit(reports=[(_report(), b"")], commands=[COMMAND])
    rows = _sent(engine)
    assert msgspec.json.decode(rows[0].value, type=WindowReport) == _report()
    assert msgspec.json.decode(rows[1].value, type=RetrainCommand) == COMMAND


def test_state_survives_and_offsets_move(assessments: AssessmentStore, engine: Engine) -> None:
    assert assessments.load_state("late") is None
    assessments.commit(partition=0, restart_offset=5, states={"late": b"1"})
    assessments.commit(partition=0, restart_offset=9, states={"late": b"2"})
    successor = AssessmentStore(engine)
    assert successor.load_state("late") == b"2"
    assert successor.restart_offset(0) == 9


def test_a_former_owner_cannot_undo_what_its_successor_wrote(assessments: AssessmentStore, engine: Engine) -> None:
    assessments.commit(states={"late": b"1"})
    successor = AssessmentStore(engine)
    successor.load_state("late")
    successor.commit(partition=0, restart_offset=9, states={"late": b"2"})
    with pytest.raises(StaleStateError, match="'late'"):
        assessments.commit(
            partition=0, restart_offset=3, states={"other": b"x", "late": b"old"}, reports=[(_report(), b"")]
        )
    assert successor.load_state("late") == b"2"
    assert successor.load_state("other") is None
    assert successor.restart_offset(0) == 9
    assert successor.reports() == []
    with pytest.raises(StaleStateError):
        AssessmentStore(engine).commit(states={"late": b"never loaded"})
    assert assessments.load_state("late") == b"2"
    assessments.commit(states={"late": b"3"})


def test_provisional_reports_replace_each_other_and_never_a_final_one(assessments: AssessmentStore) -> None:
    for digest in ("a", "b", "b"):
        assessments.commit(reports=[(_report(status="provisional", digest=digest), b"")])
    assert assessments.reports() == []
    assert [report.content_digest for report in assessments.reports(provisional=True)] == ["b"]
    assert assessments.reported(["r0"]) == set()
    final = _report(digest="c")
    assert assessments.commit(reports=[(final, b"")]).reports == [final]
    assert assessments.commit(reports=[(_report(status="provisional", digest="e"), b"")]).reports == []
    assert assessments.report("r0") == [final]
    assert assessments.reported(["r0", "r1"]) == {"r0"}


def test_provisional_reports_are_in_the_database_alone(assessments: AssessmentStore, engine: Engine) -> None:
    sent: list[OutboxRow] = []

    def send(rows: Sequence[OutboxRow]) -> None:
        sent.extend(rows)

    open_one, other = _report(status="provisional"), _report(3, status="provisional", model_id="other")
    assessments.commit(reports=[(open_one, b""), (other, b"")])
    Relay(engine, send).publish_pending()
    assert sent == []
    assert assessments.open_reports() == [other, open_one]
    assert assessments.open_reports("late") == [open_one]
    assessments.commit(reports=[(_report(), b"")])
    Relay(engine, send).publish_pending()
    assert [row.topic for row in sent] == ["window-reports"]
    assert assessments.open_reports() == [other]


def test_restated_reports_stand_beside_the_final_one(assessments: AssessmentStore) -> None:
    final, first, second = _report(), _report(status="restated", digest="x"), _report(status="restated", digest="y")
    for report in (final, first, second, first, final):
        assessments.commit(reports=[(report, b"")])
    assert assessments.report("r0") == [final, first, second]
    assert assessments.reports() == [second]


def test_reports_are_found_by_what_they_are_about(assessments: AssessmentStore) -> None:
    assessments.commit(reports=[(_report(day), b"%d" % day) for day in range(5)])
    other = _report(9, model_id="delay", kind="input", segment="carrier=\x00")
    assessments.commit(reports=[(other, b"")])
    assert [report.report_id for report in assessments.reports("late", limit=2)] == ["r4", "r3"]
    assert [report.report_id for report in assessments.reports("late", from_ms=DAY, to_ms=3 * DAY)] == ["r2", "r1"]
    assert assessments.reports(kind="input") == [other]
    assert assessments.reports(segment="carrier=\x00") == [other]
    assert assessments.reports("late", version="v2") == []
    assert len(assessments.reports(limit=None)) == 6
    stats = assessments.final_stats("late", "v1", "outcome", "", before_ms=4 * DAY, limit=3)
    assert stats == [b"1", b"2", b"3"]
    assert assessments.final_stats("late", "v1", "outcome", "x", before_ms=4 * DAY, limit=3) == []


def test_many_report_ids_at_once(assessments: AssessmentStore) -> None:
    assessments.commit(reports=[(_report(day), b"") for day in range(3)])
    assert assessments.reported(f"r{number}" for number in range(2000)) == {"r0", "r1", "r2"}


def test_open_alerts_are_those_not_resolved(assessments: AssessmentStore) -> None:
    assessments.commit(alerts=[_alert("e1", "a", "opened"), _alert("e2", "b", "opened")])
    assessments.commit(alerts=[_alert("e3", "a", "resolved"), _alert("e4", "b", "firing")])
    assert [alert.event_id for alert in assessments.open_alerts()] == ["e4"]
    assert assessments.open_alerts("other") == []
    assert [alert.event_id for alert in assessments.alert_log(limit=3)] == ["e4", "e3", "e2"]


def test_two_decisions_about_one_window_are_both_kept(assessments: AssessmentStore) -> None:
    held = msgspec.structs.replace(DECISION, outcome="hold", reason="cooldown")
    assert assessments.commit(decisions=[DECISION, held, DECISION]).decisions == [DECISION, held]
    assert assessments.decisions() == [held, DECISION]
