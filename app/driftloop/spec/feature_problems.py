"""Checks of the keys ``features``, ``classes`` and ``segments`` of a spec."""

from __future__ import annotations

import re
from collections.abc import Iterator

from driftloop.spec.model import ModelSpec
from driftloop.spec.problems import KeyPath, did_you_mean, repeated

__all__ = ["feature_problems"]

Found = Iterator[tuple[KeyPath, str]]


def feature_problems(spec: ModelSpec) -> Found:
    """What is wrong with the names and rules of features, with the classes, and with the segments, each with its
    key."""
    yield from _names(spec)
    yield from _rules(spec)
    yield from _classes(spec)
    yield from _segments(spec)


def _names(spec: ModelSpec) -> Found:
    for name in spec.features:
        if not name or len(name) > 128 or not name.isprintable():
            yield ("features", name), "expected a name of 1 to 128 printable characters"
        elif name.startswith("@"):
            yield ("features", name), f"names that begin with '@' are driftloop's own, got {name!r}; rename the feature"


def _rules(spec: ModelSpec) -> Found:
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
            for index, text in repeated(feature.categories):
                yield (*path, "categories", index), f"the category {text!r} is listed twice"
        rules = (feature.minimum, feature.maximum, feature.pattern, feature.categories)
        if feature.max_violations and all(rule is None for rule in rules):
            yield (*path, "max_violations"), f"{name!r} has no minimum, maximum, pattern or categories to violate"


def _classes(spec: ModelSpec) -> Found:
    if spec.task != "multiclass":
        if spec.classes:
            yield ("classes",), f"only a multiclass model has classes, and the task is {spec.task!r}; leave the key out"
        return
    if len(spec.classes) < 2:
        yield ("classes",), f"a multiclass model needs at least two classes, got {len(spec.classes)}"
    for index, name in repeated(spec.classes):
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
    for index, name in repeated([name if isinstance(name, str) else sorted(name) for name in spec.segments]):
        yield ("segments", index), f"the segment {name!r} is listed twice"
