"""Keeping the two topics of a source partition together in event time while a backlog is worked off.

What is read of one topic waits in memory for the other one: predictions for their labels, labels for their predictions.
Fetched by bytes, a backlog's small labels come some times faster than its predictions, and all of them would have to
wait. So the topic that is ahead by more than a bound is not fetched any further while the other one has records left.
What a window holds does not hang on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from faust.types import TP

__all__ = ["Alignment", "Position", "Side", "side_to_hold"]

Side = Literal["predictions", "labels"]


@dataclass(frozen=True)
class Position:
    """How far a source partition has been taken in: the next offset and the largest event time, of both topics."""

    partition: int
    predictions_offset: int
    predictions_max_ms: int
    labels_offset: int
    labels_max_ms: int


class Fetching(Protocol):
    """What is asked of Faust's consumer: its own back pressure, under which nothing that was fetched is dropped.
    Pausing a partition would drop it."""

    def on_buffer_full(self, tp: TP) -> None: ...

    def on_buffer_drop(self, tp: TP) -> None: ...


def side_to_hold(position: Position, *, predictions_left: bool, labels_left: bool, bound_ms: int) -> Side | None:
    """The topic that must wait, if one must. ``*_left``: whether more can be read of it now; a topic without holds
    nobody up.

    >>> behind = Position(0, 10, 1_000, 10, 9_000)
    >>> side_to_hold(behind, predictions_left=True, labels_left=True, bound_ms=5_000)
    'labels'
    >>> side_to_hold(behind, predictions_left=False, labels_left=True, bound_ms=5_000) is None
    True
    """
    ahead_ms = position.labels_max_ms - position.predictions_max_ms
    if ahead_ms > bound_ms and predictions_left:
        return "labels"
    if -ahead_ms > bound_ms and labels_left:
        return "predictions"
    return None


class Alignment:
    """Holds topics back and lets them go, whenever it is asked to look.

    ``end_offset``: a partition's next offset as known from the last fetch, None before. It need not be reached by any
    record (markers of transactions, compaction): a topic that has not moved for ``patience_s`` is at its end.
    """

    def __init__(
        self,
        predictions: str,
        labels: str,
        bound_ms: int,
        end_offset: Callable[[str, int], int | None],
        *,
        patience_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._predictions, self._labels = predictions, labels
        self._bound_ms = bound_ms
        self._end_offset = end_offset
        self._patience_s = patience_s
        self._clock = clock
        self._moved: dict[TP, tuple[int, float]] = {}  # offset, and since when it has been that
        self.held: set[TP] = set()

    def look(self, positions: Iterable[Position], fetching: Fetching) -> None:
        """``positions``: of all source partitions that are here now."""
        hold: set[TP] = set()
        for position in positions:
            predictions = TP(self._predictions, position.partition)
            labels = TP(self._labels, position.partition)
            side = side_to_hold(
                position,
                predictions_left=self._left(predictions, position.predictions_offset),
                labels_left=self._left(labels, position.labels_offset),
                bound_ms=self._bound_ms,
            )
            if side is not None:
                hold.add(labels if side == "labels" else predictions)
        for tp in self.held - hold:
            fetching.on_buffer_drop(tp)
        for tp in hold:
            # Every time: the stream's own queue lets go of everything when it has run low.
            fetching.on_buffer_full(tp)
        self.held = hold

    def _left(self, tp: TP, offset: int) -> bool:
        now_s = self._clock()
        known, since_s = self._moved.get(tp, (-1, now_s))
        if known != offset:
            since_s = now_s
        self._moved[tp] = (offset, since_s)
        end = self._end_offset(tp.topic, tp.partition)
        return end is not None and offset < end and now_s - since_s <= self._patience_s
