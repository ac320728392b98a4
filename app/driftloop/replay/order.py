"""One order of all partitions' steps, the same for any number of processes."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping

from driftloop.replay.source import ReplayStep

__all__ = ["in_time_order"]


def in_time_order(sources: Mapping[int, Iterator[ReplayStep]]) -> Iterator[tuple[int, ReplayStep | None]]:
    """Steps of all partitions, always of the one that is furthest behind in event time (of two, the lower number); None
    stands for a partition's end.

    What comes next hangs on the steps alone. So the steps of some of the partitions come in the order in which they
    come among those of all: a process that runs through some can run ahead of who puts all together, and neither ever
    waits for a step that the other one holds back.

    ``sources``: partition to its steps.
    """
    waiting = [(-(2**63), partition) for partition in sorted(sources)]
    while waiting:
        _, partition = heapq.heappop(waiting)
        step = next(sources[partition], None)
        if step is not None:
            heapq.heappush(waiting, (step.time_ms, partition))
        yield partition, step
