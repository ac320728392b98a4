"""The core of an assessor, driven without a broker: events in, reports, alerts and commands out."""

from __future__ import annotations

import msgspec
import pytest

from driftloop.events.batch import RecordBatch
from driftloop.events.decisions import RetrainCommand
from driftloop.events.messages import PartialMessage, SourceProgress
from driftloop.events.reports import WindowReport
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.source import SourceMonitor
from driftloop.spec import parse_spec, spec_digest
from support import world
from support.core_world import SPEC, Catalog, Stored, logs_of, run

#: The same world with everything that looks back at earlier windows.
LOOKING_BACK = parse_spec(
    world.SPEC.replace(
        "drift:",
        """sliding: [3d]
drift:
  references: [{name: training}, {name: rolling, windows: 4}, {name: seasonal, period: 2d, periods: 2}]""",
        1,
    )
)


@pytest.fixture(scope="module")
def events() -> list[world.Event]:
    return [*world.history(12, 150, drift_from_day=5), *world.end_of_time(4, 12)]


def told(stored: Stored) -> tuple[dict[str, bytes], dict[str, bytes], dict[str, bytes]]:
    finals = [report for report, _ in stored.judged.reports if report.status == "final"]
    reports = {report.report_id: msgspec.json.encode(report) for report in finals}
    assert len(reports) == len(finals), "a final report was given twice"
    return (
        dict(sorted(reports.items())),
        {
            alert.event_id: msgspec.json.encode(alert)
            for alert in sorted(stored.judged.alerts, key=lambda a: a.event_id)
        },
        {command.command_id: msgspec.json.encode(command) for command in stored.judged.commands},
    )


def test_interleaving_and_restarts_change_no_report_alert_or_command(events: list[world.Event]) -> None:
    logs = logs_of(events, 3)
    expected = told(run(logs, 3, seed=0))
    assert len(expected[0]) == 12 * 2 * 3 + 1, (
        "twelve days, inputs and outcomes, all rows and two segments; one day empty"
    )
    assert len(expected[2]) == 1
    for seed in range(1, 6):
        assert told(run(logs, 3, seed=seed)) == expected, f"seed {seed}"
        assert told(run(logs, 3, seed=seed, restarts=5)) == expected, f"seed {seed} with restarts"


def test_what_looks_back_is_the_same_after_restarts_too(events: list[world.Event]) -> None:
    """Sliding windows, rolling and seasonal references are made of stored reports, not of what a process remembers."""
    logs = logs_of(events, 3)
    expected = told(run(logs, 3, seed=0, spec=LOOKING_BACK))
    for seed in (1, 2):
        assert told(run(logs, 3, seed=seed, restarts=8, spec=LOOKING_BACK)) == expected, f"seed {seed}"
    reports = [msgspec.json.decode(body, type=WindowReport) for body in expected[0].values()]
    reports = [report for report in reports if report.rows]  # a day without any row comes after the history
    sliding = [report for report in reports if report.sliding]
    # Twelve days: from the second on there are two of three panes.
    assert len(sliding) == 11 * 2 * 3
    assert len(reports) == 12 * 2 * 3 + len(sliding)
    panes = {(r.kind, r.segment, r.window_end_ms): r for r in reports if not r.sliding}
    for report in sliding:
        ends = [report.window_end_ms - back * world.DAY for back in range(3)]
        merged = [
            panes[report.kind, report.segment, end] for end in ends if (report.kind, report.segment, end) in panes
        ]
        assert (report.panes, report.rows) == (len(merged), sum(pane.rows for pane in merged))
        assert report.labeled_rows == sum(pane.labeled_rows for pane in merged)
    plain = told(run(logs, 3, seed=0))
    # What does not look back is judged as before; commands do not hear of sliding windows.
    assert expected[2] == {
        key: msgspec.json.encode(msgspec.structs.replace(command, spec_digest=spec_digest(LOOKING_BACK)))
        for key, body in plain[2].items()
        for command in [msgspec.json.decode(body, type=RetrainCommand)]
    }
    # The drift from the sixth day on is news against the training reference, and after a while not against the last
    # four windows.
    income = [r.features[0] for _, r in sorted(panes.items()) if r.kind == "input" and not r.segment]
    rolling = [feature.others[0].decision for feature in income]
    assert [feature.decision for feature in income] == ["ok"] * 5 + ["drift"] * 7
    assert rolling[:2] == ["insufficient", "insufficient"], "fewer than half of the four windows"
    assert rolling[5] == "drift"
    assert rolling[9:] == ["ok", "ok", "ok"]
    assert income[-1].sentence.endswith(
        "; as in the last 4 windows; as in the same windows of the last 2 periods of 2d"
    )
    assert income[-1].others[0].reference_rows == sum(feature.rows for feature in income[-5:-1])
    whole = panes["input", "", max(end for _, _, end in panes)]
    assert ", as in the last 4 windows" in whole.sentence


