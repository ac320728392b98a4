"""Sums of a ranking task: lists of items, best first, against the items that turned out relevant.

Reference: K. Järvelin, J. Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM Transactions on
Information Systems 20(4), 2002 (NDCG); C. D. Manning, P. Raghavan, H. Schütze, Introduction to Information Retrieval,
2008, chapter 8.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.bounded_sums import BoundedSums
from driftloop.performance.intervals import bounded_interval
from driftloop.performance.logarithm import natural_log
from driftloop.performance.metrics import MetricValue
from driftloop.spec.metrics import RANKED_METRICS

__all__ = ["RankedListSums", "row_scores"]


@lru_cache(maxsize=8)
def _discounts(most: int) -> NDArray[np.float64]:
    """1 / log2(place + 1) of the places from 1 to ``most``."""
    two = natural_log(np.array([2.0]))
    found: NDArray[np.float64] = two / natural_log(np.arange(2.0, most + 2.0))
    return found


class RankedListSums:
    """Sums of each metric at each cutoff, and of its square, over the rows that have a relevant item.

    A row without one has no recall and no ideal order: it is counted in ``rows`` and no metric.
    """

    __slots__ = ("bounded", "cutoffs", "relevant_rows", "rows")

    def __init__(self, cutoffs: Sequence[int]) -> None:
        if not cutoffs or min(cutoffs) < 1:
            raise ValueError(f"cutoffs are whole numbers from 1 on, at least one of them; got {list(cutoffs)}")
        self.cutoffs = tuple(cutoffs)
        self.rows = self.relevant_rows = 0
        self.bounded = BoundedSums(2 * len(self.names()))

    def names(self) -> list[str]:
        """``mrr``, then every metric at every cutoff."""
        return ["mrr", *(f"{name}_{cutoff}" for cutoff in self.cutoffs for name in RANKED_METRICS)]

    def update(self, predictions: Sequence[Sequence[str]], labels: Sequence[Mapping[str, float]], sign: int) -> None:
        """Lists of distinct items, best first, and gains by item; an item without a gain above 0 is not relevant.

        Raises ``ValueError`` before anything is counted if a gain is negative, NaN or infinite, or an item is in a list
        twice.
        """
        columns = [row_scores(items, gains, self.cutoffs) for items, gains in zip(predictions, labels, strict=True)]
        relevant = [column for column in columns if column is not None]
        if relevant:
            values = np.array(relevant, np.float64).T
            self.bounded.add(np.concatenate([values, values * values]), sign)
        self.rows += sign * len(columns)
        self.relevant_rows += sign * len(relevant)

    def merge(self, other: RankedListSums) -> None:
        self.bounded.merge(other.bounded)
        self.rows += other.rows
        self.relevant_rows += other.relevant_rows

    def copy(self) -> RankedListSums:
        twin = RankedListSums(self.cutoffs)
        twin.bounded = self.bounded.copy()
        twin.rows, twin.relevant_rows = self.rows, self.relevant_rows
        return twin

    @property
    def consistent(self) -> bool:
        """False if more was taken out than is here: corrections alone, to be merged with what they correct."""
        return 0 <= self.relevant_rows <= self.rows and min(self.bounded.totals) >= 0

    def metrics(self, confidence: float, names: Iterable[str]) -> dict[str, MetricValue]:
        """These ranking metrics, means over the rows with a relevant item; undefined at a cutoff that is not kept.

        The interval is that of a proportion with the same variance, so it stays within [0, 1].
        """
        places = {name: index for index, name in enumerate(self.names())}
        rows = self.relevant_rows
        found = {}
        for name in names:
            index = places.get(name)
            if index is None or rows <= 0:
                found[name] = MetricValue(None, None, None, max(0, rows))
                continue
            value = min(1.0, self.bounded.mean(index, rows))
            if rows < 2:
                found[name] = MetricValue(value, None, None, rows)
                continue
            variance = self.bounded.variance(index, index + len(places), rows) / rows
            found[name] = MetricValue(value, *bounded_interval(value, variance, rows, confidence), rows)
        return found

    def to_wire(self) -> dict[str, Any]:
        return {"rows": self.rows, "relevant_rows": self.relevant_rows, "bounded": self.bounded.to_wire()}

    def load(self, wire: Mapping[str, Any]) -> None:
        """Replace the sums by those of :meth:`to_wire`. Raises ``ValueError`` or ``KeyError`` if they do not fit."""
        self.rows, self.relevant_rows = int(wire["rows"]), int(wire["relevant_rows"])
        self.bounded.load(wire["bounded"])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RankedListSums):
            return NotImplemented
        mine = (self.cutoffs, self.rows, self.relevant_rows)
        return mine == (other.cutoffs, other.rows, other.relevant_rows) and self.bounded == other.bounded

    __hash__ = None  # type: ignore[assignment]


def row_scores(items: Sequence[str], gains: Mapping[str, float], cutoffs: Sequence[int]) -> list[float] | None:
    """One row's reciprocal rank, then NDCG, average precision, precision, recall and hit at each cutoff k; None without
    a relevant item.

    NDCG has the gains themselves as numerators (not 2**gain - 1). Average precision is the sum of the precision at the
    place of each relevant item among the first k, over the smaller one of k and the number of relevant items.

    >>> row_scores(["a", "b"], {"b": 1.0}, [1, 2])[0]
    0.5
    """
    if len(set(items)) != len(items):
        raise ValueError("an item is in a ranked list twice")
    if not all(0.0 <= gain < math.inf for gain in gains.values()):
        raise ValueError("gains are finite numbers from 0 on; at least one here is not")
    ideal = sorted((gain for gain in gains.values() if gain > 0.0), reverse=True)
    if not ideal:
        return None
    gained = [gains.get(item, 0.0) for item in items]
    places = [place for place, gain in enumerate(gained, 1) if gain > 0.0]
    largest = ideal[0]  # gains in relation to it, so that none overflows
    discounts = _discounts(max(cutoffs)).tolist()
    scores = [1.0 / places[0] if places else 0.0]
    for cutoff in cutoffs:
        found = [place for place in places if place <= cutoff]
        dcg = math.fsum((gained[place - 1] / largest) * discounts[place - 1] for place in found)
        best = math.fsum((gain / largest) * weight for gain, weight in zip(ideal, discounts[:cutoff], strict=False))
        scores += [
            min(1.0, dcg / best),
            math.fsum(rank / place for rank, place in enumerate(found, 1)) / min(cutoff, len(ideal)),
            len(found) / cutoff,
            len(found) / len(ideal),
            1.0 if found else 0.0,
        ]
    return scores
