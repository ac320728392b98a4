"""Objects that a spec names by import path and parameters, nested as deep as needed.

A parameter ``{class: sklearn.decomposition.PCA, n_components: 2}`` is an object of that class; lists and mappings may
hold such parameters, so that ``sklearn.pipeline.Pipeline`` with its steps can be written in YAML.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

from driftloop.spec.problems import did_you_mean

__all__ = ["CLASS", "class_at", "constructed", "misfit", "parameter_names"]

#: The key that makes a mapping an object.
CLASS = "class"


def class_at(path: str, package: str, title: str) -> type:
    """The public class at an import path within ``package``, which people call ``title``. Raises ``ValueError`` that
    says what is wrong with it."""
    module_name, _, class_name = path.rpartition(".")
    if not module_name.startswith(f"{package}.") or any(part.startswith("_") for part in path.split(".")):
        raise ValueError(f"{path!r} is not allowed; name a public class of {title} ({package}.…)")
    try:
        module = importlib.import_module(module_name)
    except ImportError:
        modules = [name for _, name, _ in pkgutil.iter_modules(importlib.import_module(package).__path__)]
        known = [f"{package}.{name}" for name in modules if not name.startswith("_")]
        raise ValueError(f"{path!r} does not exist in this {title}{did_you_mean(module_name, known)}") from None
    try:
        found = getattr(module, class_name)
    except AttributeError:
        hint = did_you_mean(class_name, [name for name in dir(module) if not name.startswith("_")])
        raise ValueError(f"{path!r} does not exist in this {title}{hint}") from None
    if not isinstance(found, type):
        raise ValueError(f"{path!r} is not an estimator class")
    return found


def constructed(value: Any, find: Callable[[str], type]) -> Any:
    """The value with every mapping that has the key ``class`` replaced by the object that it describes.

    ``find`` gives the class of a path, or raises ``ValueError`` if it may not be used. Raises ``ValueError`` also for
    parameters that do not fit a class.
    """
    if isinstance(value, list):
        return [constructed(item, find) for item in value]
    if not isinstance(value, dict):
        return value
    parameters = {key: constructed(item, find) for key, item in value.items() if key != CLASS}
    path = value.get(CLASS)
    if path is None:
        return parameters
    if not isinstance(path, str):
        raise ValueError(f"expected an import path under {CLASS!r}, got {path!r}")
    found = find(path)
    try:
        return found(**parameters)
    except TypeError as error:
        raise ValueError(f"the parameters do not fit {path}: {misfit(found, parameters, error)}") from None


def parameter_names(found: type) -> list[str] | None:
    """The names that the class takes as parameters; None if it does not say, or takes any."""
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):  # a compiled class
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return [parameter.name for parameter in parameters]


def misfit(found: type, parameters: Mapping[str, Any], error: Exception) -> str:
    """Why the class cannot be made with these parameters: the one that it does not have, or else what it said."""
    known = parameter_names(found)
    for name in parameters:
        if known is not None and name not in known:
            return f"it has no {name!r}{did_you_mean(name, known) or '; it has ' + ', '.join(known)}"
    return str(error)
