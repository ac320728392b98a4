"""Concept drift in reports, alerts, the policy, and where a training set begins."""

from __future__ import annotations

import msgspec
import numpy as np

from driftloop.events.reports import ConceptReport, WindowReport
from driftloop.events.time import format_time
from driftloop.judging.alerts import AlertBook, step
from driftloop.judging.assess import Judged, judge_window
from driftloop.judging.report import MergedPart
from driftloop.judging.signals import signals_from_report
from driftloop.judging.state import ModelState
from driftloop.monitoring.catalog import new_outcomes
from driftloop.performance.outcomes import OutcomeStats
from driftloop.policy.since_change import latest_change_ms, training_start
from driftloop.profiles.reference import LossReference, ReferenceProfile
from driftloop.spec import ModelSpec, parse_spec
from driftloop.spec.model import AlertRules
from driftloop.spec.training import CandidateSpec
from driftloop.windows.assembly import WindowKey

DAY = 86_400_000
SPEC = parse_spec(
    """
model: m
task: binary
features: {x: {kind: numeric}}
minimum_rows: 30
alerts: {open_after: 3, open_within: 4, resolve_after: 2}
policy: {triggers: [{on: concept, consecutive: 2}], cooldown: 5d, minimum_labeled_rows: 10}
training: {last: 30d, since_change: true, minimum_rows: 400}
"""
)
PROFILE = ReferenceProfile(
    model_id="m",
    model_version="v1",
    features={},
    rows=2000,
    losses=LossReference(rows=2000, error_mean=0.0, loss_mean=0.09, loss_variance=0.0),
)


def outcomes(spec: ModelSpec, day: int, wrong: float, rows: int = 480, *, reverse: bool = False) -> OutcomeStats:
    """Scores of 0.3 or 0.7 with a share that is on the wrong side; a loss of 0.09 or 0.49."""
    chance = np.random.default_rng(day)
    labels = chance.integers(0, 2, rows)
    off = chance.random(rows) < wrong
    scores = np.where((labels == 1) != off, 0.7, 0.3)
    offsets = np.sort(chance.integers(0, DAY, rows))
    stats = new_outcomes(spec, PROFILE)
    order = np.arange(rows)[::-1] if reverse else np.arange(rows)
    stats.add_predicted(rows, offsets)
    for part in np.array_split(order, 7):
        stats.update(scores[part], labels[part], np.zeros(len(part), np.int64), offsets_ms=offsets[part])
    return OutcomeStats.decode(stats.encode(), new_outcomes(spec, PROFILE))


def judge(days: list[float], spec: ModelSpec = SPEC, *, reverse: bool = False) -> Judged:
    """One window for each share of wrong scores; the state goes through JSON after each."""
    state, judged = ModelState(), Judged()
    for day, wrong in enumerate(days):
        part = MergedPart("v1", "", outcomes(spec, day, wrong, reverse=reverse), [], PROFILE)
        shadow = MergedPart("v2", "", outcomes(spec, day, 0.9, rows=20), [], PROFILE)
        key = WindowKey((day + 1) * DAY, day * DAY, "m", "outcome")
        judged.add(judge_window(key, [part, shadow], state, spec, "digest"))
        state = msgspec.json.decode(msgspec.json.encode(state), type=ModelState)
    return judged


def test_a_rise_of_the_loss_goes_into_report_alert_command_and_training_set() -> None:
    judged = judge([0.0] * 4 + [0.6] * 5)
    served = [report for report, _ in judged.reports if report.model_version == "v1"]
    others = [report for report, _ in judged.reports if report.model_version == "v2"]
    assert all(not report.concept for report in others), "only the version that serves is watched"
    assert [report.decision for report in served[:4]] == ["ok"] * 4
    first = next(at for at, report in enumerate(served) if report.decision == "drift")
    assert first == 4
    assert served[first].concept[0].sentence in served[first].sentence
    opened = [alert for alert in judged.alerts if alert.state == "opened"]
    assert {alert.kind for alert in opened} == {"concept_drift"}
    assert {alert.window_end_ms for alert in opened} == {5 * DAY}, "at once, whatever alerts.open_after says"
    assert {alert.subject for alert in opened} == {"confidence_sequence:loss", "e_detector:loss"}
    (command,) = judged.commands
    assert command.trigger == "concept"
    assert abs(command.from_ms - 4 * DAY) <= DAY // 12
    assert f"trained since the change at {format_time(command.from_ms)}" in command.reason
    assert command.to_ms == 6 * DAY


