"""Bytes of any kind on the topic between monitors and assessor: a message, or a dead letter with its reason."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftloop.events.batch import RecordBatch
from driftloop.events.messages import PartialMessage, WindowPartial
from driftloop.monitoring.catalog import new_outcomes
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.source import SourceMonitor
from driftloop.performance.outcomes import OutcomeStats
from driftloop.profiles.inputs import InputStats
from driftloop.streaming.partials import MALFORMED_PARTIAL, readable_partials
from support import core_world, world
from support.fuzz import EXAMPLES, fuzzed

FUZZ = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PARTITIONS = 2


@cache
def written() -> tuple[bytes, ...]:
    """What two monitors write about some days."""
    logs = core_world.logs_of(world.history(days=4, per_day=60), PARTITIONS)
    records: list[bytes] = []
    for at in range(PARTITIONS):
        monitor = SourceMonitor(
            at, core_world.Catalog(), Limits(), predictions_topic="predictions", labels_topic="labels"
        )
        for topic, take in (("predictions", monitor.take_predictions), ("labels", monitor.take_labels)):
            values = logs[topic, at]
            record_times = [world.START + 1000 * world.DAY] * len(values)
            take(RecordBatch(topic, at, range(len(values)), record_times, [b""] * len(values), values))
        messages: list[PartialMessage] = [*monitor.take_partials(), monitor.progress()]
        records += map(msgspec.json.encode, messages)
    return tuple(records)


def batch_of(values: list[bytes | None]) -> RecordBatch:
    count = len(values)
    return RecordBatch("partials", 0, range(count), [0] * count, [b"k"] * count, values)


def test_written_records_are_all_read() -> None:
    messages, letters = readable_partials(batch_of(list(written())), PARTITIONS)
    assert len(messages) == len(written())
    assert letters == []


@given(seed=st.integers(0, 2**32))
@FUZZ
def test_damaged_partials_are_dead_letters_and_stop_no_other(seed: int) -> None:
    chance = random.Random(seed)
    bad = [fuzzed(chance.choice(written()), chance) for _ in range(8)]
    messages, letters = readable_partials(batch_of(bad), PARTITIONS)
    assert len(messages) + len(letters) == sum(value is not None for value in bad)
    for letter in letters:
        assert letter.code == MALFORMED_PARTIAL
        assert letter.message
        assert letter.value == bad[letter.offset]
    # What could be read goes into the windows; what forged numbers in it say is not told apart from true ones.
    assessor = core_world.Stored().assessor(PARTITIONS)
    assessor.take(messages)
    assert assessor.next_offset == (messages[-1][0] + 1 if messages else 0)


@given(seed=st.integers(0, 2**32))
@FUZZ
def test_damaged_statistics_are_refused_or_add_up(seed: int) -> None:
    chance = random.Random(seed)
    partials = [message for _, message in readable_partials(batch_of(list(written())), PARTITIONS)[0]]
    partial = chance.choice([message for message in partials if isinstance(message, WindowPartial)])
    data = fuzzed(bytes(partial.stats), chance) or b""
    spec, profile = core_world.SPEC, core_world.PROFILE.for_segment(partial.segment)
    decode: Any
    if partial.kind == "input":
        decode = lambda stats: InputStats.decode(stats, profile)  # noqa: E731
    else:
        like = new_outcomes(spec, core_world.PROFILE, partial.segment)
        decode = lambda stats: OutcomeStats.decode(stats, like)  # noqa: E731
    try:
        damaged = decode(data)
    except ValueError:
        return
    sound = decode(bytes(partial.stats))
    sound.merge(damaged)
    sound.encode()
