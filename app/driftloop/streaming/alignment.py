"""Keeping a worker's source partitions together in event time while a backlog is worked off.

What is read of one topic waits in memory for the other one: predictions for their labels, labels for their predictions.
What is read of one partition waits, as partials, in the assessor's memory for the others. And fetched by bytes,
a backlog's small labels come some times faster than its predictions. So whatever is ahead by more than a bound of what
is furthest behind is not fetched any further, while that has records left. What a window holds does not hang on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from faust.types import TP

__all__ = ["Alignment", "Position", "to_hold"]


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


def to_hold(event_times_ms: Mapping[TP, int], left: Collection[TP], bound_ms: int) -> set[TP]:
    """The topic partitions that must wait. ``event_times_ms``: the largest one taken in; ``left``: those of which more
    can be read now; others hold nobody up.

    >>> a, b = TP("predictions", 0), TP("labels", 0)
    >>> to_hold({a: 1_000, b: 9_000}, {a, b}, 5_000) == {b}
    True
    >>> to_hold({a: 1_000, b: 9_000}, {b}, 5_000)
    set()
    """
    if not left:
        return set()
    furthest_behind_ms = min(event_times_ms[tp] for tp in left)
    return {tp for tp, time_ms in event_times_ms.items() if time_ms - furthest_behind_ms > bound_ms}


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
        event_times_ms: dict[TP, int] = {}
        left: set[TP] = set()
        for position in positions:
            for topic, offset, max_ms in (
                (self._predictions, position.predictions_offset, position.predictions_max_ms),
                (self._labels, position.labels_offset, position.labels_max_ms),
            ):
                tp = TP(topic, position.partition)
                event_times_ms[tp] = max_ms
                if self._left(tp, offset):
                    left.add(tp)
        hold = to_hold(event_times_ms, left, self._bound_ms)
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
