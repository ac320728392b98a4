"""The sums that a task's metrics are computed from: which they are, and how rows get into them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.binary import BinarySums
from driftloop.performance.metrics import TASK_METRICS
from driftloop.performance.multiclass import MulticlassSums
from driftloop.performance.ranked_lists import RankedListSums
from driftloop.performance.regression import RegressionSums
from driftloop.spec.basics import Task
from driftloop.spec.model import ValueSpec

__all__ = ["MAX_REPORTED_CLASSES", "TaskSums", "add_rows", "confusion_of", "metric_names", "new_sums"]

TaskSums = BinarySums | RegressionSums | MulticlassSums | RankedListSums
#: Up to so many classes a report holds the confusion matrix itself.
MAX_REPORTED_CLASSES = 50


def new_sums(
    task: Task,
    *,
    classes: Sequence[str],
    decision_threshold: float,
    center: float,
    score_bins: int,
    exact_rows: int,
    cutoffs: Sequence[int],
    value: ValueSpec | None,
) -> tuple[TaskSums, tuple[Any, ...]]:
    """Empty sums of a task, and the settings that they were made with: only sums with the same ones merge.

    The parameters are those of :class:`~driftloop.performance.outcomes.OutcomeStats`, of which a task looks at its own
    alone. Raises ``ValueError`` for another task and for a setting that the sums refuse.
    """
    settings: tuple[Any, ...]
    if task == "binary":
        settings = (task, float(decision_threshold), score_bins)
        if exact_rows:
            settings += (f"exact_rows={exact_rows}",)
        if value is not None and value.column is not None:
            settings += (f"value={value.column}",)
        return BinarySums(float(decision_threshold), score_bins, exact_rows, value), settings
    if task == "regression":
        if not np.isfinite(center):
            raise ValueError(f"center must be a finite number, got {center!r}")
        return RegressionSums(float(center)), (task, float(center))
    if task == "multiclass":
        return MulticlassSums(len(classes)), (task, *classes)
    if task == "ranking":
        return RankedListSums(cutoffs), (task, *cutoffs)
    raise ValueError(f"task must be one of {', '.join(TASK_METRICS)}; got {task!r}")


def add_rows(
    sums: TaskSums,
    predictions: NDArray[np.float64] | Sequence[Sequence[str]],
    labels: NDArray[np.int64] | NDArray[np.float64] | Sequence[Mapping[str, float]],
    sign: int,
    weights: NDArray[np.float64] | None,
) -> None:
    """Add labeled predictions (``sign`` 1), or take them out again (-1). Shapes and errors: see
    :meth:`~driftloop.performance.outcomes.OutcomeStats.update`."""
    if isinstance(sums, RankedListSums):
        sums.update(predictions, labels, sign)  # type: ignore[arg-type]
    elif isinstance(sums, RegressionSums):
        sums.update(np.ascontiguousarray(predictions, np.float64), np.ascontiguousarray(labels, np.float64), sign)
    elif isinstance(sums, BinarySums):
        sums.update(
            np.ascontiguousarray(predictions, np.float64), np.ascontiguousarray(labels, np.int64), sign, weights
        )
    else:
        sums.update(np.ascontiguousarray(predictions, np.float64), np.ascontiguousarray(labels, np.int64), sign)


def metric_names(task: Task, sums: TaskSums) -> Iterable[str]:
    """Every metric that the sums give; those of ranked lists hang on the cutoffs."""
    return sums.names() if isinstance(sums, RankedListSums) else TASK_METRICS[task]


def confusion_of(sums: TaskSums) -> list[list[int]] | None:
    """Counts by truth (rows) and decision (columns); None without such a matrix, or with very many classes."""
    if isinstance(sums, BinarySums):
        return sums.matrix()
    if isinstance(sums, MulticlassSums) and sums.classes <= MAX_REPORTED_CLASSES:
        return sums.matrix()
    return None
