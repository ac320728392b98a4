"""Checks of what is judged on samples of rows: vector and text features, methods over several features."""

from __future__ import annotations

from collections.abc import Iterator

from driftloop.spec.model import ModelSpec, MultivariateMethod
from driftloop.spec.problems import KeyPath

__all__ = ["MAX_SAMPLE_BYTES", "MAX_TEXT_BYTES", "derived_names", "multivariate_problems", "sample_bytes"]

Found = Iterator[tuple[KeyPath, str]]

#: A window's sample travels in one message beside the other statistics; a message has at most 2 MB.
MAX_SAMPLE_BYTES = 1_200_000

#: Bytes of a text (in UTF-8) that are kept in a sample.
MAX_TEXT_BYTES = 1_000

_NUMBER_BYTES = 20
_CATEGORY_BYTES = 16
_VECTOR_ITEM_BYTES = 16 / 3  # float32 in base64

_ALLOWED = {
    "methods": ("domain_classifier", "pca_reconstruction", "mmd", "correlation_change"),
    "vector": ("domain_classifier", "mmd", "centroid_shift"),
    "text": ("domain_classifier",),
}
#: Thresholds must be in these bounds (open below): the range of each effect.
_RANGES = {
    "domain_classifier": (0.5, 1.0),
    "mmd": (0.0, 1.41),
    "correlation_change": (0.0, 2.0),
    "pca_reconstruction": (0.0, None),
    "centroid_shift": (0.0, None),
}


def derived_names(name: str, kind: str) -> tuple[str, ...]:
    """Numeric columns that are made from a vector or text feature and judged like any numeric feature.

    >>> derived_names("comment", "text")
    ('comment#length', 'comment#unknown_words')
    """
    if kind == "vector":
        return (f"{name}#norm",)
    return (f"{name}#length", f"{name}#unknown_words") if kind == "text" else ()


def sample_bytes(spec: ModelSpec) -> int:
    """About how many bytes the sample of one window has on the wire."""
    row = 17.0
    for feature in spec.features.values():
        if feature.kind == "vector":
            row += (feature.length or 0) * _VECTOR_ITEM_BYTES + 4
        elif feature.kind == "text":
            row += MAX_TEXT_BYTES
        else:
            row += _NUMBER_BYTES if feature.kind == "numeric" else _CATEGORY_BYTES
    return round(row * spec.drift.multivariate.sample_rows)


def multivariate_problems(spec: ModelSpec) -> Found:
    """What is wrong with vector and text features and ``drift.multivariate``, with keys."""
    rules = spec.drift.multivariate
    for name, feature in spec.features.items():
        if feature.kind == "vector" and feature.length is None:
            yield ("features", name, "length"), "a vector feature needs its 'length', the number of its components"
        if feature.kind != "vector" and feature.length is not None:
            yield ("features", name, "length"), f"only a vector feature has a 'length', and this is {feature.kind}"
        for derived in derived_names(name, feature.kind):
            if derived in spec.features:
                yield ("features", derived), f"the name is taken by a column made from {name!r}; rename the feature"
    given: tuple[tuple[str, list[MultivariateMethod]], ...] = (
        ("methods", rules.methods),
        ("vector", rules.vector),
        ("text", rules.text),
    )
    for key, methods in given:
        yield from _methods(("drift", "multivariate", key), methods, _ALLOWED[key])
    plain = [name for name, feature in spec.features.items() if feature.kind in ("numeric", "categorical")]
    if rules.methods and len(plain) < 2:
        yield (
            ("drift", "multivariate", "methods"),
            f"these methods look at numeric and categorical features together, and there are {len(plain)}; "
            "vectors and texts are judged under 'vector' and 'text'",
        )
    sampled = bool(rules.methods) or len(plain) < len(spec.features)
    if sampled and sample_bytes(spec) > MAX_SAMPLE_BYTES:
        fitting = rules.sample_rows * MAX_SAMPLE_BYTES // sample_bytes(spec)
        yield (
            ("drift", "multivariate", "sample_rows"),
            f"{rules.sample_rows} rows of these features are about {sample_bytes(spec):,} bytes, more than the "
            f"{MAX_SAMPLE_BYTES:,} that fit into a message; at most {fitting} rows do",
        )


def _methods(path: KeyPath, methods: list[MultivariateMethod], allowed: tuple[str, ...]) -> Found:
    seen: set[str] = set()
    for index, item in enumerate(methods):
        if item.method not in allowed:
            yield (*path, index, "method"), f"expected one of {', '.join(allowed)} here, got {item.method!r}"
        if item.method in seen:
            yield (*path, index, "method"), f"the method {item.method!r} is listed twice"
        seen.add(item.method)
        low, high = _RANGES[item.method]
        if item.threshold is not None and (item.threshold <= low or (high is not None and item.threshold >= high)):
            upper = "" if high is None else f" and below {high:g}"
            yield (
                (*path, index, "threshold"),
                f"expected a number above {low:g}{upper} (or null), got {item.threshold:g}: {item.method} "
                "would always or never decide",
            )
