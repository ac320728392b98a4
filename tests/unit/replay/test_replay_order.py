"""The order of steps hangs on the steps alone: parts of the partitions come as they come among all of them."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from driftloop.events.messages import SourceProgress
from driftloop.replay.order import in_time_order
from driftloop.replay.source import ReplayStep


def step(partition: int, time_ms: int, number: int) -> ReplayStep:
    progress = SourceProgress(
        source_partition=partition,
        predictions_offset=number,
        predictions_max_ms=time_ms,
        labels_offset=0,
        labels_max_ms=time_ms,
        restart_predictions_offset=0,
        restart_predictions_max_ms=0,
        restart_labels_offset=0,
        restart_labels_max_ms=0,
    )
    return ReplayStep(progress, [])


def sources(times: dict[int, list[int]], chosen: set[int]) -> dict[int, Iterator[ReplayStep]]:
    return {
        partition: iter([step(partition, time_ms, number) for number, time_ms in enumerate(given_times)])
        for partition, given_times in times.items()
        if partition in chosen
    }


def order(times: dict[int, list[int]], chosen: set[int]) -> list[tuple[int, int | None]]:
    return [
        (partition, None if found is None else found.progress.predictions_offset)
        for partition, found in in_time_order(sources(times, chosen))
    ]


TIMES = st.dictionaries(st.integers(0, 6), st.lists(st.integers(-(2**62), 100), max_size=8).map(sorted), max_size=6)


@given(TIMES, st.sets(st.integers(0, 6)))
def test_some_partitions_come_in_the_order_in_which_they_come_among_all(
    times: dict[int, list[int]], chosen: set[int]
) -> None:
    among_all = [item for item in order(times, set(times)) if item[0] in chosen]
    assert order(times, chosen) == among_all


@given(TIMES)
def test_every_step_comes_once_and_then_each_end(times: dict[int, list[int]]) -> None:
    found = order(times, set(times))
    for partition, own in times.items():
        assert [number for at, number in found if at == partition] == [*range(len(own)), None]


def test_the_partition_furthest_behind_is_next() -> None:
    assert order({0: [10, 30], 1: [20, 25]}, {0, 1}) == [(0, 0), (1, 0), (0, 1), (1, 1), (1, None), (0, None)]