def test_the_order_of_rows_and_batches_changes_no_byte() -> None:
    shares = [0.0] * 3 + [0.6] * 3
    forwards, backwards = judge(shares), judge(shares, reverse=True)
    for left, right in ((forwards.reports, backwards.reports), (forwards.alerts, backwards.alerts)):
        assert msgspec.json.encode([item[0] if isinstance(item, tuple) else item for item in left]) == (
            msgspec.json.encode([item[0] if isinstance(item, tuple) else item for item in right])
        )
    assert msgspec.json.encode(forwards.commands) == msgspec.json.encode(backwards.commands)


def test_without_detectors_nothing_is_kept_or_said() -> None:
    spec = parse_spec("{model: m, task: binary, features: {x: {kind: numeric}}, concept: {detectors: []}}")
    assert new_outcomes(spec, PROFILE).losses is None
    assert new_outcomes(SPEC, PROFILE, "x=1").losses is None, "segments are not watched"
    judged = judge([0.0, 0.9], spec)
    assert all(not report.concept for report, _ in judged.reports)


def report(*concept: ConceptReport, labeled: int = 240) -> WindowReport:
    return WindowReport(
        report_id="r", model_id="m", model_version="v1", kind="outcome", segment="", window_start_ms=9 * DAY,
        window_end_ms=10 * DAY, status="final", rows=300, late_rows=0, sources=[], labeled_rows=labeled,
        concept=list(concept),
    )  # fmt: skip


def said(state: str, changed_at_ms: int | None = None, name: str = "adwin:loss") -> ConceptReport:
    return msgspec.convert(
        {"detector": name, "state": state, "rows": 100, "changed_at_ms": changed_at_ms}, ConceptReport
    )


def test_the_newest_change_for_the_worse_counts() -> None:
    assert latest_change_ms(report(said("ok", 5)), None) is None
    assert latest_change_ms(report(said("drift", 7), said("drift", 5), said("warning", 1)), None) == 5
    assert latest_change_ms(report(said("drift", 7)), 9) == 9
    assert latest_change_ms(report(), 9) == 9


def test_a_training_set_begins_at_the_change_if_there_are_rows_enough() -> None:
    whole = 10 * DAY - SPEC.training.last_ms
    assert training_start(SPEC, report(), 8 * DAY) == (
        8 * DAY,
        f"trained since the change at {format_time(8 * DAY)}, about 480 labeled rows",
    )
    start, why = training_start(SPEC, report(), 9 * DAY)
    assert start == whole
    assert "only about 240 labeled rows" in why
    assert training_start(SPEC, report(), None) == (whole, "")
    assert training_start(SPEC, report(), whole - 1) == (whole, "")
    without = msgspec.structs.replace(SPEC, training=msgspec.structs.replace(SPEC.training, since_change=False))
    assert training_start(without, report(), 8 * DAY) == (whole, "")


def test_an_alarm_opens_at_once_and_good_windows_resolve_it() -> None:
    book, states = AlertBook(), []
    for day, state in enumerate(["ok", "drift", "insufficient", "drift", "ok", "warning"]):
        one = msgspec.structs.replace(report(said(state)), window_end_ms=day * DAY)
        book, alerts = step(
            book, signals_from_report(one), AlertRules(open_after=3, open_within=5, resolve_after=2),
            model_id="m", model_version="v1", window_start_ms=0, window_end_ms=day * DAY, report_id="r",
        )  # fmt: skip
        states.append([alert.state for alert in alerts])
    assert states == [[], ["opened"], [], ["firing"], [], ["resolved"]]


def test_with_candidates_the_command_reaches_back_to_the_widest() -> None:
    def start(*candidates: CandidateSpec, changed_at_ms: int | None = None) -> int:
        training = msgspec.structs.replace(SPEC.training, since_change=False, candidates=list(candidates))
        of = msgspec.structs.replace(SPEC, training=training)
        found, why = training_start(of, report(), changed_at_ms)
        assert why == ""
        return found

    week, month = (CandidateSpec(candidate="window", last=last) for last in ("1d", "3d"))
    since = CandidateSpec(candidate="since_change")
    end = report().window_end_ms
    assert start(week, month) == end - 3 * DAY
    assert start(week, since) == start(week) == end - DAY
    assert start(week, since, changed_at_ms=end - 2 * DAY) == end - 2 * DAY
    assert start(month, since, changed_at_ms=end - 2 * DAY) == end - 3 * DAY
    for all_of_it in (
        CandidateSpec(candidate="everything"),
        CandidateSpec(candidate="window", rows=10),
        CandidateSpec(candidate="decayed", half_life="1d"),
        CandidateSpec(candidate="reservoir", rows=10),
    ):
        assert start(week, all_of_it) == 0
    assert start(CandidateSpec(candidate="reservoir", rows=10, last="3d"), week) == end - 3 * DAY
