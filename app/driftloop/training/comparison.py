"""Challenger against champion on the same rows: the difference of a metric, with a paired bootstrap interval.

Rows are resampled with replacement, the same ones for both models, and the metric is computed again from the integer
weights (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13: percentile interval). Every
metric is either the ROC AUC or a function of sums over rows, so a resample costs a matrix product and not a loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.confusion import CONFUSION_METRICS, Confusion
from driftloop.performance.pointwise import MEAN_METRICS, evaluate, row_values
from driftloop.spec.basics import Task
from driftloop.spec.metrics import direction_of, known_metrics

__all__ = ["DEFAULT_METRIC", "Comparison", "compare", "metric_value", "resampled"]

#: What models are compared by where the spec names no metric.
DEFAULT_METRIC: dict[Task, str] = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "mae"}

Floats = NDArray[np.float64]
#: (b, n) weights of the rows in each of b resamples to (b,) values of the metric, NaN where it is undefined.
_Metric = Callable[[Floats], Floats]

_MOST_RESAMPLES = 1000
_LEAST_RESAMPLES = 200
#: Draws in all; beyond 50,000 rows the number of resamples goes down, for the interval needs fewer then.
_DRAWS = 50_000_000
_BLOCK = 2_000_000


@dataclass(frozen=True)
class Comparison:
    """A metric of two models on the same ``rows``.

    ``difference`` is challenger less champion, with its sign turned if lower is better: positive means the challenger
    is better. ``low`` and ``high`` bound it; they are NaN, like the values, where the metric is undefined (one class).
    ``standard_error`` is the standard deviation of the difference over the resamples, NaN where there is no interval.
    """

    metric: str
    challenger: float
    champion: float
    difference: float
    low: float
    high: float
    rows: int
    standard_error: float = math.nan


def compare(
    task: Task,
    metric: str,
    labels: NDArray[Any],
    challenger: Floats,
    champion: Floats,
    *,
    seed: int,
    confidence: float = 0.95,
    decision_threshold: float = 0.5,
) -> Comparison:
    """Compare two models' predictions of the same rows.

    ``labels`` (n,): 0 or 1, class index, or float. Predictions (n,), or (n, k) probabilities for multiclass. ``seed``
    makes the interval repeatable. Raises ``ValueError`` for a metric that has no better direction.
    """
    direction = direction_of(task, metric) or 0
    if direction == 0:
        better = known_metrics(task, judged=True)
        raise ValueError(f"the metric {metric!r} of a {task} model has no better direction; compare one of {better}")
    first, second = (_metric(task, metric, labels, scores, decision_threshold) for scores in (challenger, champion))
    rows = len(labels)
    if rows == 0:
        return Comparison(metric, math.nan, math.nan, math.nan, math.nan, math.nan, 0)
    once = np.ones((1, rows))
    values = float(first(once)[0]), float(second(once)[0])
    draws = _LEAST_RESAMPLES * rows if isinstance(first, _ByRows) else _DRAWS
    differences = direction * resampled(rows, seed, draws, lambda weights: first(weights) - second(weights))
    defined = differences[np.isfinite(differences)]
    low = high = spread = math.nan
    # A metric that most resamples leave undefined has no interval worth the name.
    if len(defined) > len(differences) / 2 and math.isfinite(values[0]) and math.isfinite(values[1]):
        tail = (1.0 - confidence) / 2.0
        low, high = (float(value) for value in np.quantile(defined, [tail, 1.0 - tail]))
        spread = float(np.std(defined, ddof=1))
    return Comparison(metric, *values, direction * (values[0] - values[1]), low, high, rows, spread)


def metric_value(
    task: Task, metric: str, labels: NDArray[Any], predictions: Floats, decision_threshold: float = 0.5
) -> float:
    """One model's metric, exact; NaN where it is undefined."""
    if len(labels) == 0:
        return math.nan
    return float(_metric(task, metric, labels, predictions, decision_threshold)(np.ones((1, len(labels))))[0])


