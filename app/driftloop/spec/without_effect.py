"""What is said about keys that are given and have no effect: an error where that can only be a mistake, else a warning.

A key may be kept for later, such as the settings of a shadow while promotion is automatic for now: then services start
as ever, and ``driftloop doctor`` says so. An error needs a value that the key does not have by itself, so that a spec
that was written out with its defaults can be read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from driftloop.spec.basics import is_default
from driftloop.spec.model import ModelSpec
from driftloop.spec.problems import KeyPath, key_text
from driftloop.spec.unused_keys import Unused, unused_keys

__all__ = ["spec_warnings", "useless_keys"]

Found = Iterator[tuple[KeyPath, str]]

#: What a key that is not given has; null, an empty list and an empty mapping ask for nothing either.
_NOTHING: tuple[Any, ...] = (None, [], {})


def useless_keys(spec: ModelSpec) -> Found:
    """Errors: keys that can have no effect and are set to something else than their defaults."""
    for unused in unused_keys(spec):
        if not unused.mistake:
            continue
        parent: Any = spec
        for part in unused.path[:-1]:
            parent = parent[part] if isinstance(part, int) else getattr(parent, part)
        name = str(unused.path[-1])
        if getattr(parent, name) not in _NOTHING and not is_default(parent, name):
            yield unused.path, f"it has no effect: {unused.why}; {unused.remedy}"


def spec_warnings(spec: ModelSpec, given: Mapping[str, Any]) -> Found:
    """Warnings about a spec without errors. ``given``: its keys and values as they were written."""
    told: list[KeyPath] = []
    found = list(unused_keys(spec))
    for unused in found:
        value = _at(given, unused.path)
        if value in _NOTHING or any(unused.path[: len(above)] == above for above in told):
            continue
        told.append(unused.path)
        if isinstance(value, dict) and _is_section(unused):
            names = [key for key, below in value.items() if key not in unused.beside and below not in _NOTHING]
            if names:
                have = "have" if len(names) > 1 else "has"
                yield unused.path, f"{', '.join(names)} {have} no effect: {unused.why}; {unused.remedy}"
            continue
        yield unused.path, f"it has no effect: {unused.why}; {unused.remedy}"
    if not spec.gates and all(unused.path != ("gates",) for unused in found):
        yield (
            ("gates",),
            "without a gate every challenger passes, however bad it is; list what it must pass, or leave the key out "
            "for the usual four gates",
        )


def _is_section(unused: Unused) -> bool:
    return key_text(unused.path) in ("policy", "quality", "shadow", "training", "training.validation")


def _at(given: Any, path: KeyPath) -> Any:
    for part in path:
        if isinstance(given, list) and isinstance(part, int) and part < len(given):
            given = given[part]
        elif isinstance(given, dict):
            given = given.get(part)
        else:
            return None
    return given
