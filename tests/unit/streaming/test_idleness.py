from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from test_monitor_state import FakeKafka, feed, service
from test_monitor_state import kafka as kafka  # the fixture

from driftloop.kafka.log_reader import LogReadError
from driftloop.streaming import monitor
from driftloop.streaming.idleness import Idleness

A, B = ("predictions", 0), ("labels", 1)


def test_a_partition_is_idle_when_it_was_looked_at_and_nothing_is_there() -> None:
    idleness = Idleness(60)
    idleness.seen(A, 0.0)
    idleness.seen(B, 50.0)
    assert idleness.to_look_at(60.0) == []
    assert idleness.to_look_at(61.0) == [A]
    assert not idleness.is_idle(A), "nobody has looked yet"
    idleness.found([A], {A}, 61.0)
    assert idleness.is_idle(A)
    assert idleness.to_look_at(100.0) == []
    idleness.seen(A, 101.0)
    assert not idleness.is_idle(A)


def test_one_with_records_that_wait_is_asked_for_again_later() -> None:
    idleness = Idleness(60)
    idleness.seen(A, 0.0)
    idleness.found([A], set(), 61.0)
    assert not idleness.is_idle(A)
    assert idleness.to_look_at(121.0) == []
    assert idleness.to_look_at(122.0) == [A]


def test_time_in_which_nothing_could_be_taken_does_not_count() -> None:
    idleness = Idleness(60)
    for at in (A, B):
        idleness.seen(at, 0.0)
    idleness.found([B], {B}, 61.0)
    idleness.not_served(90.0)
    assert idleness.to_look_at(150.0) == []
    assert idleness.is_idle(B)
    idleness.forget(1)
    assert not idleness.is_idle(B)
    assert idleness.to_look_at(1000.0) == [A]
    idleness.found([B], {B}, 1000.0)
    assert not idleness.is_idle(B), "it is another worker's by now"


@pytest.mark.parametrize("answer", ["all", "one", "none"])
def test_a_monitor_says_so_only_of_partitions_at_their_ends(
    kafka: FakeKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    asked: list[dict[tuple[str, int], int]] = []

    def at_their_ends(_: Any, offsets: dict[tuple[str, int], int]) -> set[tuple[str, int]]:
        asked.append(offsets)
        if answer == "none":
            raise LogReadError("the broker is away")
        return set(offsets) if answer == "all" else {("t.labels", 1)}

    monkeypatch.setattr(monitor, "at_their_ends", at_their_ends)

    async def scenario() -> None:
        worker = service(kafka, tmp_path, idle_timeout_ms=50)
        await worker.assign([0, 1])
        await feed(worker, kafka, "t.predictions", 0, 500)
        await feed(worker, kafka, "t.labels", 0, 250)
        await asyncio.sleep(0.06)
        await worker.publish()

    asyncio.run(scenario())
    assert asked[0] == {
        ("t.predictions", 0): 500,
        ("t.predictions", 1): 500,
        ("t.labels", 0): 250,
        ("t.labels", 1): 250,
    }
    said = kafka.progress()
    expected = {"all": (True, True), "one": (False, True), "none": (False, False)}[answer]
    assert (said[0].labels_idle, said[1].labels_idle) == expected
    assert said[0].predictions_idle is said[1].predictions_idle is (answer == "all")