def resampled(rows: int, seed: int, draws: int, statistic: Callable[[Floats], Floats]) -> Floats:
    """``statistic`` of (b, rows) weights, for resamples of ``rows`` rows: (resamples,). About ``draws`` rows are drawn,
    in 200 to 1,000 resamples."""
    generator = np.random.default_rng(seed)
    resamples = int(np.clip(draws // rows, _LEAST_RESAMPLES, _MOST_RESAMPLES))
    block = max(1, _BLOCK // rows)
    parts = []
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        drawn = generator.integers(0, rows, size=(count, rows)) + rows * np.arange(count)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=count * rows).reshape(count, rows)
        parts.append(statistic(weights.astype(np.float64)))
    return np.concatenate(parts)


def _metric(task: Task, metric: str, labels: NDArray[Any], predictions: Floats, threshold: float) -> _Metric:
    if metric == "roc_auc":
        return _roc_auc(np.asarray(labels, np.float64), predictions)
    if metric == "gini":
        area = _roc_auc(np.asarray(labels, np.float64), predictions)
        return lambda weights: 2.0 * area(weights) - 1.0
    if metric in MEAN_METRICS[task] or metric in _BY_SUMS[task]:
        pass
    elif task in ("binary", "multiclass") and metric in CONFUSION_METRICS:
        return _by_confusion(metric, np.asarray(labels, np.int64), predictions, threshold)
    else:
        return _ByRows(task, metric, labels, predictions, threshold)
    terms: list[Floats]
    value: _Metric
    if metric in MEAN_METRICS[task]:
        terms, value = [row_values(task, metric, predictions, labels, threshold)], _mean
    elif task == "binary":
        terms, value = _binary(metric, np.asarray(labels, np.float64), predictions, threshold)
    elif task == "regression":
        terms, value = _regression(metric, np.asarray(labels, np.float64), predictions)
    else:
        terms, value = _multiclass(metric, np.asarray(labels, np.int64), predictions)
    columns = np.column_stack([*terms, np.ones(len(labels))])

    def weighted(weights: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return value(weights @ columns)

    return weighted


#: Metrics that are a function of a few sums over rows, beside those that are means.
_BY_SUMS: dict[Task, tuple[str, ...]] = {
    "binary": ("precision", "recall", "f1", "specificity"),
    "regression": ("rmse", "r2"),
    "multiclass": ("macro_f1",),
    "ranking": (),
}


def _by_confusion(metric: str, labels: NDArray[np.int64], predictions: Floats, threshold: float) -> _Metric:
    """A metric of the confusion matrix, which is a sum over rows for each cell."""
    if predictions.ndim == 2:
        classes, said = predictions.shape[1], predictions.argmax(axis=1)
    else:
        classes, said = 2, np.asarray(predictions >= threshold, np.int64)
    cells, place = np.unique(labels * classes + said, return_inverse=True)
    columns = np.eye(len(cells))[place]

    def value(weights: Floats) -> Floats:
        found = []
        for counts in np.rint(weights @ columns).astype(np.int64):
            matrix = np.zeros(classes * classes, np.int64)
            matrix[cells] = counts
            number = CONFUSION_METRICS[metric](Confusion(matrix.reshape(classes, classes)), 0.95).value
            found.append(math.nan if number is None else number)
        return np.array(found)

    return value


class _ByRows:
    """Any metric from weights that are whole numbers: each row as often as its weight says."""

    def __init__(self, task: Task, metric: str, labels: NDArray[Any], predictions: Floats, threshold: float) -> None:
        self._task: Task = task
        self._metric = metric
        self._labels = labels
        self._predictions = predictions
        self._threshold = threshold
        self._classes = [str(index) for index in range(predictions.shape[1])] if task == "multiclass" else []

    def __call__(self, weights: Floats) -> Floats:
        return np.array([self._once(np.repeat(np.arange(len(row)), row.astype(np.int64))) for row in weights])

    def _once(self, chosen: NDArray[np.int64]) -> float:
        found = evaluate(
            self._task,
            self._predictions[chosen],
            self._labels[chosen],
            self._classes,
            self._threshold,
            names=[self._metric],
        )[self._metric].value
        return math.nan if found is None else found


def _roc_auc(labels: Floats, scores: Floats) -> _Metric:
    """Area under the ROC curve from weights; ties count half (Mann and Whitney's U over the product of the counts)."""
    order = np.argsort(scores, kind="stable")
    ordered, positive = scores[order], labels[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))

    def value(weights: Floats) -> Floats:
        sorted_weights = weights[:, order]
        positives = np.add.reduceat(sorted_weights * positive, starts, axis=1)
        negatives = np.add.reduceat(sorted_weights, starts, axis=1) - positives
        below = np.cumsum(negatives, axis=1) - 0.5 * negatives
        pairs = positives.sum(axis=1) * negatives.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(pairs > 0, (positives * below).sum(axis=1) / pairs, math.nan))

    return value


def _binary(metric: str, labels: Floats, scores: Floats, threshold: float) -> tuple[list[Floats], _Metric]:
    said = (scores >= threshold).astype(np.float64)
    hits, false_alarms, misses = said * labels, said * (1.0 - labels), (1.0 - said) * labels
    if metric == "precision":
        return [hits, false_alarms], lambda sums: sums[:, 0] / (sums[:, 0] + sums[:, 1])
    if metric == "recall":
        return [hits, misses], lambda sums: sums[:, 0] / (sums[:, 0] + sums[:, 1])
    if metric == "specificity":
        right = (1.0 - said) * (1.0 - labels)
        return [right, false_alarms], lambda sums: sums[:, 0] / (sums[:, 0] + sums[:, 1])
    if metric == "f1":
        return [hits, false_alarms + misses], lambda sums: 2.0 * sums[:, 0] / (2.0 * sums[:, 0] + sums[:, 1])
    raise ValueError(f"no comparison for the metric {metric!r} of a binary model")


def _regression(metric: str, labels: Floats, values: Floats) -> tuple[list[Floats], _Metric]:
    error = values - labels
    if metric == "rmse":
        return [error**2], lambda sums: np.sqrt(_mean(sums))
    if metric == "r2":
        centred = labels - labels.mean() if len(labels) else labels  # against cancellation in the sums of squares

        def r2(sums: Floats) -> Floats:
            spread = sums[:, 2] - sums[:, 1] ** 2 / sums[:, -1]
            return np.asarray(np.where(spread > 0, 1.0 - sums[:, 0] / spread, math.nan))

        return [error**2, centred, centred**2], r2
    raise ValueError(f"no comparison for the metric {metric!r} of a regression model")


def _multiclass(metric: str, labels: NDArray[np.int64], scores: Floats) -> tuple[list[Floats], _Metric]:
    classes = scores.shape[1]
    said = scores.argmax(axis=1)
    if metric == "macro_f1":
        hit = [((said == c) & (labels == c)).astype(np.float64) for c in range(classes)]
        either = [(said == c).astype(np.float64) + (labels == c) for c in range(classes)]

        def macro_f1(sums: Floats) -> Floats:
            hits, seen = sums[:, :classes], sums[:, classes : 2 * classes]
            scored = np.where(seen > 0, 2.0 * hits / np.maximum(seen, 1.0), 0.0)
            # A class that is neither said nor true in these rows is no part of the mean, as in scikit-learn.
            return np.asarray(scored.sum(axis=1) / (seen > 0).sum(axis=1))

        return [*hit, *either], macro_f1
    raise ValueError(f"no comparison for the metric {metric!r} of a multiclass model")


def _mean(sums: Floats) -> Floats:
    return np.asarray(sums[:, 0] / sums[:, -1])
