"""Checks of a spec that need more than one key, or more than a type."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from driftloop.events.time import parse_duration_ms
from driftloop.spec.concept import concept_problems
from driftloop.spec.drift_problems import drift_problems
from driftloop.spec.expectations import expectation_problems
from driftloop.spec.feature_problems import feature_problems
from driftloop.spec.gate_problems import gate_problems
from driftloop.spec.handover import handover_problems
from driftloop.spec.metrics import VALUE_METRICS
from driftloop.spec.model import ModelSpec
from driftloop.spec.multivariate import multivariate_problems
from driftloop.spec.performance_problems import confidence_problems, metric_problems, performance_problems
from driftloop.spec.problems import KeyPath, repeated
from driftloop.spec.references import MAX_REFERENCE_WINDOWS, reference_problems
from driftloop.spec.shadow import shadow_problems
from driftloop.spec.training_problems import training_problems
from driftloop.spec.triggers import policy_problems
from driftloop.spec.validation import validation_problems
from driftloop.spec.without_effect import useless_keys

__all__ = ["semantic_problems"]

Found = Iterator[tuple[KeyPath, str]]

_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*[.:][A-Za-z_]\w*")


def semantic_problems(spec: ModelSpec) -> list[tuple[KeyPath, str]]:
    """Every problem of a spec whose types are right, with its key. Empty: the spec can be used."""
    checks: list[Callable[[ModelSpec], Found]] = [
        _durations,
        feature_problems,
        _sliding,
        drift_problems,
        multivariate_problems,
        _references,
        performance_problems,
        _quality,
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


def _quality(spec: ModelSpec) -> Found:
    if not 0.0 < spec.quality.significance < 1.0:
        yield ("quality", "significance"), f"expected a number between 0 and 1, got {spec.quality.significance:g}"


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
    for index, _ in repeated(lengths):
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
            yield from metric_problems(spec, (*path, "metric"), gate.metric)
        yield from gate_problems(spec, path, gate)
        yield from confidence_problems((*path, "confidence"), gate.confidence)
    for index, _ in repeated(spec.gates):
        yield ("gates", index), "the same gate is listed twice"
