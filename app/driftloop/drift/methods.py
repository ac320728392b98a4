"""From a method's name to its function."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import cast

from driftloop.drift.pairs import CategoricalPair, NumericPair, Outcome
from driftloop.spec.methods import METHODS, method_names

__all__ = ["categorical_method", "numeric_method"]


@cache
def numeric_method(name: str) -> Callable[[NumericPair], Outcome]:
    """The function for numeric features. Raises ``ValueError`` if the method is none for them."""
    return cast("Callable[[NumericPair], Outcome]", _function(name, "numeric"))


@cache
def categorical_method(name: str) -> Callable[[CategoricalPair], Outcome]:
    """The function for categorical features. Raises ``ValueError`` if the method is none for them."""
    return cast("Callable[[CategoricalPair], Outcome]", _function(name, "categorical"))


def _function(name: str, kind: str) -> object:
    entry = METHODS.get(name)
    place = None if entry is None else entry.numeric if kind == "numeric" else entry.categorical
    if place is None:
        raise ValueError(f"{name!r} is no drift method for {kind} features; those are {', '.join(method_names(kind))}")
    module, function = place.split(":")
    return getattr(import_module(f"driftloop.drift.{module}"), function)
