"""Checks of a spec that need more than one key, or more than a type."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, get_args

from driftloop.events.time import parse_duration_ms
from driftloop.spec.metrics import TASK_METRICS
from driftloop.spec.model import (
    CategoricalMethodName,
    DriftMethod,
    ModelSpec,
    NumericMethodName,
    TriggerSpec,
)
from driftloop.spec.problems import KeyPath, did_you_mean
from driftloop.spec.references import MAX_REFERENCE_WINDOWS, reference_problems
from driftloop.spec.thresholds import ThresholdRule, threshold_problems

__all__ = ["semantic_problems"]

Found = Iterator[tuple[KeyPath, str]]

#: The largest value that the statistic can take, where there is one: a threshold above it would never decide.
_LARGEST_STATISTIC = {"ks": 1.0, "jensen_shannon": 1.0}
_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*[.:][A-Za-z_]\w*")


def semantic_problems(spec: ModelSpec) -> list[tuple[KeyPath, str]]:
    """Every problem of a spec whose types are right, with its key. Empty: the spec can be used."""
    checks: list[Callable[[ModelSpec], Found]] = [
        _durations,
        _features,
        _classes,
        _segments,
        _sliding,
        _drift,
        _references,
        _performance,
        _alerts,
        _policy,
        _training,
        _gates,
    ]
    return [problem for check in checks for problem in check(spec)]


def _durations(spec: ModelSpec) -> Found:
    yield from _duration(("window",), spec.window, positive=True)
    yield from _duration(("label_horizon",), spec.label_horizon, positive=True)
    yield from _duration(("allowed_lateness",), spec.allowed_lateness)
    yield from _duration(("late_retention",), spec.late_retention)
    yield from _duration(("policy", "cooldown"), spec.policy.cooldown)
    yield from _duration(("training", "last"), spec.training.last, positive=True)
    yield from _duration(("training", "time_limit"), spec.training.time_limit, positive=True)
    for index, trigger in enumerate(spec.policy.triggers):
        if trigger.every is not None:
            yield from _duration(("policy", "triggers", index, "every"), trigger.every, positive=True)


def _duration(path: KeyPath, text: str, *, positive: bool = False) -> Found:
    try:
        length_ms = parse_duration_ms(text)
    except ValueError as error:
        yield path, str(error)
        return
    if positive and length_ms <= 0:
        yield path, f"expected a duration longer than nothing, got {text!r}"


def _features(spec: ModelSpec) -> Found:
    for name in spec.features:
        if not name or len(name) > 128 or not name.isprintable():
            yield ("features", name), "expected a name of 1 to 128 printable characters"
        elif name.startswith("@"):
            yield ("features", name), f"names that begin with '@' are driftloop's own, got {name!r}; rename the feature"


def _classes(spec: ModelSpec) -> Found:
    if spec.task != "multiclass":
        if spec.classes:
            yield ("classes",), f"only a multiclass model has classes, and the task is {spec.task!r}; leave the key out"
        return
    if len(spec.classes) < 2:
        yield ("classes",), f"a multiclass model needs at least two classes, got {len(spec.classes)}"
    for index, name in _repeated(spec.classes):
        yield ("classes", index), f"the class {name!r} is listed twice"
    for index, name in enumerate(spec.classes):
        if not name:
            yield ("classes", index), "expected the name of a class, got an empty text"


def _segments(spec: ModelSpec) -> Found:
    for index, names in enumerate(spec.segments):
        pair = [names] if isinstance(names, str) else names
        if not isinstance(names, str) and (len(names) != 2 or names[0] == names[1]):
            yield ("segments", index), f"expected a feature or a pair of two features, got {names!r}"
            continue
        for name in pair:
            feature = spec.features.get(name)
            if feature is None:
                hint = did_you_mean(name, spec.features)
                yield ("segments", index), f"expected one of the model's categorical features, got {name!r}{hint}"
            elif feature.kind != "categorical":
                yield (
                    ("segments", index),
                    f"expected a categorical feature, and {name!r} is {feature.kind}; "
                    "add a categorical one made from it",
                )
    # A pair in the other order has the same segments.
    for index, name in _repeated([name if isinstance(name, str) else sorted(name) for name in spec.segments]):
        yield ("segments", index), f"the segment {name!r} is listed twice"


def _sliding(spec: ModelSpec) -> Found:
    for index, text in enumerate(spec.sliding):
        path: KeyPath = ("sliding", index)
        problems = list(_duration(path, text, positive=True))
        yield from problems
        if problems or list(_duration(("window",), spec.window, positive=True)):
            continue
        panes, rest = divmod(parse_duration_ms(text), spec.window_ms)
        if rest or not 2 <= panes <= MAX_REFERENCE_WINDOWS:
            times = f"2 to {MAX_REFERENCE_WINDOWS} times"
            yield path, f"expected a multiple of the window of {spec.window} ({times}), got {text!r}"
    for index, text in _repeated(spec.sliding):
        yield ("sliding", index), f"the sliding window {text!r} is listed twice"


def _references(spec: ModelSpec) -> Found:
    if list(_duration(("window",), spec.window, positive=True)):
        return
    for below, text in reference_problems(spec.drift.references, spec.window_ms):
        yield ("drift", "references", *below), text


def _drift(spec: ModelSpec) -> Found:
    if not 0.0 < spec.drift.significance < 1.0:
        yield ("drift", "significance"), f"expected a number between 0 and 1, got {spec.drift.significance:g}"
    yield from _methods(("drift", "numeric"), "numeric", spec.drift.numeric, get_args(NumericMethodName))
    yield from _methods(
        ("drift", "categorical"), "categorical", spec.drift.categorical, get_args(CategoricalMethodName)
    )


def _methods(path: KeyPath, kind: str, methods: list[DriftMethod], allowed: tuple[str, ...]) -> Found:
    for index, item in enumerate(methods):
        if item.method not in allowed:
            yield (
                (*path, index, "method"),
                f"expected a method for {kind} features ({', '.join(allowed)}), got {item.method!r}",
            )
        yield from _critical((*path, index, "critical"), item)
        if isinstance(item.threshold, ThresholdRule):
            for below, text in threshold_problems(item.threshold, critical=False):
                yield (*path, index, "threshold", *below), text
            continue
        if item.threshold is None:
            continue
        largest = _LARGEST_STATISTIC.get(item.method)
        if item.threshold <= 0.0:
            yield (*path, index, "threshold"), f"expected a number above 0 (or null), got {item.threshold:g}"
        elif largest is not None and item.threshold > largest:
            yield (
                (*path, index, "threshold"),
                f"{item.method} is never above {largest:g}, so {item.threshold:g} would never decide; lower it",
            )
    for index, name in _repeated([item.method for item in methods]):
        yield (*path, index, "method"), f"the method {name!r} is listed twice"


def _critical(path: KeyPath, item: DriftMethod) -> Found:
    if item.critical is None:
        return
    if item.threshold is None:
        yield path, "a method without threshold never decides, so it has no critical value; give it a threshold"
    elif isinstance(item.critical, ThresholdRule):
        for below, text in threshold_problems(item.critical, critical=True):
            yield (*path, *below), text
    elif isinstance(item.threshold, float) and item.critical < item.threshold:
        yield path, f"expected a number from the threshold of {item.threshold:g} on, got {item.critical:g}"
    elif item.critical <= 0.0:
        yield path, f"expected a number above 0, got {item.critical:g}"


def _metric(spec: ModelSpec, path: KeyPath, name: str) -> Found:
    directions = TASK_METRICS[spec.task]
    usable = [metric for metric, direction in directions.items() if direction]
    if name not in directions:
        hint = did_you_mean(name, usable)
        yield path, f"expected a metric of a {spec.task} model ({', '.join(usable)}), got {name!r}{hint}"
    elif not directions[name]:
        yield path, f"{name!r} is reported but is neither better high nor low; choose one of {', '.join(usable)}"


def _confidence(path: KeyPath, confidence: float) -> Found:
    if not 0.0 < confidence < 1.0:
        yield path, f"expected a number between 0 and 1, such as 0.95, got {confidence:g}"


def _performance(spec: ModelSpec) -> Found:
    rules = spec.performance.rules
    for index, rule in enumerate(rules):
        path: KeyPath = ("performance", "rules", index)
        yield from _metric(spec, (*path, "metric"), rule.metric)
        yield from _confidence((*path, "confidence"), rule.confidence)
        if rule.drop <= 0.0:
            yield (*path, "drop"), f"expected a number above 0 (how much worse counts), got {rule.drop:g}"
        if rule.critical is not None and rule.critical < rule.drop:
            yield (
                (*path, "critical"),
                f"expected a drop of at least {rule.drop:g}, the rule's own, got {rule.critical:g}",
            )
    for index, (metric, windows) in _repeated([(rule.metric, rule.windows) for rule in rules]):
        yield (
            ("performance", "rules", index),
            f"there is another rule for {metric!r} over {windows} window(s); keep one",
        )


def _alerts(spec: ModelSpec) -> Found:
    if spec.alerts.open_after > spec.alerts.open_within:
        yield (
            ("alerts", "open_after"),
            f"{spec.alerts.open_after} bad windows never fit into the last {spec.alerts.open_within}; "
            "raise alerts.open_within",
        )


def _policy(spec: ModelSpec) -> Found:
    triggers = spec.policy.triggers
    for index, trigger in enumerate(triggers):
        yield from _trigger(spec, ("policy", "triggers", index), trigger)
    for index, _ in _repeated(triggers):
        yield ("policy", "triggers", index), "the same trigger is listed twice"


def _trigger(spec: ModelSpec, path: KeyPath, trigger: TriggerSpec) -> Found:
    if trigger.on == "schedule" and trigger.every is None:
        yield (*path, "every"), "a schedule trigger needs 'every', such as every: 30d"
    if trigger.on != "schedule" and trigger.every is not None:
        yield (*path, "every"), f"only a schedule trigger has 'every', and this one is on {trigger.on!r}; leave it out"
    if trigger.on == "performance" and not spec.performance.rules:
        yield (*path, "on"), "a performance trigger needs a rule under performance.rules, and there is none"
    if trigger.on == "drift" and trigger.share <= 0.0:
        yield (*path, "share"), "expected a number above 0: with 0 every window would count"


def _training(spec: ModelSpec) -> Found:
    estimator = spec.training.estimator
    if estimator is not None and not _IMPORT_PATH.fullmatch(estimator):
        yield (
            ("training", "estimator"),
            f"expected an import path such as 'sklearn.ensemble.HistGradientBoostingClassifier', got {estimator!r}",
        )


def _gates(spec: ModelSpec) -> Found:
    for index, gate in enumerate(spec.gates):
        path: KeyPath = ("gates", index)
        if gate.gate == "metric" and gate.metric is not None:
            yield from _metric(spec, (*path, "metric"), gate.metric)
        elif gate.metric is not None:
            yield (*path, "metric"), f"only a gate of the kind 'metric' has a metric, and this is {gate.gate!r}"
        if gate.margin < 0.0:
            yield (*path, "margin"), f"expected a number from 0 on, got {gate.margin:g}"
        yield from _confidence((*path, "confidence"), gate.confidence)
    for index, _ in _repeated(spec.gates):
        yield ("gates", index), "the same gate is listed twice"


def _repeated(items: list[Any]) -> Iterator[tuple[int, Any]]:
    """The items that stand earlier in the list already, with their positions."""
    return ((index, item) for index, item in enumerate(items) if item in items[:index])
