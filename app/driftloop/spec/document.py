"""YAML text to plain values, remembering on which line each key stands.

The core schema of YAML 1.2: only ``true`` and ``false`` are booleans (``on``, ``no`` and ``yes`` are texts), ``1e-3``
is a number, dates are texts. Duplicate keys, tags, several documents and numbers that are not finite are errors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import yaml

from driftloop.spec.problems import KeyPath, Problem, SpecError, key_text, short

__all__ = ["Document", "read_document"]

_MAXIMUM_NODES = 100_000
_MAXIMUM_DEPTH = 40
_TAG = "tag:yaml.org,2002:"


class _CoreLoader(yaml.SafeLoader):
    """SafeLoader whose plain scalars follow the core schema of YAML 1.2 (chapter 10.3.2 of the specification)."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  (PyYAML's own name; not shared with SafeLoader)


for _name, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (
        "float",
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+.0123456789"),
    ),
):
    _CoreLoader.add_implicit_resolver(_TAG + _name, re.compile(_pattern), _first)


def _integer(text: str) -> int:
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


_SCALARS: dict[str, Callable[[str], Any]] = {
    _TAG + "null": lambda text: None,
    _TAG + "bool": lambda text: text.lower() == "true",
    _TAG + "int": _integer,
    _TAG + "float": lambda text: float(text.replace(".inf", "inf").replace(".nan", "nan").lower()),
    _TAG + "str": lambda text: text,
}


class Document:
    """The plain value of a YAML text (``value``) and the line of every key in it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.value: Any = None
        self.problems: list[Problem] = []
        self._lines: dict[KeyPath, int] = {}
        self._nodes = 0

    def line(self, path: KeyPath) -> int | None:
        """The line of the key, or of the nearest key around it that the file has."""
        while path not in self._lines and path:
            path = path[:-1]
        return self._lines.get(path)

    def problem(self, path: KeyPath, text: str) -> Problem:
        """A problem at a key of this document."""
        return Problem(self.source, key_text(path), self.line(path), text)

    def build(self, node: yaml.Node, path: KeyPath, depth: int = 0) -> Any:
        """The plain value of a node; what is wrong in it goes to ``problems``."""
        self._nodes += 1
        if self._nodes > _MAXIMUM_NODES or depth > _MAXIMUM_DEPTH:
            raise SpecError([self.problem((), "too large or too deep for a spec; look for an alias inside itself")])
        self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.build(item, (*path, index), depth + 1) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
            try:
                value = _SCALARS[node.tag](node.value)
            except ValueError:
                self.problems.append(self.problem(path, f"cannot read {short(node.value)} as {node.tag[len(_TAG) :]}"))
                return None
            if isinstance(value, int) and abs(value) >= 2**63:
                self.problems.append(self.problem(path, f"expected an integer of at most 64 bits, got {short(value)}"))
                return None
            if isinstance(value, float) and not math.isfinite(value):
                self.problems.append(self.problem(path, f"expected a finite number, got {node.value}"))
                return None
            return value
        self.problems.append(self.problem(path, f"the YAML tag {node.tag} is not allowed here; write a plain value"))
        return None

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                line = key_node.start_mark.line + 1
                self.problems.append(Problem(self.source, key_text(path), line, "keys must be texts"))
                continue
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key in result:
                first = self._lines[(*path, key)]
                text = f"the key {key!r} is here twice (lines {first} and {line}); keep one"
                self.problems.append(Problem(self.source, key_text((*path, key)), line, text))
                continue
            self._lines[(*path, key)] = line
            result[key] = self.build(value_node, (*path, key), depth + 1)
        return result


def read_document(text: str, source: str) -> Document:
    """Parse YAML text. Raises :class:`SpecError` if it is no YAML, is empty, or holds a key twice."""
    document = Document(source)
    try:
        node = yaml.compose(text, Loader=_CoreLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(part for part in (error.context, error.problem) if part)
        line = None if mark is None else mark.line + 1
        raise SpecError([Problem(source, "", line, f"this is not YAML that can be read: {said}")]) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise SpecError([Problem(source, "", None, f"this is not YAML that can be read: {error}")]) from None
    if node is None:
        raise SpecError([Problem(source, "", None, "the spec is empty; it needs at least model, task and features")])
    document.value = document.build(node, ())
    if document.problems:
        raise SpecError(document.problems)
    return document
