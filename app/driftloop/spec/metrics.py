"""Names of the realised metrics of each task, which way is better, and which of them a model's reports hold.

The numbers come from ``driftloop.performance``; a spec may only name what that computes (a test compares the two).
"""

from __future__ import annotations

import re
from typing import Final

from driftloop.spec.basics import Task
from driftloop.spec.model import ModelSpec

__all__ = [
    "DEFAULT_METRICS",
    "ESTIMATED_METRICS",
    "FAIRNESS_METRICS",
    "RANKED_METRICS",
    "TASK_METRICS",
    "VALUE_METRICS",
    "direction_of",
    "known_metrics",
    "metric_parameter",
    "reported_metrics",
]

#: Task -> metric -> +1 if higher is better, -1 if lower is better, 0 if neither.
TASK_METRICS: dict[Task, dict[str, int]] = {
    "binary": {
        "roc_auc": 1,
        "log_loss": -1,
        "accuracy": 1,
        "brier": -1,
        "precision": 1,
        "recall": 1,
        "f1": 1,
        "base_rate": 0,
        "mean_score": 0,
        "gini": 1,
        "average_precision": 1,
        "specificity": 1,
        "balanced_accuracy": 1,
        "mcc": 1,
        "cohen_kappa": 1,
        "ece": -1,
        "brier_reliability": -1,
        "brier_resolution": 1,
        "brier_uncertainty": 0,
        "brier_within": 0,
        "lift_10pct": 1,
    },
    "multiclass": {
        "accuracy": 1,
        "log_loss": -1,
        "macro_f1": 1,
        "balanced_accuracy": 1,
        "mcc": 1,
        "cohen_kappa": 1,
        "macro_precision": 1,
        "macro_recall": 1,
        "micro_precision": 1,
        "micro_recall": 1,
        "micro_f1": 1,
        "weighted_precision": 1,
        "weighted_recall": 1,
        "weighted_f1": 1,
        "macro_roc_auc": 1,
        "weighted_roc_auc": 1,
        "brier": -1,
        "ece": -1,
        "top_2_accuracy": 1,
    },
    "regression": {
        "mae": -1,
        "rmse": -1,
        "r2": 1,
        "bias": 0,
        "mean_label": 0,
        "mse": -1,
        "msle": -1,
        "mape": -1,
        "smape": -1,
        "explained_variance": 1,
        "median_absolute_error": -1,
        "max_error": -1,
    },
    "ranking": {"mrr": 1, "ndcg_10": 1, "map_10": 1, "precision_10": 1, "recall_10": 1, "hit_rate_10": 1},
}

#: Metrics of a binary task whose spec has ``performance.value``.
VALUE_METRICS: Final = {"value": 1, "mean_value": 1}

#: Metrics of a ranking task that have a cutoff: ``ndcg_10`` looks at the first ten items.
RANKED_METRICS: Final = ("ndcg", "map", "precision", "recall", "hit_rate")

#: Gaps between the groups of a segment column.
FAIRNESS_METRICS: Final = {
    "demographic_parity_difference": -1,
    "demographic_parity_ratio": 1,
    "equal_opportunity_difference": -1,
    "equalized_odds_difference": -1,
}

#: Task -> metrics that are estimated before labels come and may have a rule with ``estimated``.
ESTIMATED_METRICS: Final[dict[Task, tuple[str, ...]]] = {
    "binary": ("roc_auc", "log_loss", "accuracy", "brier", "precision", "recall", "f1"),
    "multiclass": ("accuracy", "log_loss", "macro_f1"),
    "regression": ("mae", "rmse"),
    "ranking": (),
}

