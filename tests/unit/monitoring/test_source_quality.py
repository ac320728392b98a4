"""Quality counters of a monitor: what they count, and that cutting, interleaving and crashes change no byte of them."""

from __future__ import annotations

import json
import random
from collections import Counter

import test_source_monitor as base
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop.profiles.inputs import InputStats
from driftloop.profiles.quality import QualityStats

SEEDS = st.integers(0, 2**32 - 1)


def quality(collected: base.Collected, start_hour: int = 0, *, late: bool = False) -> QualityStats:
    start_ms = base.T0 + start_hour * base.HOUR
    partial = collected.partials["v1", "input", "", start_ms, late]
    return InputStats.decode(bytes(partial.stats), base.PROFILE).quality


def broken_logs(seed: int, rows: int) -> tuple[list[bytes | None], list[bytes | None]]:
    """Predictions over some 30 hours in and out of order: unreadable ones, repeats, copies, extra keys."""
    chance = random.Random(seed)
    predictions: list[tuple[float, bytes | None]] = []
    for index in range(rows):
        hour = chance.uniform(0, 30)
        arrives = hour + chance.choice([0, 0, 0.5, 3, 20])
        changes: dict[str, object] = chance.choice(
            [
                {},
                {"features": {"x": "high", "c": "a"}},
                {"features": {"x": 1, "c": [2]}},
                {"features": [1]},
                {"prediction": 3},
                {"features": {"x": chance.randrange(3), "c": "b", "extra": 1}},
                {"features": {"c": "a"}},
            ]
        )
        value = base.prediction(f"id{index}", hour, chance.randrange(40), **changes)
        predictions += [(arrives, value)] * chance.choice([1, 1, 2])
    predictions.sort(key=lambda event: event[0])
    predictions.append((60, base.prediction("end", 60)))
    return [value for _, value in predictions], [base.label("nobody", 60)]


@given(SEEDS, st.integers(1, 80), SEEDS)
@settings(max_examples=60, deadline=None)
def test_batches_interleaving_and_crashes_change_no_counter(log_seed: int, rows: int, seed: int) -> None:
    both = broken_logs(log_seed, rows)
    whole = base.content(base.run(*both))
    assert base.content(base.run(*both, seed=seed)) == whole
    assert base.content(base.run(*both, seed=seed, restarts=4)) == whole


@given(SEEDS, st.integers(1, 80))
@settings(max_examples=30, deadline=None)
def test_every_unreadable_record_counts_in_its_window_and_lane(log_seed: int, rows: int) -> None:
    """A plain loop over the log: late after the window's end, in no window 12 hours (horizon, retention, window) on."""
    both = broken_logs(log_seed, rows)
    collected = base.run(*both)
    expected: Counter[tuple[int, bool]] = Counter()
    newest = -(2**62)
    for offset, value in enumerate(both[0]):
        time = json.loads(value or b"")["event_time_ms"]
        end, watermark = time - time % (4 * base.HOUR) + 4 * base.HOUR, newest - base.HOUR
        if collected.dead.get(("p", offset)) != "invalid_event":
            newest = max(newest, time)
        elif watermark < end + 12 * base.HOUR:
            expected[end - 4 * base.HOUR, end <= watermark] += 1
    counted = {
        (start, late): InputStats.decode(bytes(partial.stats), base.PROFILE).quality.refused_records
        for (_, kind, segment, start, late), partial in collected.partials.items()
        if kind == "input" and segment == ""
    }
    assert {key: records for key, records in counted.items() if records} == expected


def test_what_is_counted_of_one_window() -> None:
    good = base.prediction("a", 1, 5.0)
    records = [
        good,
        good,
        base.prediction("b", 1.5, 5.0),
        base.prediction("c", 1.2, features={"x": "high"}),
        base.prediction("d", 1.2, features={"c": [1]}),
        base.prediction("e", 1.2, prediction=1.5),
        base.prediction("f", 1.2, features="none"),
        base.prediction("end", 40),
    ]
    found = quality(base.run(records, [base.label("end", 60)]))
    assert found.refused == {
        "@features": {"got str": 1},
        "@prediction": {"out of range": 1},
        "c": {"got array": 1},
        "x": {"got str": 1},
    }
    assert (found.repeated_ids, found.hashed_rows, found.distinct.distinct()) == (1, 2, 1.0)


def test_a_window_with_unreadable_records_alone_has_a_partial() -> None:
    records = [base.prediction("a", 1, features={"x": "high"}), base.prediction("end", 40)]
    collected = base.run(records, [base.label("end", 60)])
    assert quality(collected).refused == {"x": {"got str": 1}}
    final = collected.finals["v1", "input", "", base.T0, False]
    assert (final.source.predictions_first, final.source.predictions_end) == (0, 1)


def test_an_unreadable_record_after_its_window_goes_to_the_late_lane_and_then_nowhere() -> None:
    late, forgotten = base.prediction("b", 1, features={"x": ""}), base.prediction("c", 1, features={"x": ""})
    records = [base.prediction("a", 1), base.prediction("m", 8), late, base.prediction("end", 90), forgotten]
    collected = base.run(records, [base.label("end", 60)])
    assert quality(collected).refused == {}
    assert quality(collected, late=True).refused == {"x": {"got str": 1}}
    assert sorted(code for (topic, _), code in collected.dead.items() if topic == "p") == ["invalid_event"] * 2


def test_a_repeat_after_the_window_counts_nowhere() -> None:
    first = base.prediction("a", 1)
    collected = base.run([first, base.prediction("m", 8), first, base.prediction("end", 90)], [base.label("end", 60)])
    assert quality(collected).repeated_ids == 0
    assert ("v1", "input", "", base.T0, True) not in collected.partials


def test_bad_records_move_no_watermark() -> None:
    source = base.monitor()
    records: list[bytes | None] = [base.prediction("a", 1), base.prediction("b", 9, features={"x": "high"})]
    source.take_predictions(base.batch("p", records, 0, 2))
    assert source.predictions_max_ms == base.T0 + base.HOUR


def test_the_latest_prediction_of_each_model_is_known_also_after_a_restart() -> None:
    records: list[bytes | None] = [base.prediction("a", 3), base.prediction("b", 1)]
    source = base.monitor()
    source.take_predictions(base.batch("p", records, 0, 2))
    expected = {"m": (base.T0 + 3 * base.HOUR, base.T0 + 10_000 * base.HOUR)}
    assert source.latest_ms == expected
    again = base.monitor(source.progress())
    again.take_predictions(base.batch("p", records, 0, 2))
    assert not again.rebuilding
    assert again.latest_ms == expected
