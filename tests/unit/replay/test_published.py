"""What the live system has published: first appearances, however late copies land; foreign records stop nobody."""

from __future__ import annotations

import itertools
import logging

import msgspec
import pytest

from driftloop.events.messages import Alert
from driftloop.events.reports import WindowReport
from driftloop.kafka.log_reader import Record
from driftloop.replay import published as published_module
from driftloop.replay.published import Copies, decoded, read_events, read_published
from driftloop.settings import Settings
from support.events import alert, command, input_report, outcome_report


def record(value: bytes | None, offset: int, topic: str = "t") -> Record:
    return Record(1, offset, 0, None, value, [], topic)


def test_the_first_appearance_counts_and_copies_go_in_any_order() -> None:
    first, second = outcome_report(day=1), outcome_report(day=2)
    for landed in itertools.permutations([first, second, first, second]):
        copies = Copies[WindowReport]()
        for offset, report in enumerate(landed):
            copies.take(report.report_id, report, f"t[0] offset {offset}")
        assert copies.first == {first.report_id: first, second.report_id: second}
        assert copies.again == []


def test_a_copy_is_told_by_its_content_not_by_its_origin() -> None:
    report = input_report()
    copies = Copies[WindowReport]()
    copies.take("r", report, "first")
    copies.take("r", msgspec.structs.replace(report, made_by="another driftloop"), "second")
    assert copies.again == []


def test_two_contents_under_one_id_are_kept_apart() -> None:
    report = input_report()
    changed = msgspec.structs.replace(report, rows=report.rows + 1)
    copies = Copies[WindowReport]()
    for offset, one in enumerate([report, changed, report, changed]):
        copies.take(report.report_id, one, f"t[0] offset {offset}")
    assert copies.first == {report.report_id: report}
    assert [(again.event, again.place) for again in copies.again] == [(changed, "t[0] offset 1")]


FOREIGN = [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b'{"alert_id": 3}', b"[" * 100_000, None]


def test_foreign_records_are_left_out_and_named_with_their_place(caplog: pytest.LogCaptureFixture) -> None:
    good = msgspec.json.encode(alert())
    values = [good, *FOREIGN, good]
    with caplog.at_level(logging.WARNING):
        found = list(decoded((record(value, 10 + at, "x.alerts") for at, value in enumerate(values)), Alert))
    assert found == [(alert(), "x.alerts[1] offset 10"), (alert(), f"x.alerts[1] offset {10 + len(FOREIGN) + 1}")]
    said = [entry.getMessage() for entry in caplog.records]
    assert len(said) == len(FOREIGN) - 1, "a record without a value is none"
    assert said[0].startswith("x.alerts[1] offset 11 cannot be read as Alert and is left out: ")


@pytest.mark.parametrize(
    ("rows", "late_rows", "completed"), [(900, 100, False), (900, 99, True), (800, 0, False), (900, 0, True)]
)
def test_restated_reports_with_rows_in_time_that_the_final_one_lacks(
    rows: int, late_rows: int, completed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = input_report()  # of 800 rows
    restated = msgspec.structs.replace(final, status="restated", rows=rows, late_rows=late_rows)
    settings = Settings()

    def read_topic(_: object, topic: str) -> list[list[Record]]:
        events = [final, restated, restated] if topic == settings.topics.window_reports else []
        return [[record(msgspec.json.encode(event), at, topic) for at, event in enumerate(events)]]

    monkeypatch.setattr(published_module, "read_topic", read_topic)
    assert read_published(settings).completed == ({final.report_id: restated} if completed else {})


def test_what_is_read_from_the_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    topics = settings.topics
    report, restated = outcome_report(), msgspec.structs.replace(outcome_report(), status="restated", rows=900)
    events = {
        topics.window_reports: [report, restated, msgspec.structs.replace(report, rows=1), report],
        topics.alerts: [alert(), alert("resolved"), alert()],
        topics.retrain_commands: [command(), msgspec.structs.replace(command(), reason="another")],
    }

    def read_topic(_: object, topic: str) -> list[list[Record]]:
        values = [b"no event", *(msgspec.json.encode(event) for event in events[topic])]
        return [[record(value, offset, topic)] for offset, value in enumerate(values)]

    monkeypatch.setattr(published_module, "read_topic", read_topic)
    found = read_published(settings)
    assert found.reports == {report.report_id: report}
    assert [again.event.rows for again in found.reports_again] == [1]
    assert found.reports_again[0].place == f"{topics.window_reports}[1] offset 3"
    assert list(found.alerts) == ["a1/opened", "a1/resolved"]
    assert found.alerts_again == []
    assert found.commands["c1"].reason == "ROC AUC dropped"
    assert [again.event.reason for again in found.commands_again] == ["another"]
    assert len(read_events(settings, topics.alerts, Alert)) == 3
