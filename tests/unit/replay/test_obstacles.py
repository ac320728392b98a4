"""What makes a replay differ is named before anything is compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from driftloop.events.messages import Alert, SourceRange
from driftloop.events.reports import WindowReport
from driftloop.judging.approval import Approved, always_approved
from driftloop.replay.obstacles import LogSpans, Obstacle, find_obstacles
from driftloop.streaming.made_by import Origin
from support import events
from support.events import input_report, outcome_report

SPANS = LogSpans("p", "l", {"p": {0: (0, 100), 1: (0, 100)}, "l": {0: (0, 90), 1: (0, 90)}})
HERE = "driftloop 1, numpy 2"
LIMITS = {"max_message_bytes": 1_000_000, "oldest_event_ms": 0}
LOGS = {"cluster": "k", "predictions": "pi", "labels": "li"}


def made(report: WindowReport, **fields: Any) -> WindowReport:
    whole: dict[str, Any] = {
        "content_digest": "c",
        "spec_digest": "d",
        "made_by": HERE,
        "source_partitions": 2,
        "limits": LIMITS,
        "logs": LOGS,
        "sources": [
            SourceRange(partition=0, predictions_first=10, predictions_end=50, labels_first=5, labels_end=40),
            SourceRange(partition=1, predictions_first=0, predictions_end=60),
        ],
    }
    return msgspec.structs.replace(report, **{**whole, **fields})


def find(
    *reports: WindowReport,
    spans: LogSpans = SPANS,
    partitions: int = 2,
    has_profile: Callable[[str, str], bool] = lambda *_: True,
    digests: dict[str, str] | None = None,
    alerts: tuple[Alert, ...] = (),
    approved: Approved = always_approved,
    completed: tuple[WindowReport, ...] = (),
) -> list[Obstacle]:
    return find_obstacles(
        reports,
        alerts,
        spans=spans,
        has_profile=has_profile,
        digests={"flights-late": "d"} if digests is None else digests,
        here=Origin(HERE, partitions, LIMITS, LOGS),
        approved=approved,
        completed=completed,
    )


def test_nothing_stands_in_the_way_of_an_ordinary_run() -> None:
    empty = made(input_report(day=3), rows=0, sources=[])
    sliding = made(input_report(day=4), sources=[], sliding="7d")
    assert find(made(input_report()), made(outcome_report()), empty, sliding) == []
    assert find() == []


def test_retention_that_removed_what_a_report_was_made_from() -> None:
    spans = LogSpans("p", "l", {"p": {0: (11, 100), 1: (0, 100)}, "l": {0: (5, 90), 1: (0, 90)}})
    (found,) = find(made(input_report(day=1)), made(input_report(day=2)), spans=spans)
    assert (found.kind, found.hopeless) == ("retention", True)
    assert found.sentence.startswith(
        "retention has removed the records of p[0] below offset 11, and 2 live reports (windows from 1970-01-02 to "
        "1970-01-04) were made from offsets 10 on"
    )


def test_retention_that_removed_nothing_that_is_needed() -> None:
    spans = LogSpans("p", "l", {"p": {0: (10, 100), 1: (0, 100)}, "l": {0: (5, 90), 1: (77, 90)}})
    assert find(made(input_report()), spans=spans) == []


def test_a_topic_that_was_made_anew() -> None:
    spans = LogSpans("p", "l", {"p": {0: (0, 49), 1: (0, 100)}, "l": {0: (0, 90), 1: (0, 90)}})
    (found,) = find(made(input_report()), spans=spans)
    assert (found.kind, found.hopeless) == ("topic", True)
    assert "p[0] ends at offset 49, but 1 live report" in found.sentence
    assert "made from offsets up to 50" in found.sentence


def test_other_numbers_of_partitions() -> None:
    assert find(made(input_report(), source_partitions=3), partitions=3, spans=_with(3, 3)) == []
    kinds = [obstacle.kind for obstacle in find(made(input_report()), spans=_with(2, 4))]
    assert kinds == ["partitions"]
    (grown,) = find(made(input_report()), partitions=4, spans=_with(4, 4))
    assert (grown.kind, grown.hopeless) == ("repartitioned", False)
    assert "were made when there were 2 partitions, now there are 4" in grown.sentence
    kinds = [obstacle.kind for obstacle in find(made(input_report()), partitions=1, spans=_with(1, 1))]
    assert kinds == ["partitions", "repartitioned"]


def _with(predictions: int, labels: int) -> LogSpans:
    return LogSpans(
        "p", "l", {"p": dict.fromkeys(range(predictions), (0, 99)), "l": dict.fromkeys(range(labels), (0, 99))}
    )


def test_a_version_without_its_profile() -> None:
    reports = [made(input_report(version="v1")), made(input_report(version="v2", day=2))]
    (found,) = find(*reports, has_profile=lambda model, version: (model, version) == ("flights-late", "v1"))
    assert (found.kind, found.hopeless) == ("profile", True)
    assert found.sentence.startswith("the registry has no reference profile of flights-late v2, which 1 live report")


def test_another_spec_leaves_its_windows_out() -> None:
    older, same = made(input_report(day=1), spec_digest="older"), made(input_report(day=2))
    (found,) = find(older, same)
    assert (found.kind, found.hopeless, found.left_out) == ("spec", False, {older.report_id})
    assert "1 live report (windows from 1970-01-02 to 1970-01-03) of flights-late were judged by another spec" in (
        found.sentence
    )
    (gone,) = find(older, same, digests={})[:1]
    assert gone.sentence.startswith("there is no spec of flights-late any more")


def test_other_software() -> None:
    (found,) = find(made(input_report(), made_by="driftloop 0"), made(input_report(day=2)))
    assert (found.kind, found.hopeless) == ("software", False)
    assert "were written by driftloop 0; this is driftloop 1, numpy 2" in found.sentence
    (unknown,) = find(made(input_report(), made_by=""))
    assert "a version that does not say which it is" in unknown.sentence


def test_reports_without_evidence() -> None:
    for lacking in ({"content_digest": ""}, {"sources": []}, {"limits": {}}):
        (found,) = find(made(input_report(), **lacking))
        assert (found.kind, found.hopeless) == ("evidence", False)


def test_other_settings_are_named_with_both_values() -> None:
    other = made(input_report(day=1), limits={**LIMITS, "max_message_bytes": 2_000})
    (found,) = find(other, made(input_report(day=2)))
    assert (found.kind, found.hopeless) == ("settings", False)
    assert found.sentence.startswith(
        "1 live report (windows from 1970-01-02 to 1970-01-03) were made with DRIFTLOOP_MAX_MESSAGE_BYTES=2000, here "
        "it is 1000000"
    )
    kinds = [o.kind for o in find(made(input_report(), limits={"max_message_bytes": 1, "oldest_event_ms": 2}))]
    assert kinds == ["settings", "settings"]


def test_a_topic_that_was_made_anew_and_filled_past_the_old_offsets() -> None:
    (found,) = find(made(input_report(), logs={**LOGS, "labels": "older"}))
    assert (found.kind, found.hopeless) == ("log", False)
    assert found.sentence.startswith("l is another one (id li) than that which 1 live report")
    (cluster,) = find(made(input_report(), logs={**LOGS, "cluster": "elsewhere"}))
    assert cluster.sentence.startswith("the cluster is another one (id k)")
    assert find(made(input_report(), logs={})) == [], "a broker that does not tell"


def test_a_version_that_was_registered_after_its_first_predictions() -> None:
    def stray(day: int, method: str = "registration") -> Alert:
        given = events.alert(alert_id=f"s{day}", kind="unapproved_version")
        window = {"window_start_ms": day * events.DAY_MS, "window_end_ms": (day + 1) * events.DAY_MS}
        return msgspec.structs.replace(given, model_version="v2", method=method, **window)

    (found,) = find(made(input_report()), alerts=(stray(2), stray(1), stray(3, "approval")))
    assert (found.kind, found.hopeless) == ("registered", False)
    assert found.sentence.startswith(
        "predictions of flights-late v2 in 2 windows (from 1970-01-02 to 1970-01-04) came before the version was "
        "registered: live they were dead letters, a replay counts them"
    )
    assert find(made(input_report()), alerts=(stray(1),), has_profile=lambda _, version: version == "v1") == []


def test_approvals_that_came_after_windows_were_judged() -> None:
    reports = [made(input_report(day=day)) for day in (1, 2)] + [made(input_report(version="v2", day=3))]
    reports += [made(input_report(day=4), rows=0), made(outcome_report(day=5))]
    window = {"window_start_ms": 3 * events.DAY_MS, "window_end_ms": 4 * events.DAY_MS, "model_version": "v2"}
    told = msgspec.structs.replace(events.alert(kind="unapproved_version"), method="approval", **window)  # type: ignore[arg-type]
    found = find(*reports, alerts=(told,), approved=lambda _, version, __: version == "v2")
    assert [(obstacle.kind, obstacle.hopeless) for obstacle in found] == [("approval", False)] * 2
    first_promotion, promoted_since = (obstacle.sentence for obstacle in found)
    assert first_promotion.startswith(
        "2 windows (from 1970-01-02 to 1970-01-04) with predictions of flights-late v1 have no live alert, and by the "
        "registry's history of now the version may not serve there"
    )
    assert promoted_since.startswith(
        "1 window (from 1970-01-04 to 1970-01-05) with predictions of flights-late v2 have a live alert"
    )
    assert find(*reports, alerts=(told,), approved=lambda _, version, __: version == "v1") == []


def test_rows_of_partitions_that_were_idle() -> None:
    restated = made(input_report(day=1), status="restated", rows=900)
    (found,) = find(made(input_report(day=1)), completed=(restated,))
    assert (found.kind, found.hopeless) == ("idle", False)
    assert found.sentence.startswith("1 live report (windows from 1970-01-02 to 1970-01-03) were made while source")
