"""Volume: a window's rows against those of the model's earlier windows, and windows without any row.

Rows of all versions are counted together: what a service sends does not change when a new version takes over. Expected
are the rows of comparable windows: the same hour of the week where four weeks of them are there, else, for windows
shorter than a day, the same time of the day, else all. Their median m and median absolute deviation give a negative
binomial distribution (variance m + dispersion m^2), for counts are seldom Poisson. Too few or too many are rows
outside its interval *and* further off than the spec's factor; with less than four weeks, further off by that factor
from every window of the same hour of the week, too, so that weekends and nights are no alarm. (Where there is none of
the same hour: outside the 10 % and 90 % quantiles of all.)
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from driftloop.drift.sentences import number_text
from driftloop.quality.finding import Finding
from driftloop.quality.history import QualityHistory
from driftloop.quality.tails import negative_binomial_at_least, negative_binomial_at_most
from driftloop.spec.model import QualityRules

__all__ = ["Expectation", "expected_rows", "volume"]

_DAY_MS = 86_400_000
_WEEK_MS = 7 * _DAY_MS

_SAME_HOUR_OF_WEEK = 4
_SAME_TIME_OF_DAY = 7
_ANY = 7
# So many windows do, however short they are.
_ENOUGH = 1_000
# Windows that must be there, none of them empty, before an empty one is an alarm with less than a week behind it.
_BEFORE_EMPTY = 3

# Relative standard deviations that are assumed at least: of known traffic, and of traffic known for less than a week.
_KNOWN_SPREAD = 0.1
_UNKNOWN_SPREAD = 0.5

#: A normal sample's standard deviation over its median absolute deviation.
_MAD_SCALE = 1.4826


@dataclass(frozen=True)
class Expectation:
    """Rows that are expected: their median, dispersion, and what the comparable windows have in common; rows from
    ``low`` to ``high`` are no alarm whatever the distribution says (``low`` infinite: nothing of the kind)."""

    median: float
    dispersion: float
    windows: int
    slot: str
    low: float
    high: float


def expected_rows(history: QualityHistory, start_ms: int, factor: float, *, empty: bool) -> Expectation | None:
    """What is expected of the window at ``start_ms``, right after the history; None: too little is known.

    Less than a week of windows says nothing yet, except that an ``empty`` window is odd where none was.
    """
    rows, window_ms = history.rows, history.window_ms
    needed = max(_ANY, min(math.ceil(_WEEK_MS / window_ms), _ENOUGH))
    if len(rows) < needed:
        if empty and len(rows) >= _BEFORE_EMPTY and min(rows) > 0:
            return _expectation(list(rows), "earlier windows", _UNKNOWN_SPREAD, _quantiles(rows))
        return None
    starts = [start_ms - window_ms * (len(rows) - index) for index in range(len(rows))]
    weekly = [count for count, at in zip(rows, starts, strict=True) if (start_ms - at) % _WEEK_MS == 0]
    if len(weekly) >= _SAME_HOUR_OF_WEEK:
        return _expectation(weekly, "windows of the same hour of the week", _KNOWN_SPREAD, (math.inf, 0.0))
    guard = (min(weekly) / factor, max(weekly) * factor) if weekly else _quantiles(rows)
    daily = [count for count, at in zip(rows, starts, strict=True) if (start_ms - at) % _DAY_MS == 0]
    if window_ms < _DAY_MS and len(daily) >= _SAME_TIME_OF_DAY:
        return _expectation(daily, "windows of the same time of the day", _KNOWN_SPREAD, guard)
    return _expectation(list(rows), "earlier windows", _KNOWN_SPREAD, guard)


def _quantiles(counts: Sequence[int]) -> tuple[float, float]:
    ranked, outer = sorted(counts), len(counts) // 10
    return float(ranked[outer]), float(ranked[-1 - outer])


def _expectation(counts: list[int], slot: str, least_spread: float, guard: tuple[float, float]) -> Expectation:
    median = float(statistics.median(counts))
    deviation = _MAD_SCALE * statistics.median(abs(count - median) for count in counts)
    spread = (deviation / median) ** 2 - 1 / median if median else 0.0
    # The median of few windows is uncertain itself: its variance is pi / 2n of theirs.
    dispersion = max(spread, least_spread**2) * (1 + math.pi / (2 * len(counts)))
    return Expectation(median, dispersion, len(counts), slot, *guard)


def volume(history: QualityHistory, rows: int, start_ms: int, rules: QualityRules) -> Finding | None:
    """``history`` must reach up to ``start_ms``. The statistic is rows over expected rows, the interval is in rows."""
    if rules.volume is None:
        return None
    expected = expected_rows(history, start_ms, rules.volume, empty=not rows)
    if expected is None or expected.median <= 0.0:
        why = "no earlier windows to compare with" if expected is None else "comparable windows are mostly empty"
        return Finding(
            check="volume",
            subject="volume",
            statistic=None,
            threshold=rules.volume,
            p_value=None,
            rows=rows,
            sentence=f"{rows:,} rows; {why}" if rows else f"no row at all; {why}",
            exceeded=False,
            enough=False,
        )
    few = negative_binomial_at_most(rows, expected.median, expected.dispersion)
    many = negative_binomial_at_least(rows, expected.median, expected.dispersion)
    low, high = _interval(expected, rules.volume, rules.significance)
    said = f"{rows:,} rows" if rows else "no row at all"
    return Finding(
        check="volume",
        subject="volume",
        statistic=rows / expected.median,
        threshold=rules.volume,
        p_value=min(1.0, 2 * min(few, many)),
        rows=rows,
        sentence=(
            f"{said}, where {number_text(expected.median)} are expected ({number_text(low)} to {number_text(high)}, "
            f"from {expected.windows} {expected.slot})"
        ),
        exceeded=rows < low or rows > high,
        low=low,
        high=high,
    )


def _interval(expected: Expectation, factor: float, significance: float) -> tuple[float, float]:
    """Rows in [low, high] are no alarm."""
    tail = significance / 2
    mean, dispersion = expected.median, expected.dispersion
    low, high = 0, math.floor(mean)
    while low < high:  # the first count with more than the tail at or below it
        middle = (low + high) // 2
        if negative_binomial_at_most(middle, mean, dispersion) >= tail:
            high = middle
        else:
            low = middle + 1
    smallest = low
    low, high = math.ceil(mean), 2 * math.ceil(mean) + 1
    while negative_binomial_at_least(high, mean, dispersion) >= tail:
        low, high = high, 2 * high
    while low < high:  # the first count with less than the tail at or above it
        middle = (low + high) // 2
        if negative_binomial_at_least(middle, mean, dispersion) < tail:
            high = middle
        else:
            low = middle + 1
    return min(smallest, mean / factor, expected.low), max(low - 1, mean * factor, expected.high)
