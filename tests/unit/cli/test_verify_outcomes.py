"""What ``replay --verify`` says and returns: nothing compared is no success, and two contents of one id are told."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from rich.console import Console

from driftloop.cli import _verify
from driftloop.cli._verify import DIFFERENT, IMPOSSIBLE, Verification
from driftloop.cli._wanted import ReplayRequest, Wanted
from driftloop.events.reports import WindowReport
from driftloop.judging.assess import Judged
from driftloop.replay.history import History
from driftloop.replay.obstacles import LogSpans
from driftloop.replay.published import Again, Published
from driftloop.settings import Settings
from driftloop.streaming.made_by import Origin
from support.events import alert, command, input_report, outcome_report

LIMITS = {"max_message_bytes": 1}


def made(report: WindowReport, **more: Any) -> WindowReport:
    whole = {"made_by": "d", "source_partitions": 1, "content_digest": "c", "limits": LIMITS, "rows": 0}
    return msgspec.structs.replace(report, **{**whole, **more})


def verify(
    published: Published,
    replayed: list[WindowReport],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    **request: Any,
) -> tuple[int, str]:
    spans = LogSpans("p", "l", {"p": {0: (0, 9)}, "l": {0: (0, 9)}})
    monkeypatch.setattr(_verify, "read_published", lambda _: published)
    monkeypatch.setattr(_verify, "log_spans", lambda _: spans)
    monkeypatch.setattr(_verify, "origin_of", lambda _: Origin("d", 1, LIMITS))
    monkeypatch.setattr(_verify, "spec_digest", lambda spec: spec)

    class Catalog:
        def profile(self, *_: str) -> bytes:
            return b"there"

        def approved(self, *_: object) -> bool:
            return True

    given: Any = {"flights-late": ""}
    wanted = Wanted(ReplayRequest(verify=True, **request))
    verification = Verification(Settings(), given, Catalog(), wanted)  # type: ignore[arg-type]
    assert not verification.hopeless
    notes = Console(file=io.StringIO(), width=200)
    history = History(Judged(reports=[(report, b"") for report in replayed]))
    code = verification.compare(history, notes)
    return code, " ".join((capsys.readouterr().out + notes.file.getvalue()).split())  # type: ignore[attr-defined]


def published(*reports: WindowReport, **more: Any) -> Published:
    return Published({report.report_id: report for report in reports}, **more)


def test_equal_is_success(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    report = made(input_report())
    code, text = verify(published(report), [report], capsys, monkeypatch)
    assert code == 0, text
    assert "1 window report, 0 alert events and 0 retrain commands compared field by field: 0 differences." in text


def test_a_live_run_that_has_published_nothing_is_no_success(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, text = verify(published(), [made(input_report())], capsys, monkeypatch)
    assert code == IMPOSSIBLE
    assert (
        "Nothing was compared: the live system has published no final report of these windows, the replay has 1" in text
    )


def test_a_span_without_windows_is_no_success(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = made(input_report())
    code, text = verify(published(report), [report], capsys, monkeypatch, start="2030-01-01")
    assert code == IMPOSSIBLE
    assert "Nothing was compared: neither the live system nor the replay has a final window there." in text


def test_windows_that_are_all_left_out_are_no_success(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = made(input_report(), spec_digest="older")
    code, text = verify(published(live), [made(input_report())], capsys, monkeypatch)
    assert code == IMPOSSIBLE
    assert "were judged by another spec" in text
    assert "Nothing was compared: all live reports of these windows are left out." in text


def test_what_only_the_replay_has_of_windows_that_live_has_judged_is_a_difference(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    later = made(outcome_report(day=3))
    code, text = verify(published(later), [later, made(outcome_report(day=1))], capsys, monkeypatch)
    assert code == DIFFERENT
    assert "only in the replay" in text


@pytest.mark.parametrize("first_is_right", [True, False])
def test_two_contents_under_one_id_are_a_difference_whichever_came_first(
    first_is_right: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right, wrong = made(outcome_report()), made(outcome_report(), late_rows=7)
    first, second = (right, wrong) if first_is_right else (wrong, right)
    live = published(first, reports_again=[Again(second, "reports[0] offset 12")])
    code, text = verify(live, [right], capsys, monkeypatch)
    assert code == DIFFERENT
    where = ", published again with another content at reports[0] offset 12" if first_is_right else ""
    assert f"report {right.report_id}{where}: late_rows was 7 live and is 0 in the replay" in text
    assert "1 difference." in text


def test_alerts_and_commands_with_two_contents(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, outcomes = made(input_report()), made(outcome_report())
    live = published(
        inputs,
        outcomes,
        alerts_again=[Again(alert(), "alerts[1] offset 3")],
        commands_again=[
            Again(command(), "commands[0] offset 4"),
            Again(msgspec.structs.replace(command(), trigger="manual"), "commands[0] offset 5"),
        ],
    )
    code, text = verify(live, [inputs, outcomes], capsys, monkeypatch)
    assert code == DIFFERENT
    assert "alert a1/opened, published again with another content at alerts[1] offset 3: only in the live run" in text
    assert "command c1, published again with another content at commands[0] offset 4: only in the live run" in text
    assert "2 differences." in text
