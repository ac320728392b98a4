"""Names of the realised metrics of each task, and which way is better.

The numbers come from ``driftloop.performance``; a spec may only name what that computes (a test compares the two).
"""

from __future__ import annotations

from driftloop.spec.model import Task

__all__ = ["ESTIMATED_METRICS", "TASK_METRICS"]

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
    },
    "multiclass": {"accuracy": 1, "log_loss": -1, "macro_f1": 1},
    "regression": {"mae": -1, "rmse": -1, "r2": 1, "bias": 0, "mean_label": 0},
}

#: Task -> metrics that are estimated before labels come and may have a rule with ``estimated``.
ESTIMATED_METRICS: dict[Task, tuple[str, ...]] = {
    "binary": ("roc_auc", "log_loss", "accuracy", "brier", "precision", "recall", "f1"),
    "multiclass": ("accuracy", "log_loss", "macro_f1"),
    "regression": ("mae", "rmse"),
}
