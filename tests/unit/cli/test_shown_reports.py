"""How reports, alerts and errors look in terminals of different widths."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import msgspec
import pytest
from rich.console import Console

from driftloop.cli._tables import counted, print_reports
from driftloop.cli.alerts import alert_line
from driftloop.cli.main import _quieten_kafka
from driftloop.events.reports import WindowReport
from support.events import alert, input_report, outcome_report


def _shown(reports: list[WindowReport], width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_reports(console, reports, "Window reports")
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_no_line_is_wider_than_the_terminal_and_nothing_is_cut() -> None:
    sentence = "3 of 4 features drift: " + ", ".join(f"feature_{n}" for n in range(20)) + "."
    given = msgspec.structs.replace(input_report(), sentence=sentence)
    for width in (80, 150):
        lines = _shown([given], width)
        assert max(map(len, lines)) <= width
        words = {word for line in lines for word in line.split()}
        assert set(sentence.split()) <= words


def test_reports_come_by_time_inputs_before_outcomes() -> None:
    given = [outcome_report(day=2), input_report(day=2), outcome_report(day=1), input_report(day=1)]
    for width in (80, 150):
        kinds = [kind for line in _shown(given, width) for kind in ("input", "outcome") if f" {kind} " in line]
        assert kinds == ["input", "outcome", "input", "outcome"]


def test_no_reports_are_said_to_be_none() -> None:
    assert _shown([], 80) == ["Window reports: none"]


def test_an_outcome_window_says_why_it_is_not_fine() -> None:
    given = msgspec.structs.replace(outcome_report(), decision="drift", sentence="roc_auc is worse.")
    assert any("roc_auc is worse." in line for line in _shown([given], 150))


def test_an_alert_names_its_subject_once() -> None:
    given = msgspec.structs.replace(alert(), subject="country", message="country: 'DE' makes up 50 % of the rows")
    assert alert_line(given).plain.endswith("  country: 'DE' makes up 50 % of the rows")


def test_numbers_with_their_noun() -> None:
    assert [counted(number, "alert") for number in (0, 1, 2000)] == ["0 alerts", "1 alert", "2,000 alerts"]


@pytest.fixture
def kafka_log() -> Iterator[logging.Logger]:
    logger = logging.getLogger("driftloop.kafka.client")
    before = list(logger.filters)
    yield logger
    logger.filters[:] = before


def test_a_broker_that_is_away_is_told_once(kafka_log: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    _quieten_kafka()
    for after in (0, 3, 100):
        kafka_log.error("FAIL: connection refused (after %sms in state CONNECT)", after)
    kafka_log.error("FAIL: authentication failed")
    assert [record.getMessage().split(" (")[0] for record in caplog.records] == [
        "FAIL: connection refused",
        "FAIL: authentication failed",
    ]
