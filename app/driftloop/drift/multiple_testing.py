"""Correction of p-values for many features judged at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

__all__ = ["CORRECTIONS", "benjamini_hochberg", "bonferroni", "holm"]


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that bound the share of false alarms among all alarms, in the order given.

    Y. Benjamini, Y. Hochberg, "Controlling the false discovery rate", Journal of the Royal Statistical Society B
    57(1), 1995; equal to ``scipy.stats.false_discovery_control``.

    >>> benjamini_hochberg([0.01, 0.02, 0.03, 0.5])
    [0.04, 0.04, 0.04, 0.5]
    """
    count = len(p_values)
    adjusted = [1.0] * count
    smallest = 1.0
    for rank, index in reversed(list(enumerate(sorted(range(count), key=p_values.__getitem__), start=1))):
        smallest = min(smallest, p_values[index] * count / rank)
        adjusted[index] = smallest
    return adjusted


def bonferroni(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that bound the chance of any false alarm.

    >>> bonferroni([0.01, 0.4])
    [0.02, 0.8]
    """
    return [min(p_value * len(p_values), 1.0) for p_value in p_values]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that bound the chance of any false alarm, none larger than Bonferroni's.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6(2), 1979.

    >>> [round(p_value, 4) for p_value in holm([0.01, 0.4, 0.02])]
    [0.03, 0.4, 0.04]
    """
    count = len(p_values)
    adjusted = [1.0] * count
    largest = 0.0
    for rank, index in enumerate(sorted(range(count), key=p_values.__getitem__)):
        largest = max(largest, min(p_values[index] * (count - rank), 1.0))
        adjusted[index] = largest
    return adjusted


#: By the name that a spec gives.
CORRECTIONS: Final[Mapping[str, Callable[[Sequence[float]], list[float]]]] = {
    "benjamini-hochberg": benjamini_hochberg,
    "bonferroni": bonferroni,
    "none": list,
}
