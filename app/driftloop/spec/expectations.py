"""A suite of expectations in the JSON of Great Expectations, and what is wrong with it.

Both forms are read: that of 1.x (``name``, and ``type`` of each) and the older one (``expectation_suite_name``,
``expectation_type``). Everything that could not be checked as Great Expectations would check it is an error when the
spec is loaded: expectations and arguments that are not known, ``row_condition``, parameters (``$PARAMETER``), columns
that the data set does not have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import msgspec

from driftloop.spec.expectation_kinds import KINDS, TYPE_NAMES, Aggregate, Between, Exists, Kwargs, Quantiles
from driftloop.spec.model import ModelSpec
from driftloop.spec.problems import KeyPath, did_you_mean
from driftloop.spec.shape import find_problems

__all__ = ["Expectation", "Suite", "column_kinds", "expectation_problems", "parse_suite"]

Found = list[tuple[KeyPath, str]]
Severity = Literal["critical", "warning", "info"]

_SUITE_KEYS = (
    "name", "expectation_suite_name", "expectations", "meta", "id", "ge_cloud_id", "notes", "data_asset_type",
    "suite_parameters", "evaluation_parameters",
)  # fmt: skip
_ITEM_KEYS = (
    "type", "expectation_type", "kwargs", "meta", "id", "ge_cloud_id", "notes", "description", "severity",
    "rendered_content", "expectation_context", "success_on_last_run",
)  # fmt: skip
#: Arguments for Great Expectations' own machinery: they do not change whether an expectation holds.
_PASSED_OVER = ("batch_id", "result_format", "include_config", "catch_exceptions", "meta")
_NUMERIC_ONLY = ("sum", "quantile", "z_scores", "increasing", "decreasing", "greater")
_COUNTING = ("unique_value_count", "proportion_of", "value_lengths")


@dataclass(frozen=True)
class Expectation:
    """``given``: the arguments as they stand in the suite; ``severity`` other than critical: only warns."""

    type: str
    kwargs: Kwargs
    given: dict[str, Any]
    severity: Severity = "critical"
    meta: dict[str, Any] = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True)
class Suite:
    """A suite that can be checked."""

    name: str
    expectations: tuple[Expectation, ...]


def column_kinds(spec: ModelSpec) -> dict[str, str]:
    """Columns of a data set of the model, in their order: ``numeric``, ``text`` or ``list`` (of numbers)."""
    own = {
        "@prediction_id": "text",
        "@predicted_at_ms": "numeric",
        "@labeled_at_ms": "numeric",
        "@model_version": "text",
        "@label": "numeric",
        "@prediction": "list" if spec.task == "multiclass" else "numeric",
    }
    kinds = {"numeric": "numeric", "vector": "list"}
    return own | {name: kinds.get(feature.kind, "text") for name, feature in spec.features.items()}


def parse_suite(content: dict[str, Any]) -> tuple[Suite, Found]:
    """The suite, and everything that is wrong with it by itself (empty: it can be checked)."""
    found: Found = [
        ((key,), f"unknown key of a suite{did_you_mean(key, _SUITE_KEYS)}") for key in content if key not in _SUITE_KEYS
    ]
    for key in ("suite_parameters", "evaluation_parameters"):
        if content.get(key):
            found.append(((key,), "parameters of a suite are not supported: write their values into the suite"))
    name = content.get("name", content.get("expectation_suite_name", ""))
    if not isinstance(name, str) or not name:
        found.append((("name",), "expected the suite's name, a text"))
    items = content.get("expectations")
    if not isinstance(items, list) or not items:
        return Suite(str(name), ()), [*found, (("expectations",), "expected a list of one or more expectations")]
    expectations = []
    for index, item in enumerate(items):
        expectation, problems = _parse_item(item)
        found += [(("expectations", index, *path), text) for path, text in problems]
        if expectation is not None:
            expectations.append(expectation)
    return Suite(str(name), tuple(expectations)), found


def _parse_item(item: Any) -> tuple[Expectation | None, Found]:
    if not isinstance(item, dict):
        return None, [((), "expected a mapping with type and kwargs")]
    found: Found = [
        ((key,), f"unknown key of an expectation{did_you_mean(key, _ITEM_KEYS)}")
        for key in item
        if key not in _ITEM_KEYS
    ]
    kind = item.get("type", item.get("expectation_type"))
    if not isinstance(kind, str):
        return None, [*found, (("type",), "expected the name of an expectation, such as expect_column_to_exist")]
    if kind not in KINDS:
        hint = did_you_mean(kind, KINDS)
        return None, [*found, (("type",), f"driftloop cannot check {kind!r}{hint}; docs/training.md lists what it can")]
    severity: Any = item.get("severity") or "critical"
    if severity not in get_args(Severity):
        found.append((("severity",), f"expected one of critical, warning, info, got {severity!r}"))
    given = item.get("kwargs", {})
    if not isinstance(given, dict):
        return None, [*found, (("kwargs",), "expected a mapping of arguments to values")]
    known = {field.name for field in msgspec.structs.fields(KINDS[kind])}
    wanted = {}
    for key, value in given.items():
        if isinstance(value, dict) and "$PARAMETER" in value:
            found.append((("kwargs", key), "parameters ($PARAMETER) are not supported: write the value"))
        elif key in known and value is not None:
            wanted[key] = value
        elif key not in known and key not in _PASSED_OVER and value not in (None, False):
            hint = did_you_mean(key, known)
            takes = ", ".join(sorted(known))
            found.append((("kwargs", key), f"{kind} with {key!r} is not supported{hint or f'; it takes {takes}'}"))
    if found:
        return None, found
    found = [(("kwargs", *path), text) for path, text in find_problems(KINDS[kind], wanted, ())]
    if found:
        return None, found
    kwargs = msgspec.convert(wanted, KINDS[kind])
    meta = item.get("meta") or {}
    return Expectation(kind, kwargs, dict(given), severity, dict(meta), item.get("id")), _meaning(kwargs)


def _meaning(kwargs: Kwargs) -> Found:
    """What is wrong with arguments whose types are right."""
    found: Found = []
    low, high = getattr(kwargs, "min_value", None), getattr(kwargs, "max_value", None)
    if hasattr(kwargs, "min_value"):
        if low is None and high is None:
            found.append((("kwargs",), "expected min_value, max_value or both"))
        elif low is not None and high is not None and low > high:
            found.append((("kwargs", "min_value"), f"expected at most max_value, {high!r}, got {low!r}"))
    patterns = [getattr(kwargs, "regex", None), *getattr(kwargs, "regex_list", [])]
    for pattern in filter(None, patterns):
        try:
            re.compile(pattern)
        except re.error as error:
            found.append((("kwargs",), f"expected a regular expression of Python, got {pattern!r}: {error}"))
    for name in filter(None, [getattr(kwargs, "type_", None), *getattr(kwargs, "type_list", [])]):
        if name not in TYPE_NAMES:
            found.append((("kwargs",), f"expected types among {', '.join(TYPE_NAMES)}, got {name!r}"))
    if isinstance(kwargs, Quantiles):
        ranges = kwargs.quantile_ranges
        if len(ranges.quantiles) != len(ranges.value_ranges):
            found.append((("kwargs", "quantile_ranges"), "expected as many value_ranges as quantiles"))
        if sorted(ranges.quantiles) != ranges.quantiles:
            found.append((("kwargs", "quantile_ranges", "quantiles"), "expected quantiles in rising order"))
        if kwargs.allow_relative_error is True:
            found.append((("kwargs", "allow_relative_error"), "expected false or the name of an interpolation"))
    return found


def expectation_problems(spec: ModelSpec) -> Iterator[tuple[KeyPath, str]]:
    """What is wrong with ``training.expectations``, also for the columns of this model."""
    content, key = spec.training.expectations, ("training", "expectations")
    if content is None:
        return
    if isinstance(content, str):
        yield key, "expected the suite itself here; its path is read when the spec is loaded from a file"
        return
    suite, found = parse_suite(content)
    yield from (((*key, *path), text) for path, text in found)
    if found:
        return
    kinds = column_kinds(spec)
    for index, expectation in enumerate(suite.expectations):
        path: KeyPath = (*key, "expectations", index, "kwargs")
        yield from ((path, text) for text in _column_problems(expectation, kinds))


def _column_problems(expectation: Expectation, kinds: dict[str, str]) -> Iterator[str]:
    kwargs, kind = expectation.kwargs, expectation.type
    if isinstance(kwargs, Exists) or kind.startswith("expect_table"):
        return
    names = [getattr(kwargs, name) for name in ("column", "column_A", "column_B") if hasattr(kwargs, name)]
    names += getattr(kwargs, "column_list", [])
    for name in names:
        if name not in kinds:
            hint = did_you_mean(name, kinds)
            yield f"the data set has no column {name!r}{hint or '; it has ' + ', '.join(kinds)}"
        elif kinds[name] == "list" and "null" not in kind:
            yield f"{kind} cannot be checked for {name!r}, whose values are lists of numbers"
        elif kinds[name] == "text" and _needs_numbers(expectation):
            yield f"{kind} needs numbers, and the column {name!r} holds texts"


def _needs_numbers(expectation: Expectation) -> bool:
    kind = expectation.type
    if isinstance(expectation.kwargs, Between | Aggregate):
        return not any(word in kind for word in _COUNTING)
    return any(word in kind for word in _NUMERIC_ONLY)
