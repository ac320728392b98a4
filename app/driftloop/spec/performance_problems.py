"""Checks of the key ``performance`` of a spec, and of a metric that any key names."""

from __future__ import annotations

from collections.abc import Iterator

from driftloop.spec.metrics import (
    ESTIMATED_METRICS,
    FAIRNESS_METRICS,
    VALUE_METRICS,
    direction_of,
    known_metrics,
    metric_parameter,
)
from driftloop.spec.model import ModelSpec, PerformanceRule
from driftloop.spec.problems import KeyPath, did_you_mean, repeated

__all__ = ["confidence_problems", "metric_problems", "performance_problems"]

Found = Iterator[tuple[KeyPath, str]]

#: They are part of the model's state, which is written with every window: about 5 MB.
_MOST_EXACT_ROWS_KEPT = 200_000


def performance_problems(spec: ModelSpec) -> Found:
    """What is wrong with rules, metrics, values, fairness and the cutoffs of ranked lists, each with its key."""
    yield from _rules(spec)
    yield from _value(spec)
    yield from _fairness(spec)
    yield from _ranking(spec)


def metric_problems(spec: ModelSpec, path: KeyPath, name: str, *, judged: bool = True) -> Found:
    """Why the model cannot be judged by a metric. ``judged``: it must be better high or better low."""
    direction = direction_of(spec.task, name)
    usable = known_metrics(spec.task, judged=judged)
    if direction is None:
        hint = did_you_mean(name, usable)
        yield path, f"expected a metric of a {spec.task} model ({', '.join(usable)}), got {name!r}{hint}"
    elif judged and not direction:
        yield path, f"{name!r} is reported but is neither better high nor low; choose one of {', '.join(usable)}"
    elif name in VALUE_METRICS and spec.performance.value is None:
        yield path, f"{name!r} needs performance.value (what each outcome is worth), and there is none"
    elif spec.task == "ranking" and name != "mrr":
        parameter = metric_parameter("ranking", name)
        if parameter is not None and int(parameter[1]) not in spec.performance.cutoffs:
            yield path, f"{name!r} needs {int(parameter[1])} among performance.cutoffs ({spec.performance.cutoffs})"


def confidence_problems(path: KeyPath, confidence: float) -> Found:
    """Why a number is no level of confidence."""
    if not 0.0 < confidence < 1.0:
        yield path, f"expected a number between 0 and 1, such as 0.95, got {confidence:g}"


def _rules(spec: ModelSpec) -> Found:
    rules = spec.performance.rules
    for index, rule in enumerate(rules):
        path: KeyPath = ("performance", "rules", index)
        yield from metric_problems(spec, (*path, "metric"), rule.metric)
        yield from confidence_problems((*path, "confidence"), rule.confidence)
        if rule.drop <= 0.0:
            yield (*path, "drop"), f"expected a number above 0 (how much worse counts), got {rule.drop:g}"
        if rule.estimated:
            yield from _estimated(spec, path, rule)
        if rule.critical is not None and rule.critical < rule.drop:
            yield (
                (*path, "critical"),
                f"expected a drop of at least {rule.drop:g}, the rule's own, got {rule.critical:g}",
            )
    for index, name in enumerate(spec.performance.metrics):
        yield from metric_problems(spec, ("performance", "metrics", index), name, judged=False)
    for index, name in repeated(spec.performance.metrics):
        yield ("performance", "metrics", index), f"the metric {name!r} is listed twice"
    if spec.performance.exact_rows and spec.task != "binary":
        yield (
            ("performance", "exact_rows"),
            f"only a binary model keeps scores, and the task is {spec.task!r}; leave the key out",
        )
    before = max((rule.windows for rule in rules), default=1) - 1
    if spec.performance.exact_rows * before > _MOST_EXACT_ROWS_KEPT:
        yield (
            ("performance", "exact_rows"),
            f"the scores of the {before} windows before are kept for a rule over {before + 1} windows, at most "
            f"{_MOST_EXACT_ROWS_KEPT:,} together: at most {_MOST_EXACT_ROWS_KEPT // before} rows of each",
        )
    if spec.performance.estimate and spec.task == "ranking":
        yield ("performance", "estimate"), "nothing is estimated for a ranking model; leave the key out"
    for index, (metric, windows, _) in repeated([(rule.metric, rule.windows, rule.estimated) for rule in rules]):
        yield (
            ("performance", "rules", index),
            f"there is another rule for {metric!r} over {windows} window(s); keep one",
        )


