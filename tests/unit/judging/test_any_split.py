"""Any split of the events into partitions, batches and restarts gives the same windows."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import world
from support.core_world import logs_of, run

MOST_PARTITIONS = 6
DAYS, PER_DAY = 4, 60


@pytest.fixture(scope="module")
def events() -> list[world.Event]:
    return [*world.history(DAYS, PER_DAY, drift_from_day=2), *world.end_of_time(MOST_PARTITIONS, DAYS)]


def windows(events: list[world.Event], partitions: int, seed: int, restarts: int) -> dict[str, tuple[bytes, bytes]]:
    """By report id: the report, without where its rows were, and its statistics."""
    stored = run(logs_of(events, partitions), partitions, seed, restarts=restarts)
    return {
        report.report_id: (msgspec.json.encode(msgspec.structs.replace(report, sources=[], content_digest="")), stats)
        for report, stats in stored.judged.reports
        if report.status == "final"
    }


@pytest.fixture(scope="module")
def expected(events: list[world.Event]) -> dict[str, tuple[bytes, bytes]]:
    found = windows(events, 1, 0, 0)
    assert len(found) == DAYS * 2 * 3 + 1, "inputs and outcomes of all rows and two regions, and an empty day"
    return found


@settings(max_examples=15, deadline=None)
@given(partitions=st.integers(1, MOST_PARTITIONS), seed=st.integers(0, 2**32), restarts=st.integers(0, 5))
def test_any_split_gives_the_same_windows(
    events: list[world.Event], expected: dict[str, tuple[bytes, bytes]], partitions: int, seed: int, restarts: int
) -> None:
    assert windows(events, partitions, seed, restarts) == expected
