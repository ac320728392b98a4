"""How far one row moves R² and the explained variance: the variance of the influence, for the delta method.

The means handed in are those of a regression's terms by name: ``e`` error, ``d`` label less center, and their products
(``e2d2`` is the mean of e² d²).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

__all__ = ["explained_influence", "r2_influence"]

#: Beyond this many (squared) standard deviations between center and mean, the fourth moment is rounding noise.
_FAR_CENTER: Final = 1e6

_OF_R2: Final = ("e2", "e4", "d", "d2", "d3", "d4", "e2d", "e2d2")
_OF_EXPLAINED: Final = (*_OF_R2, "e", "e3", "ed", "ed2")


def r2_influence(means: Mapping[str, float], ratio: float, spread: float) -> float:
    """Variance of (ratio * w - e²) / spread, w = (label - mean label)²; infinite where it cannot be told.

    ``ratio`` is the mean square error over ``spread``, the variance of the labels.
    """
    if not all(math.isfinite(means[name]) for name in _OF_R2):
        return math.inf
    at = means["d"]
    if at * at > _FAR_CENTER * spread:
        return math.inf
    cross = means["e2d2"] - 2 * at * means["e2d"] + at * at * means["e2"]
    # Products, because a power that overflows raises.
    influence = means["e4"] - 2 * ratio * cross + ratio * ratio * _label_fourth(means)
    return _over_square(influence, spread)


def explained_influence(means: Mapping[str, float], ratio: float, label_spread: float, error_spread: float) -> float:
    """Variance of (ratio * w - u) / label spread, u = (e - mean e)², w = (label - mean label)²; infinite where it
    cannot be told. ``ratio`` is the error's variance over the label's."""
    if not all(math.isfinite(means[name]) for name in _OF_EXPLAINED):
        return math.inf
    a, b = means["d"], means["e"]
    if a * a > _FAR_CENTER * label_spread or b * b > _FAR_CENTER * error_spread:
        return math.inf
    error_fourth = means["e4"] - 4 * b * means["e3"] + 6 * b * b * means["e2"] - 3 * b * b * b * b
    both = (
        (means["e2d2"] - 2 * a * means["e2d"] + a * a * means["e2"])
        - 2 * b * (means["ed2"] - 2 * a * means["ed"] + a * a * b)
        + b * b * (means["d2"] - a * a)
    )
    influence = error_fourth - 2 * ratio * both + ratio * ratio * _label_fourth(means)
    return _over_square(influence, label_spread)


def _label_fourth(means: Mapping[str, float]) -> float:
    """Mean of (label - mean label)⁴."""
    a = means["d"]
    return means["d4"] - 4 * a * means["d3"] + 6 * a * a * means["d2"] - 3 * a * a * a * a


def _over_square(influence: float, spread: float) -> float:
    scale = spread * spread
    return max(0.0, influence) / scale if math.isfinite(influence) and scale > 0.0 else math.inf
