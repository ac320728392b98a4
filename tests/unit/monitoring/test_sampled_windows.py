"""Sampled rows through the whole monitor: batches, partitions and interleavings change no sample."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import pytest

from driftloop.events.batch import RecordBatch
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.source import SourceMonitor
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec import ModelSpec, parse_spec
from support import world

SPEC = parse_spec(
    world.SPEC.replace("drift:\n", "drift:\n  multivariate: {methods: [{method: mmd}], sample_rows: 60}\n")
)
PROFILE = world.reference_profile(SPEC)


class Catalog:
    def spec(self, model_id: str) -> ModelSpec | None:
        return SPEC if model_id == "credit" else None

    def profile(self, model_id: str, model_version: str) -> ReferenceProfile | None:
        return PROFILE if model_version == "v1" else None


@pytest.fixture(scope="module")
def events() -> list[world.Event]:
    return [*world.history(4, 150), *world.end_of_time(4, 4)]


def merged(events: Iterable[world.Event], partitions: int, size: int) -> dict[tuple[int, str], InputStats]:
    """Statistics of the final input windows by start and segment, merged over partitions."""
    logs: list[list[bytes | None]] = [[] for _ in range(partitions)]
    for _, topic, key, value in events:
        if topic == "predictions":
            logs[zlib.crc32(key.encode()) % partitions].append(value)
    found: dict[tuple[int, str], InputStats] = {}
    for partition, values in enumerate(logs):
        monitor = SourceMonitor(partition, Catalog(), Limits(), predictions_topic="predictions", labels_topic="labels")
        for start in range(0, len(values), size):
            stop = min(start + size, len(values))
            times = [world.START + 1000 * world.DAY] * (stop - start)
            keys: list[bytes | None] = [b""] * (stop - start)
            monitor.take_predictions(
                RecordBatch("predictions", partition, range(start, stop), times, keys, values[start:stop])  # type: ignore[arg-type]
            )
        for partial in monitor.take_partials():
            if partial.kind == "input" and partial.final and not partial.late:
                stats = InputStats.decode(bytes(partial.stats), PROFILE.for_segment(partial.segment))
                place = (partial.window_start_ms, partial.segment)
                if place in found:
                    found[place].merge(stats)
                else:
                    found[place] = stats
    return found


def test_batches_and_partitions_change_no_sample(events: list[world.Event]) -> None:
    expected = merged(events, 1, 1_000)
    whole = [stats for (_, segment), stats in expected.items() if not segment]
    assert len(whole) == 4
    assert all(stats.sample is not None and len(stats.sample) == 60 for stats in whole)
    assert all(stats.sample is None for (_, segment), stats in expected.items() if segment)
    for partitions, size in ((1, 7), (3, 40), (5, 1)):
        found = merged(events, partitions, size)
        assert {place: stats.encode() for place, stats in found.items()} == {
            place: stats.encode() for place, stats in expected.items()
        }


def test_the_sampled_rows_are_rows_of_the_window(events: list[world.Event]) -> None:
    for (_, segment), stats in merged(events, 2, 50).items():
        if not segment and stats.sample is not None:
            columns = stats.sample.columns()
            assert set(columns) == {"income", "age", "region"}
            assert set(columns["region"]) == {"north", "south"}
