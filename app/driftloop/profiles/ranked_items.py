"""Predictions and labels of a ranking task as they come in events: item ids from the best on, and the relevant ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["Item", "RankedItems", "gains_by_item", "ranked_items", "top_item"]

#: An item id; integers are kept as text.
Item = Annotated[str, Meta(min_length=1, max_length=256)] | int


class RankedItems(msgspec.Struct, frozen=True):
    """Items from the best on, with their scores if they are known."""

    items: list[Item]
    scores: list[float] | None = None


def ranked_items(value: Sequence[str | int] | RankedItems) -> tuple[str, ...]:
    """Item ids from the best on, as texts. Raises ``msgspec.ValidationError`` if an id is there twice, or if scores are
    not as many as the items or rise from one item to the next."""
    given = value.items if isinstance(value, RankedItems) else value
    items = tuple(map(str, given))
    if len(set(items)) != len(items):
        twice = next(item for place, item in enumerate(items) if item in items[:place])
        raise msgspec.ValidationError(f"the item {twice!r} is in the ranked list twice")
    scores = value.scores if isinstance(value, RankedItems) else None
    if scores is not None:
        if len(scores) != len(items):
            raise msgspec.ValidationError(f"{len(items)} items have {len(scores)} scores; give one for each, or none")
        if any(second > first for first, second in pairwise(scores)):
            raise msgspec.ValidationError("the items must stand in the order of their scores, the highest first")
    return items


def gains_by_item(value: Sequence[str | int] | Mapping[str, float]) -> dict[str, float]:
    """Gain of each relevant item; 1 for each item of a plain list.

    >>> gains_by_item(["a", 7])
    {'a': 1.0, '7': 1.0}
    """
    if isinstance(value, Mapping):
        return {item: float(gain) for item, gain in value.items()}
    return dict.fromkeys(map(str, value), 1.0)


def top_item(value: object) -> str | None:
    """The first item of a decoded prediction; None of an empty list."""
    return str(value[0]) if isinstance(value, tuple) and value else None
