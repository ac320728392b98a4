"""Checks of a spec that need more than one key, or more than a type."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from driftloop.events.time import parse_duration_ms
from driftloop.spec.concept import concept_problems
from driftloop.spec.expectations import expectation_problems
from driftloop.spec.gate_problems import gate_problems
from driftloop.spec.handover import handover_problems
from driftloop.spec.methods import METHODS, method_names
from driftloop.spec.metrics import (
    ESTIMATED_METRICS,
    FAIRNESS_METRICS,
    VALUE_METRICS,
    direction_of,
    known_metrics,
    metric_parameter,
)
from driftloop.spec.model import DriftMethod, ModelSpec, PerformanceRule
from driftloop.spec.multivariate import multivariate_problems
from driftloop.spec.problems import KeyPath, did_you_mean
from driftloop.spec.references import MAX_REFERENCE_WINDOWS, reference_problems
from driftloop.spec.shadow import shadow_problems
from driftloop.spec.thresholds import ThresholdRule, threshold_problems
from driftloop.spec.training_problems import training_problems
from driftloop.spec.triggers import policy_problems
from driftloop.spec.validation import validation_problems
from driftloop.spec.without_effect import useless_keys

__all__ = ["semantic_problems"]

Found = Iterator[tuple[KeyPath, str]]

#: They are part of the model's state, which is written with every window: about 5 MB.
_MOST_EXACT_ROWS_KEPT = 200_000

_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*[.:][A-Za-z_]\w*")


def semantic_problems(spec: ModelSpec) -> list[tuple[KeyPath, str]]:
    """Every problem of a spec whose types are right, with its key. Empty: the spec can be used."""
    checks: list[Callable[[ModelSpec], Found]] = [
        _durations,
        _features,
        _feature_rules,
        _classes,
        _segments,
        _sliding,
        _drift,
        multivariate_problems,
        _references,
        _performance,
        _quality,
        _value,
        _fairness,
        _ranking,
        _concept,
        _alerts,
        policy_problems,
        _training,
        training_problems,
        handover_problems,
        validation_problems,
        expectation_problems,
        _gates,
        shadow_problems,
        useless_keys,
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


def _feature_rules(spec: ModelSpec) -> Found:
    for name, feature in spec.features.items():
        path: KeyPath = ("features", name)
        of_numbers, of_texts = ("minimum", "maximum"), ("pattern", "categories")
        for rule in {"numeric": of_texts, "vector": of_numbers + of_texts}.get(feature.kind, of_numbers):
            if getattr(feature, rule) is not None:
                other = "numeric" if rule in of_numbers else "categorical"
                yield (*path, rule), f"{rule!r} is a rule for {other} features, and {name!r} is {feature.kind}"
        if feature.minimum is not None and feature.maximum is not None and feature.minimum > feature.maximum:
            yield (
                (*path, "minimum"),
                f"expected at most the maximum of {feature.maximum:g}, got {feature.minimum:g}; no value fits both",
            )
        if feature.pattern is not None:
            try:
                re.compile(feature.pattern)
            except re.error as error:
                yield (*path, "pattern"), f"expected a regular expression of Python, got {feature.pattern!r}: {error}"
        if feature.categories is not None:
            if not feature.categories:
                yield (*path, "categories"), "expected at least one allowed category, got an empty list"
            for index, text in _repeated(feature.categories):
                yield (*path, "categories", index), f"the category {text!r} is listed twice"
        rules = (feature.minimum, feature.maximum, feature.pattern, feature.categories)
        if feature.max_violations and all(rule is None for rule in rules):
            yield (*path, "max_violations"), f"{name!r} has no minimum, maximum, pattern or categories to violate"


def _quality(spec: ModelSpec) -> Found:
    if not 0.0 < spec.quality.significance < 1.0:
        yield ("quality", "significance"), f"expected a number between 0 and 1, got {spec.quality.significance:g}"


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
    lengths = [_length_ms(text) for text in spec.sliding]
    for index, _ in _repeated(lengths):
        if lengths[index] is not None:
            yield ("sliding", index), f"a sliding window as long as {spec.sliding[index]!r} is listed twice"


def _length_ms(text: str) -> int | None:
    try:
        return parse_duration_ms(text)
    except ValueError:
        return None  # said already


def _references(spec: ModelSpec) -> Found:
    if list(_duration(("window",), spec.window, positive=True)):
        return
    for below, text in reference_problems(spec.drift.references, spec.window_ms):
        yield ("drift", "references", *below), text


def _drift(spec: ModelSpec) -> Found:
    if not 0.0 < spec.drift.significance < 1.0:
        yield ("drift", "significance"), f"expected a number between 0 and 1, got {spec.drift.significance:g}"
    yield from _methods(("drift", "numeric"), "numeric", spec.drift.numeric)
    yield from _methods(("drift", "categorical"), "categorical", spec.drift.categorical)


def _methods(path: KeyPath, kind: str, methods: list[DriftMethod]) -> Found:
    allowed = method_names(kind)
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
        largest = METHODS[item.method].largest
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


def _metric(spec: ModelSpec, path: KeyPath, name: str, *, judged: bool = True) -> Found:
    """``judged``: the metric must be better high or better low."""
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
        if rule.estimated:
            yield from _estimated(spec, path, rule)
        if rule.critical is not None and rule.critical < rule.drop:
            yield (
                (*path, "critical"),
                f"expected a drop of at least {rule.drop:g}, the rule's own, got {rule.critical:g}",
            )
    for index, name in enumerate(spec.performance.metrics):
        yield from _metric(spec, ("performance", "metrics", index), name, judged=False)
    for index, name in _repeated(spec.performance.metrics):
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
    for index, (metric, windows, _) in _repeated([(rule.metric, rule.windows, rule.estimated) for rule in rules]):
        yield (
            ("performance", "rules", index),
            f"there is another rule for {metric!r} over {windows} window(s); keep one",
        )


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
        yield from _confidence((*path, "confidence"), fairness.confidence)
        for place, name in _repeated(list(fairness.metrics)):
            yield (*path, "metrics", place), f"the metric {name!r} is listed twice"
        for name, bound in fairness.bounds.items():
            if name not in fairness.metrics:
                hint = did_you_mean(name, fairness.metrics)
                yield (*path, "bounds", name), f"expected one of the metrics listed here, got {name!r}{hint}"
            elif not 0.0 < bound < 1.0:
                yield (*path, "bounds", name), f"expected a number between 0 and 1, got {bound:g}"
    for index, name in _repeated([fairness.column for fairness in spec.performance.fairness]):
        yield ("performance", "fairness", index), f"the column {name!r} is listed twice"


def _ranking(spec: ModelSpec) -> Found:
    for index, cutoff in _repeated(spec.performance.cutoffs):
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


def _concept(spec: ModelSpec) -> Found:
    try:
        window_ms = parse_duration_ms(spec.window)
    except ValueError:
        return  # said already
    yield from concept_problems(spec.concept, window_ms)


def _alerts(spec: ModelSpec) -> Found:
    if spec.alerts.open_after > spec.alerts.open_within:
        yield (
            ("alerts", "open_after"),
            f"{spec.alerts.open_after} bad windows never fit into the last {spec.alerts.open_within}; "
            "raise alerts.open_within",
        )


def _training(spec: ModelSpec) -> Found:
    if spec.training.since_change and not spec.concept.detectors:
        yield (
            ("training", "since_change"),
            "only a concept detector dates a change, and there is none under concept.detectors",
        )
    estimator = spec.training.estimator
    if estimator is not None and not _IMPORT_PATH.fullmatch(estimator):
        yield (
            ("training", "estimator"),
            f"expected an import path such as 'sklearn.ensemble.HistGradientBoostingClassifier', got {estimator!r}",
        )


def _gates(spec: ModelSpec) -> Found:
    for index, gate in enumerate(spec.gates):
        path: KeyPath = ("gates", index)
        if gate.gate in ("metric", "slices", "robustness") and gate.metric in VALUE_METRICS:
            yield (*path, "metric"), f"{gate.metric!r} is no metric of a gate: compare models by another one"
        elif gate.gate in ("metric", "slices", "robustness") and gate.metric is not None:
            yield from _metric(spec, (*path, "metric"), gate.metric)
        yield from gate_problems(spec, path, gate)
        yield from _confidence((*path, "confidence"), gate.confidence)
    for index, _ in _repeated(spec.gates):
        yield ("gates", index), "the same gate is listed twice"


def _repeated(items: list[Any]) -> Iterator[tuple[int, Any]]:
    """The items that stand earlier in the list already, with their positions."""
    return ((index, item) for index, item in enumerate(items) if item in items[:index])
