"""Average precision: the area under the steps of the precision-recall curve, from groups of scores."""

from __future__ import annotations

import math

import numpy as np

from driftloop.performance.intervals import wilson_interval
from driftloop.performance.logarithm import natural_log
from driftloop.performance.metrics import MetricValue
from driftloop.performance.ranking import MINIMUM_CLASS_ROWS
from driftloop.performance.score_table import ScoreTable

__all__ = ["average_precision", "average_precision_bounds"]


def average_precision(table: ScoreTable, confidence: float) -> MetricValue:
    """Sum over the groups from the highest score down of (gain in recall) x (precision so far); ties are one group.

    The interval is Wilson's of a proportion over the positives. Undefined without positives; no interval with fewer
    than 5 rows of either class.

    Reference: K. Boyd, K. H. Eng, C. D. Page, "Area under the precision-recall curve: point estimates and confidence
    intervals", ECML PKDD 2013 (section 3.3, the binomial interval; Wilson's form of it here).
    """
    rows, positives = table.rows, int(table.positives.sum())
    if not positives:
        return MetricValue(None, None, None, rows)
    p, n = table.positives[::-1], table.negatives[::-1]
    hits = p.cumsum()
    value = math.fsum((p * (hits / (hits + n.cumsum()))).tolist()) / positives
    value = min(1.0, value)
    low = high = None
    if min(positives, rows - positives) >= MINIMUM_CLASS_ROWS:
        low, high = wilson_interval(value, positives, confidence)
    least, most = average_precision_bounds(table)
    return MetricValue(value, low, high, rows, max(0.0, value - least, most - value))


def average_precision_bounds(table: ScoreTable) -> tuple[float, float]:
    """The least and the most that average precision can be, whatever the scores within each group are.

    Within a group of p positives and n negatives, with P positives and N negatives above it, the i-th positive from the
    top has a precision of at least (P + i) / (P + i + N + n) and of at most (P + p) / (P + p + N). The sum of the first
    over i is at least p - c ln((P + p + c) / (P + c)) with c = N + n.
    """
    positives = int(table.positives.sum())
    p, n = table.positives[::-1], table.negatives[::-1]
    hits, misses = p.cumsum(), n.cumsum()
    if table.exact:
        value = math.fsum((p * (hits / (hits + misses))).tolist()) / positives
        return value, value
    highest = math.fsum((p * (hits / np.maximum(1, hits + misses - n))).tolist()) / positives
    used = (p > 0) & (misses > 0)
    wrong = misses[used].astype(np.float64)
    above = (hits - p)[used] + wrong
    lost = math.fsum((wrong * natural_log((above + p[used]) / above)).tolist())
    return max(0.0, 1.0 - lost / positives), min(1.0, highest)
