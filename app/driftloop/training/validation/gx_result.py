"""Results in the JSON of Great Expectations' validation results (result format ``SUMMARY``)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Outcome", "plain", "rows_outcome"]

#: So many unexpected values and rows are listed.
PARTIAL = 20


@dataclass(frozen=True)
class Outcome:
    """Whether an expectation holds, and the ``result`` that says more. ``problem``: why it could not be decided."""

    success: bool
    result: dict[str, Any]
    problem: str | None = None


def plain(values: Sequence[Any]) -> list[Any]:
    """Values as JSON has them: NaN becomes None, numpy's scalars Python's."""
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


def rows_outcome(
    *, rows: int, looked_at: int | None, unexpected: list[Any], where: list[int], mostly: float
) -> Outcome:
    """The outcome of an expectation about rows. ``looked_at``: how many are in its domain; None: all, and nothing is
    said about missing ones. ``unexpected``: the values that are not as expected, ``where``: at which positions."""
    count = len(unexpected)
    domain = rows if looked_at is None else looked_at
    success = domain == 0 or (domain - count) / domain >= mostly
    of_rows = count / rows * 100 if rows else None
    of_domain = count / domain * 100 if domain else None
    result: dict[str, Any] = {
        "element_count": rows,
        "unexpected_count": count,
        "unexpected_percent": of_domain,
        "partial_unexpected_list": unexpected[:PARTIAL],
    }
    if looked_at is not None:
        result["missing_count"] = rows - looked_at
        result["missing_percent"] = (rows - looked_at) / rows * 100 if rows else None
        result["unexpected_percent_total"] = of_rows
        result["unexpected_percent_nonmissing"] = of_domain
    result["partial_unexpected_counts"] = _counts(unexpected[:PARTIAL])
    result["partial_unexpected_index_list"] = where[:PARTIAL]
    return Outcome(success, result)


def _counts(listed: list[Any]) -> list[dict[str, Any]]:
    """How often each of the listed values (not of all unexpected ones) is among them, the most frequent first."""
    keys = [tuple(value.values()) if isinstance(value, dict) else _key(value) for value in listed]
    common = Counter(keys).most_common(PARTIAL)
    try:
        common = sorted(common, key=lambda item: (-item[1], item[0]))
    except TypeError:  # some values are missing, and have no order
        common = sorted(common, key=lambda item: (-item[1], str(item[0])))
    return [{"value": list(key) if isinstance(key, tuple) else key, "count": count} for key, count in common]


def _key(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
