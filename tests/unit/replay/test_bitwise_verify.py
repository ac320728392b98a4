"""Equal means equal as read from the topic, to the last bit of every float."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.events.reports import WindowReport
from driftloop.replay.verify import compare_alerts, compare_commands, compare_reports, summarised
from support.events import alert, command, input_report, outcome_report


def with_coverage(value: float | None) -> WindowReport:
    return msgspec.structs.replace(outcome_report(), coverage=value)


@given(st.floats(), st.floats())
def test_floats_are_compared_bit_by_bit(one: float, other: float) -> None:
    differences = compare_reports([with_coverage(one)], [with_coverage(other)])
    same = (math.isnan(one) or math.isinf(one)) and (math.isnan(other) or math.isinf(other))  # null on the wire
    same = same or (one == other and math.copysign(1, one) == math.copysign(1, other))
    assert bool(differences) is not same


def test_a_zero_has_a_sign() -> None:
    (difference,) = compare_reports([with_coverage(0.0)], [with_coverage(-0.0)])
    assert (difference.path, difference.live, difference.replayed) == ("coverage", 0.0, -0.0)


def test_one_bit_is_a_difference() -> None:
    (difference,) = compare_reports([with_coverage(0.1)], [with_coverage(math.nextafter(0.1, 1))])
    assert difference.sentence() == (
        "report flights-late/v1/outcome/1: coverage was 0.1 live and is 0.10000000000000002 in the replay"
    )


def test_what_is_null_on_the_wire_is_no_difference() -> None:
    """A live report was read from JSON, a replayed one was never written."""
    assert compare_reports([with_coverage(None)], [with_coverage(math.nan)]) == []
    assert compare_reports([with_coverage(1.0)], [with_coverage(1)]) == []


def test_the_digest_is_compared_and_the_origin_is_not() -> None:
    report = input_report()
    elsewhere = {"made_by": "x", "source_partitions": 3, "limits": {"max_message_bytes": 1}, "logs": {"cluster": "k"}}
    assert compare_reports([msgspec.structs.replace(report, **elsewhere)], [report]) == []  # type: ignore[arg-type]
    (difference,) = compare_reports([msgspec.structs.replace(report, content_digest="a")], [report])
    assert difference.path == "content_digest"


@pytest.mark.parametrize("missing", ["live", "replay"])
def test_what_one_side_has_not(missing: str) -> None:
    live, replayed = ([], [alert()]) if missing == "live" else ([alert()], [])
    (difference,) = compare_alerts(live, replayed)
    other = "replay" if missing == "live" else "live run"
    assert difference.sentence() == f"alert a1/opened: only in the {other}"


def test_a_summary_counts_events_by_field() -> None:
    changed = msgspec.structs.replace(input_report(), features=[], rows=1)
    differences = compare_reports([changed, outcome_report()], [input_report()])
    differences += compare_commands([command()], [command(trigger="drift")])
    assert summarised(differences) == [
        "commands: trigger (1)",
        "reports: features (1)",
        "reports: only in the live run (1)",
        "reports: rows (1)",
    ]


def test_lists_of_different_lengths_are_one_difference() -> None:
    report = input_report()
    shorter = msgspec.structs.replace(report, features=report.features[:1])
    assert [difference.path for difference in compare_reports([report], [shorter])] == ["features"]
