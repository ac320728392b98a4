"""Checks of the methods under the key ``drift`` of a spec, with their thresholds."""

from __future__ import annotations

from collections.abc import Iterator

from driftloop.spec.methods import METHODS, method_names
from driftloop.spec.model import DriftMethod, ModelSpec
from driftloop.spec.problems import KeyPath, repeated
from driftloop.spec.thresholds import ThresholdRule, threshold_problems

__all__ = ["drift_problems"]

Found = Iterator[tuple[KeyPath, str]]


def drift_problems(spec: ModelSpec) -> Found:
    """What is wrong with the significance and the methods, each with its key."""
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
    for index, name in repeated([item.method for item in methods]):
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