#: What a report holds when the spec's ``performance.metrics`` says nothing, beside what rules name.
DEFAULT_METRICS: Final[dict[Task, tuple[str, ...]]] = {
    "binary": (
        "roc_auc",
        "average_precision",
        "log_loss",
        "accuracy",
        "brier",
        "ece",
        "precision",
        "recall",
        "f1",
        "mcc",
        "base_rate",
        "mean_score",
    ),
    "multiclass": (
        "accuracy",
        "balanced_accuracy",
        "log_loss",
        "macro_f1",
        "weighted_f1",
        "mcc",
        "macro_roc_auc",
        "brier",
        "ece",
    ),
    "regression": (
        "mae",
        "rmse",
        "r2",
        "bias",
        "mean_label",
        "median_absolute_error",
        "mape",
        "explained_variance",
    ),
    "ranking": ("mrr", "ndcg_10", "map_10", "precision_10", "recall_10", "hit_rate_10"),
}

_NUMBER = r"0?\.[0-9]{1,6}"
#: Task -> metrics with a parameter in their name: pattern, direction, and how the name is written.
_FAMILIES: Final[dict[Task, tuple[tuple[re.Pattern[str], int, str], ...]]] = {
    "binary": (),
    "multiclass": ((re.compile(r"(top)_([1-9][0-9]{0,3})_accuracy"), 1, "top_<k>_accuracy"),),
    "regression": (
        (re.compile(rf"(pinball)_({_NUMBER})"), -1, "pinball_<quantile>"),
        (re.compile(rf"(absolute_error)_({_NUMBER})"), -1, "absolute_error_<quantile>"),
        (re.compile(rf"(error)_({_NUMBER})"), 0, "error_<quantile>"),
    ),
    "ranking": tuple((re.compile(rf"({name})_([1-9][0-9]{{0,3}})"), 1, f"{name}_<k>") for name in RANKED_METRICS),
}


def metric_parameter(task: Task, metric: str) -> tuple[str, float] | None:
    """Family and parameter of a metric that has one in its name; None for any other.

    >>> metric_parameter("regression", "pinball_0.9"), metric_parameter("multiclass", "top_3_accuracy")
    (('pinball', 0.9), ('top', 3.0))
    """
    for pattern, _, _ in _FAMILIES[task]:
        match = pattern.fullmatch(metric)
        if match is not None and float(match[2]) > 0.0:
            return match[1], float(match[2])
    return None


def direction_of(task: Task, metric: str) -> int | None:
    """+1 if higher is better, -1 if lower, 0 if neither; None if the task has no such metric.

    >>> direction_of("binary", "brier"), direction_of("regression", "pinball_0.9"), direction_of("binary", "mae")
    (-1, -1, None)
    """
    known = TASK_METRICS[task].get(metric)
    if known is None and task == "binary":
        known = VALUE_METRICS.get(metric)
    if known is None and metric_parameter(task, metric) is not None:
        known = next(direction for pattern, direction, _ in _FAMILIES[task] if pattern.fullmatch(metric))
    return known


def known_metrics(task: Task, *, judged: bool = False) -> list[str]:
    """How the metrics of a task are written, with a place holder where there is a parameter. ``judged``: only those
    that are better high or better low."""
    fixed = {**TASK_METRICS[task], **(VALUE_METRICS if task == "binary" else {})}
    written = [*fixed.items(), *((text, direction) for _, direction, text in _FAMILIES[task])]
    return [name for name, direction in written if direction or not judged]


def reported_metrics(spec: ModelSpec) -> list[str]:
    """The metrics that a window's report holds: those that the spec lists, or the task's defaults, and what its rules
    name."""
    chosen: list[str] = list(spec.performance.metrics)
    if not chosen:
        chosen = list(DEFAULT_METRICS[spec.task])
        if spec.task == "ranking":
            chosen = ["mrr", *(f"{name}_{k}" for k in spec.performance.cutoffs for name in RANKED_METRICS)]
        elif spec.performance.value is not None:
            chosen += VALUE_METRICS
    return list(dict.fromkeys([*chosen, *(rule.metric for rule in spec.performance.rules)]))
