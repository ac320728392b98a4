"""Segments: the rows that share a value of a declared column, or of a pair of them, in a number that is bounded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import Any

__all__ = [
    "MAX_SEGMENT_VALUES",
    "MISSING_SEGMENT",
    "OTHER_SEGMENT",
    "is_pair_key",
    "segment_key",
    "segment_names",
    "segment_rows",
]

#: Segment value of everything beyond the reference's most frequent values.
OTHER_SEGMENT = "(other)"
MISSING_SEGMENT = "(missing)"

#: A column, or a pair of columns, makes at most so many segments of its own; the rest share one.
MAX_SEGMENT_VALUES = 20


def segment_names(declared: str | Sequence[str]) -> tuple[str, ...]:
    """The columns of a declared segment: one, or a pair."""
    return (declared,) if isinstance(declared, str) else tuple(declared)


def segment_key(names: Sequence[str], values: Sequence[str | None], known: Container[str]) -> str:
    """The segment of a row with these values of the columns. ``known``: the segment keys that the reference has.

    >>> segment_key(["origin"], ["JFK"], {"origin=JFK"}), segment_key(["origin"], ["XXX"], {"origin=JFK"})
    ('origin=JFK', 'origin=(other)')
    >>> segment_key(["origin", "carrier"], ["JFK", None], {"origin=JFK&carrier=AA"})
    'origin&carrier=(other)'
    """
    key = _full_key(names, values)
    if key in known or (len(names) == 1 and values[0] is None):
        return key
    return f"{'&'.join(names)}={OTHER_SEGMENT}"


def is_pair_key(key: str, names: Sequence[str]) -> bool:
    """Whether the key is of a segment of this pair of columns, and not of one value of its first column.

    >>> is_pair_key("origin=JFK&carrier=AA", ["origin", "carrier"])
    True
    >>> is_pair_key("origin=R&D", ["origin", "carrier"]), is_pair_key("origin=JFK", ["origin"])
    (False, False)
    """
    if len(names) != 2:
        return False
    parts = re.split(r"(?<!\\)(?:\\\\)*&", key)
    return len(parts) == 2 and all(part.startswith(f"{name}=") for part, name in zip(parts, names, strict=True))


def segment_rows(
    declared: str | Sequence[str], columns: Mapping[str, Any], limit: int = MAX_SEGMENT_VALUES
) -> dict[str, list[int]]:
    """Positions of the rows of each segment: the most frequent values (or pairs), then the others, then the missing.

    A missing value has a segment of its own beside the ``limit`` values of one column, and counts as one of them in
    pairs.

    >>> segment_rows("origin", {"origin": ["JFK", None, "JFK", "EWR"]})
    {'origin=JFK': [0, 2], 'origin=EWR': [3], 'origin=(missing)': [1]}
    >>> segment_rows(["o", "c"], {"o": ["J", "E", "J"], "c": ["A", "A", "A"]}, limit=1)
    {'o=J&c=A': [0, 2], 'o&c=(other)': [1]}
    """
    names = segment_names(declared)
    rows_of = list(zip(*(columns[name] for name in names), strict=True))
    counts = Counter(values for values in rows_of if len(names) > 1 or values[0] is not None)
    keys = {values: _full_key(names, values) for values in counts}
    ranked = sorted(counts, key=lambda values: (-counts[values], keys[values]))[:limit]
    rows: dict[str, list[int]] = {keys[values]: [] for values in ranked}
    known = set(rows)
    for position, values in enumerate(rows_of):
        rows.setdefault(segment_key(names, values, known), []).append(position)
    return rows


def _full_key(names: Sequence[str], values: Sequence[str | None]) -> str:
    texts = [MISSING_SEGMENT if value is None else value for value in values]
    if len(names) > 1:
        # The separator is part of a value only escaped: two pairs of values never have one key.
        texts = [text.replace("\\", "\\\\").replace("&", "\\&") for text in texts]
    return "&".join(f"{name}={text}" for name, text in zip(names, texts, strict=True))
