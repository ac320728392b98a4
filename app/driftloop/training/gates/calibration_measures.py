"""Measures of calibration of a holdout's predictions, each with its interval.

Binary: expected calibration error and Murphy's parts of the Brier score, of ten groups of about equally many rows by
score (:mod:`driftloop.performance.calibration` has sources and formulas); slope and intercept of the logistic
recalibration. Multiclass: the error of the largest probability (Guo et al., "On calibration of modern neural networks",
ICML 2017). Regression: mean residual, and slope of the labels on the predictions.

References: D. R. Cox, "Two further applications of a model for binary regression", Biometrika 45, 1958; B. Van Calster
et al., "Calibration: the Achilles heel of predictive analytics", BMC Medicine 17, 2019 (slope; intercept with the slope
held at 1: calibration in the large); J. Mincer, V. Zarnowitz, "The evaluation of economic forecasts", NBER, 1969; H.
White, "A heteroskedasticity-consistent covariance matrix estimator", Econometrica 48, 1980.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.calibration import brier_parts, calibration_error, calibration_groups
from driftloop.performance.intervals import normal_interval, z_value
from driftloop.performance.metrics import MetricValue
from driftloop.performance.score_table import ScoreTable

__all__ = [
    "Measured",
    "logistic_recalibration",
    "measure_binary",
    "measure_regression",
    "measure_top_label",
    "regression_deviations",
]

Floats = NDArray[np.float64]

#: Scores are kept this far from 0 and 1 before their logit is taken: one row must not carry the fit.
_CLIP: Final = 1e-6
_NEWTON_STEPS: Final = 50
_SMALLEST_STEP: Final = 1e-10


@dataclass(frozen=True)
class Measured:
    """A measure with limits and the value of a calibrated model. ``value`` None: undefined, and ``why``."""

    value: float | None
    low: float | None
    high: float | None
    ideal: float = 0.0
    why: str = ""


def measure_binary(scores: Floats, labels: NDArray[Any], confidence: float) -> dict[str, Measured]:
    """``ece``, the Brier score and its parts, ``slope`` and ``intercept`` of scores (n,) and labels 0 and 1 (n,)."""
    truth = np.asarray(labels, np.float64)
    groups = calibration_groups(_table(scores, truth))
    brier = float(np.mean((scores - truth) ** 2))
    parts = {"ece": calibration_error(groups, confidence), **brier_parts(groups, brier, confidence)}
    found = {name: Measured(value.value, value.low, value.high) for name, value in parts.items()}
    found["brier"] = Measured(brier, None, None)
    return {**found, **_recalibration(scores, truth, confidence)}


def measure_top_label(scores: Floats, labels: NDArray[Any], confidence: float) -> dict[str, Measured]:
    """``ece`` of the largest probability of each row (n, k) as that of being right."""
    right = (scores.argmax(axis=1) == labels).astype(np.float64)
    value: MetricValue = calibration_error(calibration_groups(_table(scores.max(axis=1), right)), confidence)
    return {"ece": Measured(value.value, value.low, value.high)}


def measure_regression(values: Floats, labels: Floats, confidence: float) -> dict[str, Measured]:
    """``bias`` (mean of prediction less label) and ``slope`` of the labels on the predictions, 1 if calibrated."""
    rows = len(labels)
    error = values - labels
    bias = float(error.mean())
    variance = float(error.var(ddof=1)) if rows > 1 else math.nan
    found = {"bias": Measured(bias, *normal_interval(bias, variance, rows, confidence))}
    centred = values - values.mean()
    squares = float(centred @ centred)
    if rows < 3 or squares <= 0.0 or not math.isfinite(squares):
        return {**found, "slope": Measured(None, None, None, 1.0, "all predictions are the same")}
    slope = float(centred @ labels) / squares
    residual = labels - labels.mean() - slope * centred
    # White's sandwich, with n / (n - 2) for the two fitted numbers (HC1).
    deviation = math.sqrt(float((centred * residual) @ (centred * residual)) * rows / (rows - 2)) / squares
    half = z_value(confidence) * deviation
    return {**found, "slope": Measured(slope, slope - half, slope + half, 1.0)}


def regression_deviations(metric: str, values: Floats, labels: Floats) -> Callable[[Floats], Floats]:
    """|bias| or |slope - 1| from (b, n) weights of the rows: (b,), NaN where all predictions are the same."""
    error = values - labels
    if metric == "bias":
        return lambda weights: np.abs((weights @ error) / weights.sum(axis=1))
    x, y = values - values.mean(), labels - labels.mean()  # against cancellation in the sums of squares
    columns = np.column_stack([x, y, x * y, x * x, np.ones(len(x))])

    def deviation(weights: Floats) -> Floats:
        sum_x, sum_y, sum_xy, sum_xx, rows = (weights @ columns).T
        spread = sum_xx - sum_x * sum_x / rows
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where(spread > 0.0, (sum_xy - sum_x * sum_y / rows) / spread, math.nan)
        return np.asarray(np.abs(slope - 1.0))

    return deviation


def _table(scores: Floats, truth: Floats) -> ScoreTable:
    distinct, place = np.unique(scores, return_inverse=True)
    rows = np.bincount(place, minlength=len(distinct))
    positives = np.bincount(place, weights=truth, minlength=len(distinct)).astype(np.int64)
    return ScoreTable(distinct, distinct, positives, rows - positives, exact=True)


def _recalibration(scores: Floats, truth: Floats, confidence: float) -> dict[str, Measured]:
    undefined = "one class only" if truth.min() == truth.max() else "the classes can be told apart completely"
    logit = _logits(scores)
    found = {}
    fits = {"slope": logistic_recalibration(logit, truth), "intercept": logistic_recalibration(logit, truth, slope=1.0)}
    for name, ideal in (("slope", 1.0), ("intercept", 0.0)):
        fit = fits[name]
        if fit is None:
            why = "all scores are the same" if name == "slope" and np.ptp(logit) == 0.0 else undefined
            found[name] = Measured(None, None, None, ideal, why)
            continue
        value, deviation = fit
        half = z_value(confidence) * deviation
        found[name] = Measured(value, value - half, value + half, ideal)
    return found


def _logits(scores: Floats) -> Floats:
    inside = np.clip(scores, _CLIP, 1.0 - _CLIP)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def logistic_recalibration(logit: Floats, truth: Floats, slope: float | None = None) -> tuple[float, float] | None:
    """Maximum likelihood of P(1) = 1 / (1 + exp(-(a + b logit))): b and its standard error; with ``slope`` held, a's.

    By Newton's method with halved steps; None if there is no maximum: one class only, or (for b) scores that tell the
    classes apart, ties included.
    """
    zeros, ones = logit[truth == 0.0], logit[truth == 1.0]
    if not len(zeros) or not len(ones):
        return None
    if slope is not None:
        columns, offset, scale = np.ones((len(logit), 1)), logit * slope, 1.0
    else:
        if zeros.max() <= ones.min() or ones.max() <= zeros.min():
            return None
        scale = float(logit.std())
        columns = np.column_stack([np.ones(len(logit)), (logit - logit.mean()) / scale])
        offset = np.zeros(len(logit))
    coefficients = np.zeros(columns.shape[1])
    loss = _loss(offset, truth)
    for _ in range(_NEWTON_STEPS):
        information, gradient = _derivatives(columns, offset + columns @ coefficients, truth)
        step = np.linalg.lstsq(information, gradient)[0]
        while np.abs(step).max() > _SMALLEST_STEP:
            tried = _loss(offset + columns @ (coefficients + step), truth)
            if tried <= loss:
                break
            step = step / 2.0
        else:
            break
        coefficients, loss = coefficients + step, tried
    information, _ = _derivatives(columns, offset + columns @ coefficients, truth)
    variance = float(np.linalg.pinv(information)[-1, -1])
    return float(coefficients[-1]) / scale, math.sqrt(max(variance, 0.0)) / scale


def _derivatives(columns: Floats, linear: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """Fisher's information and the gradient of the log-likelihood."""
    said = 1.0 / (1.0 + np.exp(-np.clip(linear, -700.0, 700.0)))
    return (columns * (said * (1.0 - said))[:, None]).T @ columns, columns.T @ (truth - said)


def _loss(linear: Floats, truth: Floats) -> float:
    return float(np.sum(np.logaddexp(0.0, linear) - truth * linear))