def test_the_number_of_partitions_changes_nothing_but_the_sources(events: list[world.Event]) -> None:
    def statistics(partitions: int) -> dict[str, tuple[object, bytes]]:
        stored = run(logs_of(events, partitions), partitions, seed=1)
        return {
            report.report_id: (msgspec.structs.replace(report, sources=[], content_digest=""), stats)
            for report, stats in stored.judged.reports
            if report.status == "final"
        }

    assert statistics(1) == statistics(4)


def test_late_rows_restate_a_report_and_leave_the_final_one(events: list[world.Event]) -> None:
    logs = logs_of(events, 1)
    early = [value for _, topic, _, value in events if topic == "predictions" and value and b'"c1"' in value][:1]
    assert early
    late = msgspec.json.decode(early[0])
    late["prediction_id"] = "late"
    # After the events a few hours on, so that its window is closed but not forgotten.
    place = next(
        index
        for index, value in enumerate(logs["predictions", 0])
        if value
        and b"event_time_ms" in value
        and msgspec.json.decode(value)["event_time_ms"] > world.START + 27 * world.HOUR
    )
    logs["predictions", 0].insert(place, msgspec.json.encode(late))
    stored = run(logs, 1, seed=3)
    day_one = [report for report, _ in stored.judged.reports if report.report_id.endswith("input/2024-01-01+1d/all")]
    assert next(report.status for report in day_one) == "final"
    assert day_one[-1].status == "restated"
    assert day_one[-1].rows == day_one[0].rows + 1
    assert day_one[-1].late_rows == 1


def test_nothing_is_final_before_every_source_has_spoken() -> None:
    assessor = Stored().assessor(2)
    progress = SourceProgress(
        source_partition=0,
        predictions_offset=1,
        predictions_max_ms=world.START + 100 * world.DAY,
        labels_offset=1,
        labels_max_ms=world.START + 100 * world.DAY,
        restart_predictions_offset=0,
        restart_predictions_max_ms=0,
        restart_labels_offset=0,
        restart_labels_max_ms=0,
    )
    assessor.take([(0, progress)])
    assert max(assessor.maxima_ms) < 0
    idle = msgspec.structs.replace(progress, source_partition=1, predictions_max_ms=0, predictions_idle=True)
    assessor.take([(1, idle)])
    assert assessor.maxima_ms == (world.START + 100 * world.DAY, world.START + 100 * world.DAY)


def test_progress_that_an_earlier_release_has_stored_is_taken_over(events: list[world.Event]) -> None:
    """A list of what each source said, without more."""
    stored = run(logs_of(events, 2), 2, seed=0)
    assert stored.progress is not None
    sources = msgspec.json.decode(stored.progress)["sources"]
    before = stored.assessor(2)
    stored.progress = msgspec.json.encode(sources)
    assert stored.assessor(2).maxima_ms == before.maxima_ms


def test_a_spec_that_changes_while_windows_are_open_ends_nothing(events: list[world.Event]) -> None:
    """Statistics counted by another decision threshold don't add up with new ones: they are left out, and said."""
    partitions = 2
    logs = logs_of(events, partitions)
    changed = parse_spec(
        world.SPEC.replace("performance:\n", "performance:\n  decision_threshold: 0.6\n", 1),
    )
    messages: list[PartialMessage] = []
    for at in range(partitions):
        monitor = SourceMonitor(
            at,
            Catalog(SPEC if at == 0 else changed),
            Limits(),
            predictions_topic="predictions",
            labels_topic="labels",
        )
        for topic, take in (("predictions", monitor.take_predictions), ("labels", monitor.take_labels)):
            values = logs[topic, at]
            record_time = world.START + 1000 * world.DAY
            take(RecordBatch(topic, at, range(len(values)), [record_time] * len(values), [b""] * len(values), values))
        messages += [*monitor.take_partials(), monitor.progress()]
    stored = Stored(spec=changed)
    assessor = stored.assessor(partitions)
    assessor.take(enumerate(messages))
    stored.commit(assessor)
    outcomes = [report for report, _ in stored.judged.reports if report.kind == "outcome"]
    assert len(outcomes) == 12 * 3
    for report in outcomes:
        assert [source.partition for source in report.sources] == [1]
        assert report.rows > 0
        assert report.sentence.endswith("the statistics are left out: the spec has changed.")
    assert "settings" in assessor.left_out["credit"]
    inputs = [report for report, _ in stored.judged.reports if report.kind == "input" and report.rows]
    assert all(len(report.sources) == 2 for report in inputs), "inputs do not hang on the threshold"