def _estimated(spec: ModelSpec, path: KeyPath, rule: PerformanceRule) -> Found:
    known = ESTIMATED_METRICS[spec.task]
    if direction_of(spec.task, rule.metric) is not None and rule.metric not in known:
        yield (*path, "metric"), f"expected a metric that can be estimated ({', '.join(known)}), got {rule.metric!r}"
    if rule.windows != 1:
        yield (*path, "windows"), f"a rule on an estimate is over 1 window, got {rule.windows}; leave the key out"
    if spec.performance.estimate is False:
        yield (*path, "estimated"), "performance.estimate is false, so nothing is estimated; leave that key out"
    elif spec.task == "regression" and not spec.performance.estimate:
        yield (*path, "estimated"), "a regression needs performance.estimate: true (a loss model is fitted then)"


def _value(spec: ModelSpec) -> Found:
    value = spec.performance.value
    if value is None:
        return
    if spec.task != "binary":
        yield ("performance", "value"), f"only a binary model has a cost matrix, and the task is {spec.task!r}"
    if not (value.tp or value.fp or value.fn or value.tn):
        yield ("performance", "value"), "expected what at least one of tp, fp, fn and tn is worth; all are 0"
    if value.column is None:
        return
    feature = spec.features.get(value.column)
    path: KeyPath = ("performance", "value", "column")
    if feature is None:
        hint = did_you_mean(value.column, spec.features)
        yield path, f"expected one of the model's numeric features, got {value.column!r}{hint}"
    elif feature.kind != "numeric":
        yield path, f"expected a numeric feature, and {value.column!r} is {feature.kind}"


def _fairness(spec: ModelSpec) -> Found:
    for index, fairness in enumerate(spec.performance.fairness):
        path: KeyPath = ("performance", "fairness", index)
        if spec.task != "binary":
            yield path, f"gaps between groups are those of a binary model's decisions, and the task is {spec.task!r}"
        if fairness.column not in spec.segments:
            hint = did_you_mean(fairness.column, [name for name in spec.segments if isinstance(name, str)])
            yield (*path, "column"), f"expected one of the spec's segments, got {fairness.column!r}{hint}"
        if not fairness.metrics:
            yield (*path, "metrics"), f"expected at least one of {', '.join(FAIRNESS_METRICS)}"
        yield from confidence_problems((*path, "confidence"), fairness.confidence)
        for place, name in repeated(list(fairness.metrics)):
            yield (*path, "metrics", place), f"the metric {name!r} is listed twice"
        for name, bound in fairness.bounds.items():
            if name not in fairness.metrics:
                hint = did_you_mean(name, fairness.metrics)
                yield (*path, "bounds", name), f"expected one of the metrics listed here, got {name!r}{hint}"
            elif not 0.0 < bound < 1.0:
                yield (*path, "bounds", name), f"expected a number between 0 and 1, got {bound:g}"
    for index, name in repeated([fairness.column for fairness in spec.performance.fairness]):
        yield ("performance", "fairness", index), f"the column {name!r} is listed twice"


def _ranking(spec: ModelSpec) -> Found:
    for index, cutoff in repeated(spec.performance.cutoffs):
        yield ("performance", "cutoffs", index), f"the cutoff {cutoff} is listed twice"
    if spec.task != "ranking":
        return
    if spec.training.estimator is not None:
        yield ("training", "estimator"), "ranking models are watched but not trained here; leave the key out"
    if spec.policy.triggers:
        yield (
            ("policy", "triggers"),
            "ranking models are not trained here, so nothing can trigger it; leave the key out",
        )
