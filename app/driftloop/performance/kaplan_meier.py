"""How many labels come within an age, while some predictions are still too young to tell.

A prediction without a label is censored at its age: it says only that its label takes longer than that.

Reference: E. L. Kaplan, P. Meier, "Nonparametric estimation from incomplete observations", JASA 53, 1958; variance by
M. Greenwood, 1926.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ArrivalCurve", "kaplan_meier"]


@dataclass(frozen=True)
class ArrivalCurve:
    """A step function: at ``times_ms`` (k,), rising, the share ``pending`` (k,) whose label takes longer, and the
    standard error of that."""

    times_ms: NDArray[np.int64]
    pending: NDArray[np.float64]
    standard_errors: NDArray[np.float64]

    def arrived(self, age_ms: int) -> float:
        """Share of the predictions whose label comes within the age."""
        return 1.0 - self._at(self.pending, age_ms, 1.0)

    def standard_error(self, age_ms: int) -> float:
        """Of :meth:`arrived`."""
        return self._at(self.standard_errors, age_ms, 0.0)

    def _at(self, values: NDArray[np.float64], age_ms: int, before: float) -> float:
        at = int(self.times_ms.searchsorted(age_ms, side="right")) - 1
        return before if at < 0 else float(values[at])


def kaplan_meier(
    delays_ms: NDArray[np.int64],
    arrived: NDArray[np.int64],
    ages_ms: NDArray[np.int64],
    censored: NDArray[np.int64],
) -> ArrivalCurve:
    """From ``arrived`` (n,) labels with these delays and ``censored`` (m,) predictions without one at these ages.

    A prediction censored at the very age of an arrival counts as at risk there. Counts below 0 count as 0.
    """
    counts = np.maximum(arrived, 0)
    times_ms = np.unique(delays_ms[counts > 0])
    at = times_ms.searchsorted(delays_ms[counts > 0])
    events = np.bincount(at, weights=counts[counts > 0], minlength=times_ms.size).astype(np.int64)
    order = np.argsort(ages_ms, kind="stable")
    sorted_ages = ages_ms[order]
    lost = np.concatenate([[0], np.cumsum(np.maximum(censored, 0)[order])])
    gone = lost[sorted_ages.searchsorted(times_ms, side="left")]
    at_risk = int(counts.sum()) + int(lost[-1]) - (np.cumsum(events) - events) - gone
    pending, errors = np.empty(times_ms.size), np.empty(times_ms.size)
    share, spread = 1.0, 0.0
    for index, (d, n) in enumerate(zip(events.tolist(), at_risk.tolist(), strict=True)):
        share *= (n - d) / n
        # Where nobody is left Greenwood's sum has no value; the share is 0 there, and so is its error.
        spread = spread + d / (n * (n - d)) if n > d else math.inf
        pending[index] = share
        errors[index] = share * math.sqrt(spread) if math.isfinite(spread) else 0.0
    return ArrivalCurve(times_ms, pending, errors)
