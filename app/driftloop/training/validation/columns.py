"""Checks of each feature's values: is it there, how much is missing, is it in range, are its categories known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from driftloop.profiles.categorical import CategoricalReference
from driftloop.profiles.numeric import NumericReference
from driftloop.profiles.reference import ReferenceProfile
from driftloop.profiles.rules import RULES, RuleBook
from driftloop.spec.model import ModelSpec
from driftloop.spec.validation import Bounds
from driftloop.training.estimators import columns_of
from driftloop.training.validation.result import CheckResult, above

__all__ = ["category_checks", "missing_checks", "range_checks", "rule_checks", "schema_checks"]


def schema_checks(spec: ModelSpec, frame: pd.DataFrame, reference: ReferenceProfile | None) -> Iterator[CheckResult]:
    """A feature without one value: fails if the champion was trained on values of it, else a warning."""
    if not spec.training.validation.schema:
        return
    for name in spec.features:
        present = int(frame[name].notna().sum())
        if present or not len(frame):
            yield CheckResult(check="schema", column=name, value=float(present), sentence=f"{name!r} has values")
            continue
        known = None if reference is None else reference.features.get(name)
        had = known is not None and known.rows > 0
        told = (
            "though the champion's training data had values of it: is it still sent, and under this name?"
            if had
            else "so nothing can be learnt from it: is the name in the spec right?"
        )
        yield CheckResult(
            check="schema",
            column=name,
            value=0.0,
            bound=1.0,
            verdict="fail" if had else "warn",
            sentence=f"no row has a value of {name!r}, {told}",
        )


def missing_checks(spec: ModelSpec, frame: pd.DataFrame, reference: ReferenceProfile | None) -> Iterator[CheckResult]:
    """The share of missing values of each feature, and how much more that is than in the champion's reference."""
    rules = spec.training.validation
    for name in spec.features:
        share = float(frame[name].isna().mean()) if len(frame) else 0.0
        if rules.missing is not None:
            yield above("missing", share, rules.missing, f"{share:.1%} of the rows have no {name!r}", column=name)
        known = None if reference is None else reference.features.get(name)
        if rules.missing_increase is None or known is None or not known.rows + known.missing:
            continue
        before = known.missing / (known.rows + known.missing)
        yield above(
            "missing_increase",
            share - before,
            rules.missing_increase,
            f"{share:.1%} of the rows have no {name!r}, of the champion's training data {before:.1%}",
            column=name,
        )


def range_checks(spec: ModelSpec, frame: pd.DataFrame, reference: ReferenceProfile | None) -> Iterator[CheckResult]:
    """The share of values of each numeric feature outside of the champion's reference."""
    bounds = spec.training.validation.out_of_range
    if bounds is None or reference is None:
        return
    for name, feature in spec.features.items():
        known = reference.features.get(name)
        if feature.kind != "numeric" or not isinstance(known, NumericReference):
            continue
        low, high = known.minimum, known.maximum
        if low is None or high is None or not len(frame):
            continue
        values = frame[name].to_numpy(np.float64)
        share = float(((values < low) | (values > high)).mean())
        yield above(
            "out_of_range",
            share,
            bounds,
            f"{share:.1%} of the rows have {name!r} outside of {low:g} to {high:g}, the champion's training data",
            column=name,
        )


def rule_checks(spec: ModelSpec, frame: pd.DataFrame) -> Iterator[CheckResult]:
    """The share of rows that violate a rule of the spec: minimum, maximum, pattern, categories."""
    bounds = spec.training.validation.rule_violations
    book = RuleBook(spec)
    if bounds is None or not book or not len(frame):
        return
    found = book.violations(columns_of(spec, frame))
    for name, feature in spec.features.items():
        for rule in RULES:
            if getattr(feature, rule) is None:
                continue
            share = found.get((name, rule), 0) / len(frame)
            warn = feature.max_violations if bounds.warn is None else bounds.warn
            fail = None if bounds.fail is None else max(bounds.fail, warn)
            yield above(
                "rule_violations",
                share,
                Bounds(warn=warn, fail=fail),
                f"{share:.1%} of the rows violate the {rule} of {name!r}",
                column=name,
            )


def category_checks(spec: ModelSpec, frame: pd.DataFrame, reference: ReferenceProfile | None) -> Iterator[CheckResult]:
    """The share of rows whose category the champion's reference does not have."""
    bounds = spec.training.validation.new_categories
    if bounds is None or reference is None:
        return
    for name, feature in spec.features.items():
        known = reference.features.get(name)
        if feature.kind != "categorical" or not isinstance(known, CategoricalReference) or not len(frame):
            continue
        if known.other:
            yield CheckResult(
                check="new_categories",
                column=name,
                value=None,
                sentence=f"the champion's reference keeps {len(known.categories):,} categories of {name!r} and had "
                "more, so that new ones cannot be told",
            )
            continue
        counts = frame[name].value_counts()
        new = {str(value): int(rows) for value, rows in counts.items() if value not in known.categories}
        share = sum(new.values()) / len(frame)
        names = ", ".join(repr(value[:50]) for value in list(new)[:3])
        yield above(
            "new_categories",
            share,
            bounds,
            f"{share:.1%} of the rows have a {name!r} that the champion's training data did not have"
            f"{f', such as {names}' if new else ''}",
            column=name,
        )
