"""Turning scores into probabilities: isotonic regression on the reference, kept where it helps.

References: R. E. Barlow et al., "Statistical inference under order restrictions", 1972; B. Zadrozny, C. Elkan,
"Transforming classifier scores into accurate multiclass probability estimates", KDD 2002.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from driftloop.profiles.estimators import MAX_KNOTS, CalibrationMap

__all__ = ["expected_calibration_error", "fit_isotonic", "fit_where_it_helps"]

_FOLDS: Final = 10
_ECE_BINS: Final = 10
#: With fewer rows, or fewer of either outcome, a map would follow noise.
MINIMUM_ROWS: Final = 50
MINIMUM_OF_EACH: Final = 10


def fit_isotonic(
    scores: NDArray[np.float64], outcomes: NDArray[np.float64], max_knots: int = MAX_KNOTS
) -> CalibrationMap:
    """The isotonic regression of outcomes (0 or 1) on scores, both (n,), linear between its knots as in scikit-learn.

    Of more than ``max_knots`` knots those at equal steps are kept, the two outermost always.
    """
    distinct, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    means = np.bincount(inverse, weights=outcomes, minlength=distinct.size) / counts
    fitted = np.clip(isotonic_regression(means, weights=counts).x, 0.0, 1.0)
    # Inside a run of equal values nothing happens: its two ends say it all.
    inside = np.zeros(distinct.size, np.bool_)
    inside[1:-1] = (fitted[1:-1] == fitted[:-2]) & (fitted[1:-1] == fitted[2:])
    knots = np.flatnonzero(~inside)
    if knots.size > max_knots:
        knots = knots[np.linspace(0, knots.size - 1, max_knots).round().astype(np.int64)]
    known = CalibrationMap(scores=distinct[knots].tolist(), probabilities=fitted[knots].tolist())
    error = float(np.abs(known.apply(distinct) - fitted).max()) if knots.size == max_knots else 0.0
    return CalibrationMap(scores=known.scores, probabilities=known.probabilities, max_error=error)


def expected_calibration_error(probabilities: NDArray[np.float64], outcomes: NDArray[np.float64]) -> float:
    """Mean distance of mean probability and share of outcomes over ten groups of equally many rows, by probability.

    Reference: M. P. Naeini, G. F. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
    binning", AAAI 2015 (with equal-mass groups).
    """
    order = np.argsort(probabilities, kind="stable")
    groups = np.array_split(order, min(_ECE_BINS, max(1, order.size // 2)))
    gaps = [len(group) * abs(float(probabilities[group].mean() - outcomes[group].mean())) for group in groups]
    return sum(gaps) / order.size


def fit_where_it_helps(scores: NDArray[np.float64], outcomes: NDArray[np.float64]) -> CalibrationMap | None:
    """The isotonic map if it lowers the calibration error out of sample (ten folds), otherwise None.

    NannyML compares the same two errors over ten random splits; here every tenth row is a fold, so that nothing hangs
    on a seed.
    """
    positives = int(np.count_nonzero(outcomes))
    if scores.size < MINIMUM_ROWS or min(positives, scores.size - positives) < MINIMUM_OF_EACH:
        return None
    folds = np.arange(scores.size) % _FOLDS
    calibrated = np.empty(scores.size)
    for fold in range(_FOLDS):
        held_out = folds == fold
        calibrated[held_out] = fit_isotonic(scores[~held_out], outcomes[~held_out]).apply(scores[held_out])
    if expected_calibration_error(scores, outcomes) <= expected_calibration_error(calibrated, outcomes):
        return None
    return fit_isotonic(scores, outcomes)
