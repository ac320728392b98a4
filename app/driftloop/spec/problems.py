"""What is wrong with a spec: file, line, key, and a sentence; several at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["KeyPath", "Problem", "SpecError", "did_you_mean", "key_text", "repeated", "short"]

#: Where a value stands in the spec: mapping keys and list positions from the top.
KeyPath = tuple[str | int, ...]

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_@-]+")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. ``line`` counts from 1; ``key`` is as in ``drift.numeric[0].threshold``, ``""`` for the
    whole file."""

    source: str
    key: str
    line: int | None
    text: str

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}, line {self.line}"
        return f"{place}: {self.key}: {self.text}" if self.key else f"{place}: {self.text}"


class SpecError(ValueError):
    """A spec cannot be used. The message has one line for each of ``problems``."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def key_text(path: KeyPath) -> str:
    """The key as a person writes it.

    >>> key_text(("drift", "numeric", 0, "threshold"))
    'drift.numeric[0].threshold'
    >>> key_text(("features", "wind speed", "kind"))
    "features['wind speed'].kind"
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{part!r}]"
    return text


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """``", did you mean 'x'?"`` for the closest known name, or ``""`` if none is close.

    >>> did_you_mean("treshold", ["method", "threshold"])
    ", did you mean 'threshold'?"
    """
    matches = difflib.get_close_matches(str(given), list(known), n=1, cutoff=0.6)
    return f", did you mean {matches[0]!r}?" if matches else ""


def repeated(items: list[Any]) -> Iterator[tuple[int, Any]]:
    """The items that stand earlier in the list already, with their positions."""
    return ((index, item) for index, item in enumerate(items) if item in items[:index])


def short(value: object) -> str:
    """``repr`` of a value, at most 60 characters; mappings and lists by their kind."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
