"""What a column of a data set holds. Every number is exact: it follows from the values alone, in whatever order."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from driftloop.profiles.exact import ExactSum

__all__ = ["QUANTILES", "TOP_CATEGORIES", "ColumnStatistics", "column_statistics"]

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
TOP_CATEGORIES = 20
#: Names are cut at so many characters: they come from outside.
_LONGEST_NAME = 200


class ColumnStatistics(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``count`` values that are not missing, and ``missing`` ones; ``distinct`` is how many different values there are.

    Numeric: ``mean`` is the exact sum divided by the count, rounded once; ``quantiles`` has, for each of
    :data:`QUANTILES`, the smallest value v such that at least that share of the values is at most v. Categorical:
    ``top`` has the most frequent values with their counts, equally frequent ones by name. Vectors have counts alone.
    """

    name: str
    kind: Literal["numeric", "categorical", "vector"]
    count: int
    missing: int
    distinct: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    quantiles: dict[str, float] = field(default_factory=dict)
    top: list[tuple[str, int]] = field(default_factory=list)


def column_statistics(name: str, values: NDArray[Any]) -> ColumnStatistics:
    """Of a column (n,): float64 with NaN for missing, or objects that are texts, lists or None."""
    if values.dtype == object:
        return _of_objects(name, values)
    known = np.sort(values[~np.isnan(values)] + 0.0)  # -0.0 becomes 0.0
    missing = len(values) - known.size
    if not known.size:
        return ColumnStatistics(name=name, kind="numeric", count=0, missing=missing, distinct=0)
    total = ExactSum()
    total.add(known)
    ranks = [max(int(np.ceil(share * known.size)), 1) - 1 for share in QUANTILES]
    return ColumnStatistics(
        name=name,
        kind="numeric",
        count=known.size,
        missing=missing,
        distinct=int(np.count_nonzero(known[1:] != known[:-1])) + 1,
        minimum=float(known[0]),
        maximum=float(known[-1]),
        mean=total.mean(known.size),
        quantiles={f"{share:g}": float(known[rank]) for share, rank in zip(QUANTILES, ranks, strict=True)},
    )


def _of_objects(name: str, values: NDArray[Any]) -> ColumnStatistics:
    known = [value for value in values.tolist() if value is not None]
    missing = len(values) - len(known)
    if any(isinstance(value, list) for value in known):
        return ColumnStatistics(name=name, kind="vector", count=len(known), missing=missing)
    counts = Counter(known)
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:TOP_CATEGORIES]
    return ColumnStatistics(
        name=name,
        kind="categorical",
        count=len(known),
        missing=missing,
        distinct=len(counts),
        top=[(value[:_LONGEST_NAME], count) for value, count in top],
    )
