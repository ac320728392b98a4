"""One reason for which a replay differs from the live run, and the words for the windows that it is about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence, Sized
from dataclasses import dataclass
from typing import Literal, TypeVar

from driftloop.events.messages import Alert
from driftloop.events.reports import WindowReport
from driftloop.events.time import format_time

__all__ = ["Obstacle", "count_of", "grouped", "span_of", "told"]

ObstacleKind = Literal[
    "profile",
    "partitions",
    "retention",
    "topic",
    "spec",
    "repartitioned",
    "log",
    "settings",
    "registered",
    "approval",
    "idle",
    "evidence",
    "software",
]

KeyT = TypeVar("KeyT", bound=Hashable)
EventT = TypeVar("EventT")

#: With these no replay can be equal: it is not even tried.
_HOPELESS = frozenset({"profile", "partitions", "retention", "topic"})


@dataclass(frozen=True)
class Obstacle:
    """One reason for which a replay differs from the live run, or may.

    ``left_out``: the reports (by id) that it keeps from being compared while others can be.
    """

    kind: ObstacleKind
    sentence: str
    left_out: frozenset[str] = frozenset()

    @property
    def hopeless(self) -> bool:
        """Nothing can be compared."""
        return self.kind in _HOPELESS


def grouped(events: Iterable[EventT], key: Callable[[EventT], KeyT]) -> list[tuple[KeyT, list[EventT]]]:
    """In the order in which the keys come."""
    groups: dict[KeyT, list[EventT]] = defaultdict(list)
    for event in events:
        groups[key(event)].append(event)
    return list(groups.items())


def told(reports: list[WindowReport]) -> str:
    """``12 live reports (windows from 2013-02-01 to 2013-02-07)``."""
    unique = list({report.report_id: report for report in reports}.values())
    return f"{count_of(unique, 'live report')} (windows {span_of(unique)})"


def count_of(things: Sized, noun: str) -> str:
    return f"{len(things):,} {noun}{'' if len(things) == 1 else 's'}"


def span_of(events: Sequence[WindowReport] | Sequence[Alert]) -> str:
    first, last = min(event.window_start_ms for event in events), max(event.window_end_ms for event in events)
    return f"from {format_time(first)} to {format_time(last)}"
