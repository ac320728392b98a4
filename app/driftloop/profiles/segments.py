"""Segments: the rows that share a value of a declared column, in a number that is bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

__all__ = ["MAX_SEGMENT_VALUES", "MISSING_SEGMENT", "OTHER_SEGMENT", "segment_key", "segment_rows"]

#: Segment value of everything beyond the reference's most frequent values.
OTHER_SEGMENT = "(other)"
MISSING_SEGMENT = "(missing)"

#: A column makes at most so many segments of its own; the rest share one.
MAX_SEGMENT_VALUES = 20


def segment_key(name: str, value: str | None, known: Iterable[str]) -> str:
    """The segment of a row, such as ``"origin=JFK"``. ``known``: the segment keys that the reference has.

    >>> segment_key("origin", "JFK", {"origin=JFK"}), segment_key("origin", "XXX", {"origin=JFK"})
    ('origin=JFK', 'origin=(other)')
    """
    key = f"{name}={MISSING_SEGMENT if value is None else value}"
    return key if value is None or key in known else f"{name}={OTHER_SEGMENT}"


def segment_rows(name: str, column: Sequence[str | None]) -> dict[str, list[int]]:
    """Positions of the rows of each segment: the most frequent values, then the others, then the missing.

    >>> segment_rows("origin", ["JFK", None, "JFK", "EWR"])
    {'origin=JFK': [0, 2], 'origin=EWR': [3], 'origin=(missing)': [1]}
    """
    counts = Counter(value for value in column if value is not None)
    ranked = sorted(counts, key=lambda value: (-counts[value], value))[:MAX_SEGMENT_VALUES]
    rows: dict[str, list[int]] = {f"{name}={value}": [] for value in ranked}
    known = set(rows)
    for position, value in enumerate(column):
        rows.setdefault(segment_key(name, value, known), []).append(position)
    return rows
