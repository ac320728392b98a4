"""Calibration of scores: expected calibration error and Murphy's decomposition of the Brier score.

Rows are put into ten groups of about equally many by score. Equal widths would leave a model of rare events with one
group. Within a group d is the mean score less the share of positives, and w its share of the rows.

References: A. H. Murphy, "A new vector partition of the probability score", J. Applied Meteorology 12, 1973; D. B.
Stephenson, C. A. S. Coelho, I. T. Jolliffe, "Two extra components in the Brier score decomposition", Weather and
Forecasting 23, 2008 (the within-group term); C. A. T. Ferro, T. E. Fricker, "A bias-corrected decomposition of the
Brier score", Q. J. R. Meteorological Society 138, 2012 (how far chance alone moves the terms); M. P. Naeini, G. F.
Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015 (the error, and
groups of equally many).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.intervals import wilson_interval, z_value
from driftloop.performance.metrics import MetricValue
from driftloop.performance.score_table import ScoreTable

__all__ = ["CALIBRATION_GROUPS", "CalibrationGroups", "brier_parts", "calibration_error", "calibration_groups"]

CALIBRATION_GROUPS: Final = 10

_MEAN_FOLDED_NORMAL: Final = 0.7978845608028654  # sqrt(2 / pi)


@dataclass(frozen=True)
class CalibrationGroups:
    """Groups of rows from low to high scores, all arrays of shape (m,), no group empty.

    ``mean_scores`` are right within ``slack``: a score of a histogram is known by its bin alone.
    """

    rows: NDArray[np.int64]
    positives: NDArray[np.int64]
    mean_scores: NDArray[np.float64]
    slack: NDArray[np.float64]


def calibration_groups(table: ScoreTable, groups: int = CALIBRATION_GROUPS) -> CalibrationGroups:
    """Groups of about equally many rows; rows of one score (or bin) stay together, where the middle of them falls."""
    counts = table.positives + table.negatives
    twice_middle = 2 * (counts.cumsum() - counts) + counts
    group = groups * twice_middle // (2 * table.rows)
    _, starts = np.unique(group, return_index=True)
    ends = [*starts[1:].tolist(), counts.size]
    centres, halves = 0.5 * (table.low + table.high), 0.5 * (table.high - table.low)
    rows = np.add.reduceat(counts, starts)
    sums = [math.fsum(part.tolist()) for part in _pieces(counts * centres, starts, ends)]
    slack = [math.fsum(part.tolist()) for part in _pieces(counts * halves, starts, ends)]
    return CalibrationGroups(
        rows, np.add.reduceat(table.positives, starts), np.array(sums) / rows, np.array(slack) / rows
    )


def _pieces(values: NDArray[np.float64], starts: NDArray[np.intp], ends: list[int]) -> list[NDArray[np.float64]]:
    return [values[start:end] for start, end in zip(starts.tolist(), ends, strict=True)]


def _chance(found: CalibrationGroups) -> NDArray[np.float64]:
    """Variance of each group's share of positives, from a share drawn towards 1/2 so that it is never 0."""
    share = (found.positives + 1.0) / (found.rows + 2.0)
    return share * (1.0 - share) / found.rows


def calibration_error(found: CalibrationGroups, confidence: float) -> MetricValue:
    """Expected calibration error: the sum of w |d|.

    Chance alone makes it larger, by sqrt(2 / pi) times the sum of w s at most, where s is the standard error of d (by
    the triangle inequality; that much for a calibrated model). The lower limit is moved down by it, so the interval
    holds the error of the model for calibrated and uncalibrated models alike, at more than its nominal confidence.
    """
    rows = int(found.rows.sum())
    weights = found.rows / rows
    value = math.fsum((weights * np.abs(found.mean_scores - found.positives / found.rows)).tolist())
    bound = math.fsum((weights * found.slack).tolist())
    chance = _chance(found)
    bias = _MEAN_FOLDED_NORMAL * math.fsum((weights * np.sqrt(chance)).tolist())
    half = z_value(confidence) * math.sqrt(math.fsum((weights * weights * chance).tolist()))
    if rows < 2:
        return MetricValue(value, None, None, rows, bound)
    return MetricValue(value, max(0.0, value - bias - half), min(1.0, value + half), rows, bound)


def brier_parts(found: CalibrationGroups, brier: float, confidence: float) -> dict[str, MetricValue]:
    """Brier score = reliability - resolution + uncertainty + within.

    reliability: sum of w d^2. resolution: sum of w (share of positives - overall share)^2. uncertainty: overall share x
    (1 - it). within: what is left, the variance of the scores within the groups less twice their covariance with the
    outcome. Values are Murphy's own; the limits take out what chance adds on average (Ferro and Fricker).
    """
    rows = int(found.rows.sum())
    weights = found.rows / rows
    shares = found.positives / found.rows
    overall = int(found.positives.sum()) / rows
    gaps = found.mean_scores - shares
    spread = shares - overall
    chance = _chance(found)
    reliability = math.fsum((weights * gaps * gaps).tolist())
    resolution = math.fsum((weights * spread * spread).tolist())
    uncertainty = overall * (1.0 - overall)
    slack = math.fsum((weights * (2.0 * np.abs(gaps) * found.slack + found.slack * found.slack)).tolist())
    bias = math.fsum((weights * chance).tolist())
    within = brier - (reliability - resolution + uncertainty)
    low, high = wilson_interval(overall, rows, confidence)
    at_limits = low * (1.0 - low), high * (1.0 - high)
    most = 0.25 if low <= 0.5 <= high else max(at_limits)
    return {
        "brier_reliability": _squares(reliability, gaps, weights, chance, bias, rows, confidence, slack),
        "brier_resolution": _squares(
            resolution, spread, weights, chance, bias - uncertainty / rows, rows, confidence, 0.0
        ),
        "brier_uncertainty": MetricValue(uncertainty, min(uncertainty, *at_limits), max(uncertainty, most), rows, 0.0),
        "brier_within": MetricValue(within, None, None, rows, slack),
    }


def _squares(
    value: float,
    distances: NDArray[np.float64],
    weights: NDArray[np.float64],
    chance: NDArray[np.float64],
    bias: float,
    rows: int,
    confidence: float,
    bound: float,
) -> MetricValue:
    """A weighted sum of squares of noisy distances, with an interval about the value less its bias."""
    if rows < 2:
        return MetricValue(value, None, None, rows, bound)
    variance = math.fsum((weights**2 * (4.0 * distances**2 * chance + 2.0 * chance * chance)).tolist())
    half = z_value(confidence) * math.sqrt(variance)
    return MetricValue(value, max(0.0, min(value, value - bias - half)), max(value, value - bias + half), rows, bound)
