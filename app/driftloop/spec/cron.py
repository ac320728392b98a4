"""Times of a schedule, as crontab(5) writes them: minute, hour, day of the month, month, day of the week.

Only what every cron knows: numbers, names of months and days, ``*``, ranges, lists and steps. If day of the month and
day of the week are both restricted, either is enough. Times are those on a clock in the schedule's zone: one that the
clock skips when it is put forward counts as much later, one that it shows twice when it is put back the first time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter

__all__ = ["cron_problem", "latest_time_ms", "zone_problem"]

_FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")
_ITEM = re.compile(r"(\*|[0-9]{1,2}|[a-z]{3})(-([0-9]{1,2}|[a-z]{3}))?(/[0-9]{1,2})?")
_EXPECTED = "five fields such as '0 6 * * mon' (minute, hour, day of the month, month, day of the week)"
#: A leap day has just been: every day of the year that there is lies in the year before.
_PROBE = datetime(2024, 3, 1)
#: No clock is put forward or back by more.
_CHANGE = timedelta(hours=3)


def cron_problem(expression: str) -> str | None:
    """What is wrong with a cron expression, or None."""
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        return f"expected {_EXPECTED}, got {expression!r}"
    for name, text in zip(_FIELDS, fields, strict=True):
        if not all(_ITEM.fullmatch(item) for item in text.lower().split(",")):
            return f"expected {_EXPECTED} of numbers, names, '*', ranges, lists and steps, got {text!r} for the {name}"
    if not croniter.is_valid(expression):
        return f"expected {_EXPECTED}, each within its range, got {expression!r}"
    try:
        croniter(expression, _PROBE).get_prev(datetime)
    except ValueError:
        return f"there is no such day in any year: {expression!r}"
    return None


def zone_problem(name: str) -> str | None:
    """What is wrong with the name of a time zone, or None."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return f"expected a time zone such as 'UTC' or 'Europe/Berlin', got {name!r}"
    return None


def latest_time_ms(expression: str, zone: str, until_ms: int) -> int:
    """The last time of the schedule that is not after ``until_ms``, as event time.

    >>> from driftloop.events.time import format_time, parse_time
    >>> format_time(latest_time_ms("0 6 * * mon", "Europe/Berlin", parse_time("2013-03-06")))
    '2013-03-04T05:00:00Z'
    """
    timezone = ZoneInfo(zone)
    moment = datetime.fromtimestamp(until_ms // 1000, UTC)
    day = timedelta(days=1)
    changes = (moment - day).astimezone(timezone).utcoffset() != (moment + day).astimezone(timezone).utcoffset()
    around = _CHANGE if changes else timedelta(0)
    local = moment.astimezone(timezone).replace(tzinfo=None, fold=0)
    times = croniter(expression, local + around + timedelta(seconds=1))  # what it gives is before where it starts
    latest_ms: int | None = None
    while True:
        found: datetime = times.get_prev(datetime)
        at_ms = round(found.replace(tzinfo=timezone).timestamp()) * 1000
        if at_ms <= until_ms and (latest_ms is None or at_ms > latest_ms):
            latest_ms = at_ms
        # Where the clock is put forward or back, later on the clock is not always later.
        if latest_ms is not None and found <= local - around:
            return latest_ms
