"""What a training set must be like before a model is trained on it: the bounds of each check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, field

from driftloop.spec.problems import KeyPath, did_you_mean

if TYPE_CHECKING:
    from driftloop.spec.model import ModelSpec

__all__ = ["Bounds", "ValidationSpec", "validation_problems"]

#: Checks whose values are too low, and not too high, beyond their bounds.
LOWER_BOUNDS = ("rarest_class", "rows_per_class")
#: Checks whose values are not shares or correlations between 0 and 1.
_COUNTS = ("rows_per_class",)


class Bounds(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A value beyond ``warn`` is a warning, one beyond ``fail`` ends the run without a version; null: never."""

    warn: float | None = None
    fail: float | None = None


def _bounds(warn: float | None, fail: float | None) -> Bounds | None:
    return field(default_factory=lambda: Bounds(warn=warn, fail=fail))


class ValidationSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The checks of a training set. null switches one off, ``enabled: false`` all of them (a suite of expectations is
    still checked). What is given for a check replaces both of its default bounds.

    Shares of the rows: ``unreadable`` (they do not fit the spec), ``missing``, ``missing_increase`` (beyond the
    champion's reference), ``out_of_range`` (outside of the champion's reference), ``rule_violations`` (of the spec's
    minimum, maximum, pattern, categories; ``warn`` null: the feature's ``max_violations``), ``new_categories`` (not in
    the champion's reference), ``duplicates`` (all features and the label as in an earlier row),
    ``time_after_prediction`` (a feature that is a time, and later than the prediction). ``rarest_class`` is the least
    share of a class, ``rows_per_class`` the least number; ``label_shift`` the change of a binary base rate since the
    champion's reference. ``leakage`` is how well one feature alone tells the label (0: not at all, 1: always),
    ``label_delay`` how well it tells how long the label took (squared rank correlation). Features in
    ``known_in_advance`` are left out of these two and of ``time_after_prediction``. ``schema``: a feature without a
    single value fails if the champion's reference has values of it, and is a warning otherwise."""

    enabled: bool = True
    schema: bool = True
    unreadable: Bounds | None = _bounds(0.01, 0.2)
    missing: Bounds | None = _bounds(0.5, None)
    missing_increase: Bounds | None = _bounds(0.1, 0.5)
    out_of_range: Bounds | None = _bounds(0.1, None)
    rule_violations: Bounds | None = _bounds(None, 0.1)
    new_categories: Bounds | None = _bounds(0.1, None)
    rarest_class: Bounds | None = _bounds(0.01, None)
    rows_per_class: Bounds | None = _bounds(50, 10)
    label_shift: Bounds | None = _bounds(0.2, None)
    duplicates: Bounds | None = _bounds(0.2, 0.9)
    leakage: Bounds | None = _bounds(0.9, 0.99)
    time_after_prediction: Bounds | None = _bounds(0.01, 0.5)
    label_delay: Bounds | None = _bounds(0.95, None)
    known_in_advance: list[str] = field(default_factory=list)


def validation_problems(spec: ModelSpec) -> Iterator[tuple[KeyPath, str]]:
    """What is wrong with ``training.validation`` beyond its types."""
    rules, path = spec.training.validation, ("training", "validation")
    for item in msgspec.structs.fields(ValidationSpec):
        bounds = getattr(rules, item.name)
        if not isinstance(bounds, Bounds):
            continue
        for name in ("warn", "fail"):
            value = getattr(bounds, name)
            if value is None:
                continue
            if item.name in _COUNTS and value < 0:
                yield (*path, item.name, name), f"expected a number of rows from 0 on, got {value:g}"
            elif item.name not in _COUNTS and not 0.0 <= value <= 1.0:
                yield (*path, item.name, name), f"expected a number between 0 and 1, got {value:g}"
        if bounds.warn is not None and bounds.fail is not None:
            lower = item.name in LOWER_BOUNDS
            if bounds.warn < bounds.fail if lower else bounds.warn > bounds.fail:
                order = "at least" if lower else "at most"
                yield (
                    (*path, item.name, "warn"),
                    f"expected {order} the bound of fail, {bounds.fail:g}, got {bounds.warn:g}",
                )
    for index, name in enumerate(rules.known_in_advance):
        if name not in spec.features:
            hint = did_you_mean(name, spec.features)
            yield (*path, "known_in_advance", index), f"the spec has no feature {name!r}{hint}"
