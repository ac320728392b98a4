"""Two JSON-able values compared part by part, floats by their bits."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

__all__ = ["ABSENT", "Difference", "differences", "same_bits"]

#: Stands for a part that one side does not have.
ABSENT = "(absent)"


class Difference(Struct, frozen=True, kw_only=True):
    """A part that is not the same: where it is (``gates.0.value``), and both values."""

    where: str
    recorded: Any
    found: Any


def same_bits(one: float, other: float) -> bool:
    """Equal to the last bit; any two NaN are the same, zeros of different sign are not.

    >>> same_bits(0.1 + 0.2, 0.3), same_bits(float("nan"), float("nan")), same_bits(0.0, -0.0)
    (False, True, False)
    """
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return struct.pack("<d", one) == struct.pack("<d", other)


def differences(recorded: Any, found: Any, where: str = "") -> list[Difference]:
    """Every part in which two values differ, in the order of the recorded one's keys.

    What JSON does not keep apart is the same here: a whole float and an integer, as long as they are equal.

    >>> differences({"a": 1.0, "b": [1, 2]}, {"a": 1, "b": [1, 3], "c": None})
    [Difference(where='b.1', recorded=2, found=3), Difference(where='c', recorded='(absent)', found=None)]
    """
    if isinstance(recorded, Mapping) and isinstance(found, Mapping):
        names = [*recorded, *(name for name in found if name not in recorded)]
        pairs = [(name, recorded.get(name, ABSENT), found.get(name, ABSENT)) for name in names]
    elif _is_list(recorded) and _is_list(found):
        size = max(len(recorded), len(found))
        pairs = [(at, _at(recorded, at), _at(found, at)) for at in range(size)]
    else:
        return [] if _same(recorded, found) else [Difference(where=where, recorded=recorded, found=found)]
    return [part for name, one, other in pairs for part in differences(one, other, _join(where, name))]


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _at(values: Sequence[Any], place: int) -> Any:
    return values[place] if place < len(values) else ABSENT


def _join(where: str, name: object) -> str:
    return f"{where}.{name}" if where else str(name)


def _same(one: Any, other: Any) -> bool:
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other)]
    if all(numbers):
        if isinstance(one, float) and isinstance(other, float):
            return same_bits(one, other)
        return bool(one == other)
    return type(one) is type(other) and bool(one == other)
