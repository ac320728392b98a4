"""Lift: how many times more positives are among the highest scores than among all rows."""

from __future__ import annotations

from driftloop.performance.intervals import wilson_interval
from driftloop.performance.metrics import MetricValue
from driftloop.performance.ranking import MINIMUM_CLASS_ROWS
from driftloop.performance.score_table import ScoreTable

__all__ = ["lift"]


def lift(table: ScoreTable, confidence: float, parts: int = 10) -> MetricValue:
    """Share of positives among the highest ``1 / parts`` of the rows (rounded up), over the share among all rows.

    Rows that tie at the border count in proportion. The interval is Wilson's of the share of all positives that are
    found at the top, over the share of rows there. Undefined without positives.
    """
    rows, positives = table.rows, int(table.positives.sum())
    if not positives:
        return MetricValue(None, None, None, rows)
    top = -(-rows // parts)
    found, left = 0.0, top
    slack = 0.0
    for p, n in zip(table.positives[::-1].tolist(), table.negatives[::-1].tolist(), strict=True):
        if p + n > left:
            share = p * left / (p + n)
            if not table.exact:
                slack = max(share - max(0, left - n), min(left, p) - share)
            found += share
            break
        found += p
        left -= p + n
    scale = rows / (top * positives)
    low = high = None
    if min(positives, rows - positives) >= MINIMUM_CLASS_ROWS:
        low, high = (limit * positives * scale for limit in wilson_interval(found / positives, positives, confidence))
        low, high = min(low, found * scale), max(high, found * scale)
    return MetricValue(found * scale, low, high, rows, slack * scale)
