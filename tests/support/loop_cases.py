"""The models of the test of whole loops, each named after what it shows: when to retrain, and what holds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from support import loop_rows as rows
from support.loop_rows import Story

__all__ = ["POLICY_CASES", "Case", "case", "retrain_on"]

#: What every model has unless its case says otherwise. Gates and promotion are those that decide nothing here.
COMMON: dict[str, Any] = {
    "task": "binary",
    "features": {"x": {"kind": "numeric"}, "colour": {"kind": "categorical"}, "noise": {"kind": "numeric"}},
    "window": "1d",
    "label_horizon": "1h",
    "allowed_lateness": "10m",
    "minimum_rows": 30,
    "drift": {"numeric": [{"method": "wasserstein", "threshold": 0.5}]},
    "concept": {"detectors": []},
    "policy": {"cooldown": "30d", "minimum_labeled_rows": 10},
    "training": {"estimator": "sklearn.linear_model.LogisticRegression", "minimum_rows": 50, "holdout": 0.4},
    "gates": [{"gate": "sanity"}, {"gate": "loadable"}],
    "promotion": "manual",
}


@dataclass(frozen=True)
class Case:
    """A model: its spec as it is written, its history, and whether the first version has a model file."""

    name: str
    days: int
    spec: dict[str, Any]
    story: Story = rows.stable
    per_day: int = 100
    #: Features that the first version was fitted with; empty: it has no model file.
    fitted_with: list[str] = field(default_factory=list)


def case(
    name: str,
    days: int,
    story: Story = rows.stable,
    *,
    per_day: int = 100,
    fitted_with: list[str] | None = None,
    **spec: Any,
) -> Case:
    """Parts of the spec are added to what :data:`COMMON` has of them."""
    whole = {"model": name, **COMMON}
    for key, value in spec.items():
        both = isinstance(value, dict) and isinstance(whole.get(key), dict) and key != "features"
        whole[key] = {**whole[key], **value} if both else value
    return Case(name, days, whole, story, per_day, fitted_with or [])


def retrain_on(*triggers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"triggers": list(triggers), **more}


def deciding(name: str, days: int, story: Story, *triggers: dict[str, Any], per_day: int = 100, **more: Any) -> Case:
    """Only its commands count, so the trainings that follow are refused before they begin. What is no part of the spec
    of its own belongs to ``policy``."""
    own = {key: more.pop(key) for key in ("drift", "performance", "concept") if key in more}
    return case(
        name, days, story, per_day=per_day,
        policy=retrain_on(*triggers, **more), training={"minimum_rows": 500_000}, **own,
    )  # fmt: skip


DAILY = {"on": "schedule", "every": "1d"}
PERFORMANCE = {"metric": "roc_auc", "drop": 0.1}
ESTIMATED = {**PERFORMANCE, "estimated": True}
DETECTORS = {"detectors": [{"detector": "confidence_sequence"}, {"detector": "e_detector"}]}
CRITICAL_DRIFT = {"numeric": [{"method": "wasserstein", "threshold": 0.5}], "critical_times": 4}
ON_CRITICAL = {"on": "drift", "severity": "critical", "share": 0.1}
ON_ESTIMATES = {"on": "estimated_performance"}

TRIGGERS = [
    deciding(
        "performance-fires", 4, rows.labels_reversed(4), {"on": "performance"}, performance={"rules": [PERFORMANCE]}
    ),
    deciding("estimate-fires", 4, rows.scores_unsure(4), ON_ESTIMATES, performance={"rules": [ESTIMATED]}),
    deciding("drift-fires", 4, rows.shifted(2.0, 4), {"on": "drift", "share": 0.5}),
    deciding("drift-of-too-few", 4, rows.shifted(2.0, 4), {"on": "drift", "share": 0.9}),
    deciding("critical-fires", 4, rows.shifted(5.0, 4, noise=False), ON_CRITICAL, drift=CRITICAL_DRIFT),
    deciding("critical-not-yet", 4, rows.shifted(1.0, 4, noise=False), ON_CRITICAL, drift=CRITICAL_DRIFT),
    deciding("concept-fires", 4, rows.labels_reversed(4), {"on": "concept"}, concept=DETECTORS),
    deciding("every-fires", 3, rows.stable, {"on": "schedule", "every": "2d"}),
    # The world begins on a Monday; Thursday comes with the end of its third day.
    deciding("cron-fires", 4, rows.stable, {"on": "schedule", "cron": "0 0 * * thu", "last": "2d"}),
    deciding("volume-fires", 3, rows.stable, {"on": "volume", "rows": 150}),
    # A person asks for one, which is trained.
    case(
        "nothing-fires", 4,
        performance={"rules": [PERFORMANCE, ESTIMATED]},
        drift=CRITICAL_DRIFT,
        concept=DETECTORS,
        policy=retrain_on(
            {"on": "performance"}, ON_ESTIMATES, {"on": "drift"}, ON_CRITICAL, {"on": "concept"},
            {"on": "schedule", "every": "5d"}, {"on": "schedule", "cron": "0 0 * * sun"},
            {"on": "volume", "rows": 1000},
        ),
    ),
]  # fmt: skip

ON_FIFTH_DAY = {"on": "schedule", "every": "5d"}
#: One of the four judged columns is enough; the prediction is one of them.
ON_ANY_DRIFT = {"on": "drift", "share": 0.2}
FEW_LABELS = rows.labels_of_few_high_scores(5)

GUARDS = [
    deciding("cooldown", 4, rows.stable, DAILY, cooldown="3d"),
    deciding("at-most", 4, rows.stable, DAILY, cooldown="0d", at_most={"retrains": 1, "per": "3d"}),
    deciding("warm-up", 3, rows.stable, DAILY, warm_up=2),
    deciding("enough-rows", 2, rows.stable, DAILY, minimum_labeled_rows=150),
    deciding("broken-data", 5, rows.missing_then_shifted(4), ON_ANY_DRIFT),
    deciding(
        "broken-scores", 5, rows.missing_and_dull(4), {"on": "performance"}, ON_ESTIMATES,
        performance={"rules": [PERFORMANCE, ESTIMATED]},
    ),
    deciding("broken-data-unguarded", 4, rows.missing_then_shifted(4), ON_ANY_DRIFT, hold_on_broken_data=False),
    deciding("label-shift", 6, FEW_LABELS, ON_FIFTH_DAY, per_day=450),
    deciding("label-shift-unguarded", 5, FEW_LABELS, ON_FIFTH_DAY, per_day=450, hold_on_label_shift=False),
    case(
        "breaker", 2, policy=retrain_on(DAILY, cooldown="0d", breaker={"failures": 1}),
        gates=[{"gate": "metric", "mode": "superiority", "margin": 0.5}],
    ),
]  # fmt: skip

POLICY_CASES = [*TRIGGERS, *GUARDS]
