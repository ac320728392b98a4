"""Event time: integer milliseconds since 1970-01-01T00:00:00Z, and how people read and write it.

Everything in driftloop that decides something uses event time, handed in; nothing here reads a clock.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

__all__ = ["NEVER_MS", "duration_text", "format_time", "parse_duration_ms", "parse_time", "window_start"]

#: Smaller than every event time: "nothing seen yet".
NEVER_MS = -(2**62)

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")


def parse_duration_ms(text: str) -> int:
    """Milliseconds in a duration such as ``"1d"``, ``"36h"`` or ``"1h30m"``.

    Raises ``ValueError`` that says what was expected.

    >>> parse_duration_ms("1h30m")
    5400000
    """
    position = 0
    total = 0.0
    for match in _DURATION.finditer(text):
        if match.start() != position:
            break
        total += float(match.group(1)) * _UNITS_MS[match.group(2)]
        position = match.end()
    if not text or position != len(text):
        raise ValueError(f"expected a duration such as '1d', '36h' or '1h30m', got {text!r}")
    return round(total)


def duration_text(duration_ms: int) -> str:
    """The shortest text that :func:`parse_duration_ms` reads back.

    >>> duration_text(129_600_000)
    '1d12h'
    """
    if duration_ms == 0:
        return "0s"
    parts = []
    rest = duration_ms
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, _UNITS_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def parse_time(text: str) -> int:
    """Event time of an ISO 8601 date or date-time (UTC unless it has an offset), or of integer milliseconds.

    >>> parse_time("2013-02-01")
    1359676800000
    >>> parse_time("2013-02-01T01:00:00+01:00")
    1359676800000
    """
    if re.fullmatch(r"-?\d{5,}", text):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"expected a time such as '2013-02-01' or '2013-02-01T06:00:00Z' or milliseconds, got {text!r}"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def format_time(time_ms: int) -> str:
    """ISO 8601 in UTC, as short as it can be without losing anything.

    >>> format_time(1359676800000), format_time(1359680400000)
    ('2013-02-01', '2013-02-01T01:00:00Z')
    """
    if time_ms <= NEVER_MS:
        return "never"
    try:
        moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{time_ms}ms"
    if time_ms % _UNITS_MS["d"] == 0:
        return moment.strftime("%Y-%m-%d")
    if time_ms % 1000:
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time_ms % 1000:03d}Z"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def window_start(time_ms: int, window_ms: int) -> int:
    """Start of the tumbling window that holds the time. Windows are aligned to the epoch.

    >>> format_time(window_start(parse_time("2013-02-01T13:00:00Z"), 86_400_000))
    '2013-02-01'
    """
    return time_ms - time_ms % window_ms
