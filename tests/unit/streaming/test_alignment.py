"""The topic of a source that is ahead in event time waits, as long as the other one has something to read."""

from __future__ import annotations

from faust.types import TP

from driftloop.events.time import NEVER_MS
from driftloop.streaming.alignment import Alignment, Position


class Fetching:
    """As Faust's consumer does it."""

    def __init__(self) -> None:
        self.stopped: set[TP] = set()

    def on_buffer_full(self, tp: TP) -> None:
        self.stopped.add(tp)

    def on_buffer_drop(self, tp: TP) -> None:
        self.stopped.discard(tp)


class Setup:
    def __init__(self, ends: dict[tuple[str, int], int | None]) -> None:
        self.now_s = 0.0
        self.ends = ends
        self.fetching = Fetching()
        self.alignment = Alignment(
            "p", "l", 100, lambda topic, at: self.ends.get((topic, at)), clock=lambda: self.now_s, patience_s=10
        )

    def look(self, *positions: Position) -> set[tuple[str, int]]:
        self.alignment.look(positions, self.fetching)
        return {(tp.topic, tp.partition) for tp in self.fetching.stopped}


def test_the_topic_ahead_waits_until_the_other_has_come_up() -> None:
    setup = Setup({("p", 0): 1_000, ("l", 0): 1_000})
    assert setup.look(Position(0, 10, 500, 10, 600)) == set()
    assert setup.look(Position(0, 10, 500, 20, 601)) == {("l", 0)}
    assert setup.look(Position(0, 20, 550, 20, 601)) == set()
    assert setup.look(Position(0, 30, 702, 20, 601)) == {("p", 0)}


def test_nobody_waits_for_a_topic_that_is_read_to_its_end() -> None:
    setup = Setup({("p", 0): 10, ("l", 0): 1_000})
    assert setup.look(Position(0, 10, 500, 10, 9_000)) == set()
    setup.ends["p", 0] = 11
    assert setup.look(Position(0, 10, 500, 10, 9_000)) == {("l", 0)}
    setup.ends["p", 0] = None
    assert setup.look(Position(0, 10, 500, 10, 9_000)) == set()


def test_labels_wait_for_the_first_predictions() -> None:
    setup = Setup({("p", 0): 10, ("l", 0): 1_000})
    assert setup.look(Position(0, 0, NEVER_MS, 10, 9_000)) == {("l", 0)}


def test_an_end_that_no_record_reaches_holds_nobody_up_for_long() -> None:
    """Markers of transactions take offsets: the end is above the last record's."""
    setup = Setup({("p", 0): 11, ("l", 0): 1_000})
    behind = Position(0, 10, 500, 10, 9_000)
    assert setup.look(behind) == {("l", 0)}
    setup.now_s = 9.0
    assert setup.look(behind) == {("l", 0)}
    setup.now_s = 11.0
    assert setup.look(behind) == set()
    assert setup.look(Position(0, 10, 500, 20, 9_500)) == set(), "labels that move change nothing"
    assert setup.look(Position(0, 11, 600, 20, 9_500)) == set()
    setup.ends["p", 0] = 20
    assert setup.look(Position(0, 12, 600, 20, 9_500)) == {("l", 0)}


def test_partitions_that_leave_are_let_go() -> None:
    setup = Setup({(topic, at): 1_000 for topic in ("p", "l") for at in (0, 1)})
    first, second = Position(0, 10, 500, 10, 9_000), Position(1, 10, 9_000, 10, 500)
    assert setup.look(first, second) == {("l", 0), ("p", 1)}
    assert setup.look(second) == {("p", 1)}


def test_a_partition_waits_for_the_others_too() -> None:
    setup = Setup({(topic, at): 1_000 for topic in ("p", "l") for at in (0, 1)})
    assert setup.look(Position(0, 10, 500, 10, 500), Position(1, 10, 601, 10, 600)) == {("p", 1)}
    setup.ends["p", 0] = setup.ends["l", 0] = 10
    assert setup.look(Position(0, 10, 500, 10, 500), Position(1, 10, 601, 10, 600)) == set()


def test_what_faust_lets_go_by_itself_is_held_again() -> None:
    setup = Setup({("p", 0): 1_000, ("l", 0): 1_000})
    behind = Position(0, 10, 500, 10, 9_000)
    setup.look(behind)
    setup.fetching.on_buffer_drop(TP("l", 0))
    assert setup.look(behind) == {("l", 0)}
