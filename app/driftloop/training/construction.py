"""Objects that a spec names by import path and parameters, nested as deep as needed.

A parameter ``{class: sklearn.decomposition.PCA, n_components: 2}`` is an object of that class; lists and mappings may
hold such parameters, so that ``sklearn.pipeline.Pipeline`` with its steps can be written in YAML.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

__all__ = ["CLASS", "class_at", "constructed"]

#: The key that makes a mapping an object.
CLASS = "class"


def class_at(path: str, package: str, title: str) -> type:
    """The public class at an import path within ``package``, which people call ``title``. Raises ``ValueError`` that
    says what is wrong with it."""
    module_name, _, class_name = path.rpartition(".")
    if not module_name.startswith(f"{package}.") or any(part.startswith("_") for part in path.split(".")):
        raise ValueError(f"{path!r} is not allowed; name a public class of {title} ({package}.…)")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError):
        raise ValueError(f"{path!r} does not exist in this {title}") from None
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
    try:
        return find(path)(**parameters)
    except TypeError as error:
        raise ValueError(f"the parameters do not fit {path}: {error}") from None
