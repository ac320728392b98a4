"""The life of an alert: hysteresis, ids, several versions, segments and windows that say nothing."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from driftloop.events.messages import Alert
from driftloop.events.reports import Decision, FeatureReport, MethodResult, MetricReport, WindowReport
from driftloop.judging.alerts import AlertBook, retire_versions, step, window_kind_of
from driftloop.judging.signals import Signal, signals_from_report
from driftloop.quality.judge import UNLISTED_WHEN_FINE
from driftloop.spec.model import AlertRules, DriftRules

DAY = 86_400_000


def signal(bad: bool | None, subject: str = "temp", segment: str = "") -> Signal:
    return Signal(
        kind="drift",
        subject=subject,
        segment=segment,
        bad=bad,
        severity="warning",
        statistic=0.4,
        threshold=0.25,
        method="wasserstein",
        message="temp is higher",
    )


def run(
    windows: str, rules: AlertRules, book: AlertBook | None = None, version: str = "v1", first: int = 1
) -> tuple[AlertBook, list[Alert], str]:
    """One letter for each window: b bad, g good, ? not judged. Returns book, events, and what each window brought."""
    book = book or AlertBook()
    events: list[Alert] = []
    story = ""
    for day, letter in enumerate(windows, first):
        bad = {"b": True, "g": False, "?": None}[letter]
        book, alerts = step(
            book,
            [signal(bad)],
            rules,
            model_id="m",
            model_version=version,
            window_start_ms=(day - 1) * DAY,
            window_end_ms=day * DAY,
            report_id=f"r{day}",
        )
        # The state must survive the database.
        book = msgspec.json.decode(msgspec.json.encode(book), type=AlertBook)
        events += alerts
        story += alerts[0].state[0] if alerts else "."
    return book, events, story


@pytest.mark.parametrize(
    ("rules", "windows", "story"),
    [
        (AlertRules(), "gbbgbggg", ".of.f.r."),
        (AlertRules(resolve_after=1), "bgbg", "oror"),
        (AlertRules(open_after=2, open_within=3), "bggbgb", ".....o"),
        (AlertRules(open_after=2, open_within=2), "bgbgbb", ".....o"),
        (AlertRules(open_after=3, open_within=1), "bbgbbb", ".....o"),  # at least three windows are looked at
        (AlertRules(), "?b?g?g?", ".o...r."),  # windows that cannot be judged change nothing
        # After a resolution the next alert needs bad windows of its own.
        (AlertRules(open_after=2, open_within=5, resolve_after=1), "bbgbb", ".or.o"),
    ],
)
def test_hysteresis(rules: AlertRules, windows: str, story: str) -> None:
    assert run(windows, rules)[2] == story


def test_an_alert_keeps_its_id_from_opening_to_resolution_and_the_next_one_has_another() -> None:
    _, events, _ = run("bbggbgg", AlertRules())
    assert [event.state for event in events] == ["opened", "firing", "resolved", "opened", "resolved"]
    first, second = {event.alert_id for event in events[:3]}, {event.alert_id for event in events[3:]}
    assert len(first) == len(second) == 1
    assert first != second
    assert len({event.event_id for event in events}) == 5
    assert {event.opened_at_ms for event in events[:3]} == {DAY}
    assert [event.report_id for event in events] == ["r1", "r2", "r4", "r5", "r7"]
    assert run("bbggbgg", AlertRules())[1] == events  # a replay gives the same events


def test_quiet_subjects_are_not_kept() -> None:
    assert run("gggg", AlertRules())[0].entries == {}
    assert run("bggg", AlertRules())[0].entries == {}
    assert run("bg", AlertRules(open_after=2, open_within=2))[0].entries != {}
    assert run("bgg", AlertRules(open_after=2, open_within=2))[0].entries == {}


def test_a_window_counts_once() -> None:
    book, _, _ = run("b", AlertRules())
    again, alerts = step(
        book,
        [signal(True)],
        AlertRules(),
        model_id="m",
        model_version="v1",
        window_start_ms=0,
        window_end_ms=DAY,
        report_id="r1",
    )
    assert alerts == []
    assert again == book


def test_every_sequence_alternates_between_opening_and_resolving() -> None:
    for rules in (AlertRules(), AlertRules(open_after=2, open_within=3, resolve_after=2)):
        for windows in itertools.product("bg?", repeat=6):
            book, events, _ = run("".join(windows), rules)
            is_open = False
            for event in events:
                assert (event.state == "opened") is not is_open
                is_open = event.state != "resolved"
            assert len(book.open_alerts()) == is_open


def test_subjects_segments_and_versions_are_apart() -> None:
    signals = [signal(True), signal(True, segment="origin=JFK"), signal(False, subject="wind"), signal(True, "rain")]
    book, alerts = step(
        AlertBook(),
        signals,
        AlertRules(),
        model_id="m",
        model_version="v1",
        window_start_ms=0,
        window_end_ms=DAY,
        report_id="r",
    )
    assert [(alert.subject, alert.segment) for alert in alerts] == [("temp", ""), ("temp", "origin=JFK"), ("rain", "")]
    assert len({alert.alert_id for alert in alerts}) == 3
    assert len(book.open_alerts()) == 3


def test_alerts_of_a_version_that_was_replaced_are_resolved() -> None:
    book, _, _ = run("b", AlertRules())
    book, _, _ = run("b", AlertRules(), book, version="v2", first=2)
    untouched, none = retire_versions(book, "outcome", serving="v2", window_start_ms=DAY, window_end_ms=2 * DAY)
    assert (untouched.entries, none) == (book.entries, [])  # drift alerts are the business of input windows
    after, alerts = retire_versions(book, "input", serving="v2", window_start_ms=DAY, window_end_ms=2 * DAY)
    assert [(alert.model_id, alert.model_version, alert.state) for alert in alerts] == [("m", "v1", "resolved")]
    assert "version v2 serves now" in alerts[0].message
    assert [entry.model_version for entry in after.open_alerts()] == ["v2"]
    assert len(after.judged_until_ms) == 1
    assert retire_versions(after, "input", serving="v2", window_start_ms=DAY, window_end_ms=2 * DAY) == (after, [])


def report(kind: str, decision: Decision = "ok", **fields: object) -> WindowReport:
    base = {
        "report_id": "r",
        "model_id": "m",
        "model_version": "v1",
        "kind": kind,
        "segment": "",
        "window_start_ms": 0,
        "window_end_ms": DAY,
        "status": "final",
        "rows": 500,
        "late_rows": 0,
        "sources": [],
        "decision": decision,
    }
    return msgspec.convert({**base, **msgspec.to_builtins(fields)}, WindowReport)


def feature(decision: Decision, adjusted: float | None, *results: tuple[str, float, bool, float]) -> FeatureReport:
    return FeatureReport(
        feature="temp",
        kind="numeric",
        rows=500,
        missing=0,
        reference_rows=5000,
        results=[
            MethodResult(
                method=method,
                statistic=statistic,
                threshold=0.2,
                exceeded=exceeded,
                p_value=p_value,
                severity="warning" if exceeded and p_value < 0.05 else None,
            )
            for method, statistic, exceeded, p_value in results
        ],
        decision=decision,
        sentence="sentence",
        adjusted_p_value=adjusted,
    )


def flags(given: WindowReport, rules: DriftRules | None = None) -> dict[tuple[str, str], bool | None]:
    return {(found.kind, found.subject): found.bad for found in signals_from_report(given, rules)}


#: Checks that a report leaves out where nothing was found.
FINE = {("data_quality", f"temp/{check}"): False for check in UNLISTED_WHEN_FINE}


def test_signals_of_an_input_window_tell_drift_from_missing_values() -> None:
    drifting = feature("drift", 1e-9, ("wasserstein", 0.4, True, 1e-9), ("missing", 0.0, False, 1.0))
    found = flags(report("input", "drift", features=[drifting], drifted_features=1, judged_features=1))
    assert (
        found == {("drift", "temp"): True, ("data_quality", "temp/missing"): False, ("drift", "features"): True} | FINE
    )
    # The distance is beyond its threshold too, but by chance: the missing values are the news.
    gaps = feature("drift", 0.2, ("wasserstein", 0.4, True, 0.2), ("missing", 0.5, True, 1e-9))
    found = flags(report("input", features=[gaps], drifted_features=1, judged_features=4))
    assert (
        found == {("drift", "temp"): False, ("data_quality", "temp/missing"): True, ("drift", "features"): False} | FINE
    )


def test_the_alert_of_a_rate_speaks_of_that_rate() -> None:
    def messages(given: FeatureReport) -> dict[str, str]:
        signals = signals_from_report(report("input", features=[given]))
        return {found.subject: found.message for found in signals if found.method in ("missing", "unseen")}

    both = feature(
        "drift", 1e-9, ("wasserstein", 0.4, True, 1e-9), ("missing", 0.3, True, 1e-9), ("unseen", 0.2, True, 1e-9)
    )
    both = msgspec.structs.replace(both, rows=60, missing=40, unseen=12)
    assert messages(both) == {
        "temp/missing": "temp is missing in 40 % of the rows, 10 % in the reference",
        "temp/unseen": "20 % of the rows of temp have a category that the reference has not",
    }
    alone = feature("drift", 0.2, ("wasserstein", 0.1, False, 0.2), ("missing", 0.5, True, 1e-9))
    assert messages(alone) == {"temp/missing": "sentence"}


def test_signals_decide_nothing_themselves() -> None:
    """A result that the report does not call decisive is no reason for an alert, however small its p-value."""
    drifting = feature("drift", 0.02, ("wasserstein", 0.4, True, 0.02))
    given = report("input", features=[drifting], drifted_features=1, judged_features=4)
    assert flags(given, DriftRules(significance=0.001))["drift", "temp"] is True
    quiet = msgspec.structs.replace(
        drifting, results=[msgspec.structs.replace(result, severity=None) for result in drifting.results]
    )
    assert flags(report("input", features=[quiet]), DriftRules(significance=0.05))["drift", "temp"] is False


def test_the_worst_result_gives_the_severity() -> None:
    drifting = feature("drift", 1e-9, ("ks", 0.4, True, 1e-9), ("wasserstein", 2.0, True, 1e-9))
    results = [drifting.results[0], msgspec.structs.replace(drifting.results[1], severity="critical")]
    given = report("input", features=[msgspec.structs.replace(drifting, results=results)])
    signal = signals_from_report(given)[0]
    assert (signal.severity, signal.method, signal.statistic) == ("critical", "wasserstein", 2.0)


def test_sliding_windows_have_lanes_of_their_own() -> None:
    book, rules = AlertBook(), AlertRules(open_after=1, open_within=1)
    events = []
    drifting = feature("drift", 1e-9, ("wasserstein", 0.4, True, 1e-9))
    for length, start_ms in (("", 0), ("7d", -6 * DAY)):
        given = report("input", "drift", features=[drifting], drifted_features=1, judged_features=1, sliding=length)
        book, more = step(
            book, signals_from_report(given), rules,
            model_id="m", model_version="v1", window_start_ms=start_ms, window_end_ms=DAY, report_id="r",
        )  # fmt: skip
        events += more
    opened = [(alert.subject, alert.sliding, alert.window_start_ms) for alert in events if alert.state == "opened"]
    assert opened == [("temp", "", 0), ("features", "", 0), ("temp", "7d", -6 * DAY), ("features", "7d", -6 * DAY)]
    assert len({alert.alert_id for alert in events}) == 4
    after, gone = retire_versions(book, "input", serving="v2", window_start_ms=DAY, window_end_ms=2 * DAY)
    assert sorted(alert.sliding for alert in gone) == ["", "", "7d", "7d"]
    assert (after.entries, after.judged_until_ms) == ({}, {})


def test_a_window_with_too_few_rows_says_nothing() -> None:
    found = flags(report("input", "insufficient", features=[feature("insufficient", None)]))
    assert found == {("drift", "temp"): None, ("drift", "features"): None}


def test_signals_of_an_outcome_window_are_its_rules() -> None:
    def metric(name: str, decision: Decision) -> MetricReport:
        return MetricReport(
            metric=name, value=0.6, low=0.5, high=0.7, reference=0.8, rows=500, threshold=0.75, decision=decision
        )

    metrics = [metric("brier", "info"), metric("roc_auc@3", "drift"), metric("f1", "ok"), metric("mae", "insufficient")]
    signals = signals_from_report(report("outcome", "drift", metrics=metrics))
    assert [(found.subject, found.bad) for found in signals] == [("roc_auc@3", True), ("f1", False), ("mae", None)]
    assert {found.kind for found in signals} == {"performance"}
    assert {found.severity for found in signals} == {"critical"}
    assert signals[0].method == "roc_auc"


@pytest.mark.parametrize(
    ("kind", "subject", "expected"),
    [
        ("drift", "temp", "input"),
        ("data_quality", "volume", "input"),
        ("performance", "roc_auc", "outcome"),
        ("performance", "roc_auc~estimated", "input"),
        ("concept_drift", "adwin:loss", "outcome"),
    ],
)
def test_an_alert_tells_which_windows_it_is_about(kind: str, subject: str, expected: str) -> None:
    """A replay is compared with the live run up to the last window of that kind: inputs are ahead of outcomes."""
    about = msgspec.structs.replace(signal(True, subject), kind=kind)
    events = step(AlertBook(), [about], AlertRules(), model_id="m", model_version="v1", window_start_ms=0,
                  window_end_ms=DAY, report_id="r")[1]  # fmt: skip
    assert [window_kind_of(event) for event in events] == [expected]
