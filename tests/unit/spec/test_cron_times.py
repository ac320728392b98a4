"""Calendar times of schedules, against every minute of a clock, and where clocks are put forward and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop.events.time import format_time, parse_time
from driftloop.spec.cron import cron_problem, latest_time_ms, zone_problem

MINUTE = 60_000


@pytest.mark.parametrize(
    ("expression", "until", "latest"),
    [
        ("0 0 * * mon", "2013-03-04", "2013-03-04"),
        ("0 0 * * 1", "2013-03-03T23:59:59Z", "2013-02-25"),
        ("0 0 * * 7", "2013-03-06", "2013-03-03"),
        ("*/15 6-8 * * *", "2013-03-06", "2013-03-05T08:45:00Z"),
        ("0 6 1,15 * *", "2013-03-06", "2013-03-01T06:00:00Z"),
        ("0 0 13 * fri", "2013-03-12", "2013-03-08"),  # either is enough
        ("0 0 29 2 *", "2013-03-06", "2012-02-29"),
        ("0 0 1 jan-mar *", "2013-12-31", "2013-03-01"),
    ],
)
def test_known_times(expression: str, until: str, latest: str) -> None:
    assert cron_problem(expression) is None
    assert format_time(latest_time_ms(expression, "UTC", parse_time(until))) == latest


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("0 0 * *", "expected five fields"),
        ("0 0 * * * *", "expected five fields"),
        ("@daily", "expected five fields"),
        ("61 0 * * *", "each within its range"),
        ("0 0 * * 8", "each within its range"),
        ("0 0 30 2 *", "no such day in any year"),
        ("R 0 * * *", "got 'R' for the minute"),
        ("h 0 * * *", "got 'h' for the minute"),
        ("0 0 L * *", "got 'L' for the day of the month"),
        ("0 0 * * mon#1", "got 'mon#1' for the day of the week"),
        ("0 0 * * noon", "got 'noon'"),
    ],
)
def test_what_is_no_schedule(expression: str, says: str) -> None:
    problem = cron_problem(expression)
    assert problem is not None
    assert says in problem


def test_time_zones() -> None:
    assert zone_problem("Europe/Berlin") is None
    for name in ("Europe/Atlantis", "", "../etc/passwd", "CEST+1"):
        assert zone_problem(name) is not None


FIELDS = st.tuples(
    st.sampled_from(["0", "30", "*/20", "5,45", "*"]),
    st.sampled_from(["*", "0", "2", "1-3", "*/6"]),
    st.sampled_from(["*", "*", "31", "1,15"]),
    st.just("*"),
    st.sampled_from(["*", "*", "mon", "sat,sun", "2"]),
)


def _matches(text: str, value: int, least: int, most: int, names: tuple[str, ...] = ()) -> bool:
    """One field of a cron expression, by the book of crontab(5)."""
    for item in text.split(","):
        span, _, step = item.partition("/")
        if span == "*":
            low, high = least, most
        else:
            ends = [names.index(end) if end in names else int(end) for end in span.split("-")]
            low, high = ends[0], ends[-1]
        if low <= value <= high and (value - low) % int(step or 1) == 0:
            return True
    return False


def _brute_force(expression: str, zone: str, until_ms: int) -> int:
    """Back from ``until_ms`` over every minute of the two clocks."""
    minute, hour, day, _, weekday = expression.split()
    timezone = ZoneInfo(zone)
    local = datetime.fromtimestamp(until_ms / 1000, UTC).astimezone(timezone).replace(tzinfo=None, second=0)
    local += timedelta(hours=3)
    found = []
    oldest = local - timedelta(days=40)
    while local > oldest:
        named = _matches(weekday, (local.weekday() + 1) % 7, 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
        of_month = _matches(day, local.day, 1, 31)
        right_day = (of_month or named) if day != "*" and weekday != "*" else (of_month and named)
        if right_day and _matches(minute, local.minute, 0, 59) and _matches(hour, local.hour, 0, 23):
            at_ms = round(local.replace(tzinfo=timezone, fold=0).timestamp()) * 1000
            if at_ms <= until_ms:
                found.append(at_ms)
                oldest = max(oldest, local - timedelta(hours=6))
        local -= timedelta(minutes=1)
    return max(found)


@settings(max_examples=25, deadline=None)
@given(FIELDS, st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]), st.data())
def test_the_latest_time_is_that_of_every_minute(fields: tuple[str, ...], zone: str, data: st.DataObject) -> None:
    if fields[2] == "31" and fields[4] == "*":
        fields = (*fields[:2], "1,15", *fields[3:])  # so that 40 days are enough
    changes = ["2013-03-31T01:00:00Z", "2013-10-27T01:00:00Z", "2013-03-10T07:00:00Z", "2013-10-05T15:30:00Z"]
    around = parse_time(data.draw(st.sampled_from(changes)))
    until_ms = around + data.draw(st.integers(-4 * 60, 4 * 60)) * MINUTE
    expression = " ".join(fields)
    assert latest_time_ms(expression, zone, until_ms) == _brute_force(expression, zone, until_ms)


def test_a_time_that_is_skipped_counts_later_and_one_shown_twice_counts_once() -> None:
    # In Berlin 02:30 did not exist on 31 March 2013, and came twice on 27 October.
    assert format_time(latest_time_ms("30 2 * * *", "Europe/Berlin", parse_time("2013-03-31T12:00:00Z"))) == (
        "2013-03-31T01:30:00Z"
    )
    october = [latest_time_ms("30 2 * * *", "Europe/Berlin", parse_time("2013-10-27") + hour * 60 * MINUTE)
               for hour in range(6)]  # fmt: skip
    assert [format_time(at) for at in october] == ["2013-10-26T00:30:00Z"] + ["2013-10-27T00:30:00Z"] * 5


@given(st.integers(0, 2_000_000_000_000))
def test_times_come_in_order(until_ms: int) -> None:
    latest = latest_time_ms("15 4 * * tue", "America/New_York", until_ms)
    assert latest <= until_ms
    assert latest_time_ms("15 4 * * tue", "America/New_York", latest) == latest
    assert latest_time_ms("15 4 * * tue", "America/New_York", latest - 1) < latest
