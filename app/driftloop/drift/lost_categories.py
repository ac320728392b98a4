"""Lost categories: of the reference, absent from the window, and too frequent for that to be chance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from driftloop.drift.pairs import CategoricalPair, Outcome

__all__ = ["LOST_SIGNIFICANCE", "Lost", "find_lost", "lost_number", "lost_share"]

#: Chance that any category is taken for lost if nothing changed.
LOST_SIGNIFICANCE = 0.01


class Lost(NamedTuple):
    """How many categories are lost, which share of the reference's rows they had, and the p-value of the most frequent
    absent one, corrected for all categories of the reference (Bonferroni)."""

    number: int
    share: float
    p_value: float


def find_lost(pair: CategoricalPair) -> Lost:
    """A category counts as lost if Fisher's exact test of its absence, corrected for the number of the reference's
    categories, gives less than 1 %.

    With R rows of which r have the category in the reference and n in the window, absence has the probability
    C(R, r) / C(R + n, r). Rows that the reference does not keep by name are no category here.
    """
    reference, current = (counts[:-1] for counts in pair.bins)
    present = reference > 0
    absent = present & (current == 0)
    if not absent.any():
        return Lost(0, 0.0, 1.0)
    r = reference[absent].astype(np.float64)
    rows, total = float(pair.reference_rows), float(pair.reference_rows + pair.rows)
    logs = gammaln(rows + 1) - gammaln(rows - r + 1) - gammaln(total + 1) + gammaln(total - r + 1)
    p_values = np.minimum(np.exp(np.minimum(logs, 0.0)) * int(present.sum()), 1.0)
    lost = p_values < LOST_SIGNIFICANCE
    return Lost(int(lost.sum()), float(r[lost].sum()) / rows, float(p_values.min()))


def lost_number(pair: CategoricalPair) -> Outcome:
    """How many categories are lost."""
    lost = find_lost(pair)
    return Outcome(float(lost.number), p_value=lost.p_value)


def lost_share(pair: CategoricalPair) -> Outcome:
    """The share of the reference's rows that had a category that is lost."""
    lost = find_lost(pair)
    return Outcome(lost.share, p_value=lost.p_value)
