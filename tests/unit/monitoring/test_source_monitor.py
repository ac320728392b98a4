"""The core of a monitor: final partials are a function of the two logs, however cut, interleaved or restarted."""

from __future__ import annotations

import json
import random
from collections import defaultdict

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop.events.messages import Labeled, SourceProgress, WindowPartial
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.source import SourceMonitor
from driftloop.performance.outcomes import OutcomeStats
from driftloop.profiles.inputs import InputStats
from support.one_source import HOUR, PROFILE, T0, OneModel, batch, label, logs, prediction


def monitor(restart: SourceProgress | None = None) -> SourceMonitor:
    return SourceMonitor(0, OneModel(), Limits(), predictions_topic="p", labels_topic="l", restart=restart)


PartialKey = tuple[str, str, str, int, bool]


class Collected:
    """What a worker published: partials are upserts by key, labeled rows are kept by (id, revision, time)."""

    def __init__(self) -> None:
        self.partials: dict[PartialKey, WindowPartial] = {}
        self.finals: dict[PartialKey, WindowPartial] = {}
        self.labeled: dict[tuple[str, int, int], Labeled] = {}
        self.dead: dict[tuple[str, int], str] = {}

    def take(self, source: SourceMonitor) -> SourceProgress:
        out = source.drain()
        for _, value in out.labeled:
            row = msgspec.json.decode(value, type=Labeled)
            self.labeled[row.prediction_id, row.revision, row.labeled_at_ms] = row
        for letter in out.dead_letters:
            self.dead[letter.topic, letter.offset] = letter.code
        for partial in source.take_partials():
            key = (partial.model_version, partial.kind, partial.segment, partial.window_start_ms, partial.late)
            if partial.final:
                assert key not in self.finals or self.finals[key] == partial, "a final partial changed"
                self.finals[key] = partial
            self.partials[key] = partial
        return source.progress()


def run(
    predictions: list[bytes | None], labels: list[bytes | None], seed: int | None = None, restarts: int = 0
) -> Collected:
    """Feed both logs: whole without a seed, else in random pieces, interleaved at random, with crashes in between."""
    collected = Collected()
    source = monitor()
    if seed is None:
        source.take_predictions(batch("p", predictions, 0, len(predictions)))
        source.take_labels(batch("l", labels, 0, len(labels)))
        collected.take(source)
        return collected
    chance = random.Random(seed)
    at = [0, 0]
    published: SourceProgress | None = None
    while at[0] < len(predictions) or at[1] < len(labels):
        side = chance.randrange(2)
        log = (predictions, labels)[side]
        step = min(chance.choice([1, 2, 5, 30]), len(log) - at[side])
        if step:
            (source.take_predictions, source.take_labels)[side](batch("pl"[side], log, at[side], at[side] + step))
            at[side] += step
        if chance.random() < 0.4:
            published = collected.take(source)
        if restarts and chance.random() < 0.15:
            restarts -= 1
            source = monitor(published)  # SIGKILL: whatever was not published is gone
            if published is not None:
                source.take_predictions(
                    batch("p", predictions, published.restart_predictions_offset, published.predictions_offset)
                )
                source.take_labels(batch("l", labels, published.restart_labels_offset, published.labels_offset))
                assert not source.rebuilding
                at = [published.predictions_offset, published.labels_offset]
            else:
                at = [0, 0]
    collected.take(source)
    return collected


def content(collected: Collected) -> dict[PartialKey, bytes]:
    return {key: msgspec.json.encode(partial) for key, partial in sorted(collected.finals.items())}


SEEDS = st.integers(0, 2**32 - 1)
ROWS = st.integers(1, 120)


@given(SEEDS, ROWS, SEEDS)
@settings(max_examples=80, deadline=None)
def test_batches_and_interleaving_change_no_final_partial(log_seed: int, rows: int, seed: int) -> None:
    both = logs(log_seed, rows)
    assert content(run(*both)) == content(run(*both, seed=seed))


@given(SEEDS, ROWS, SEEDS)
@settings(max_examples=100, deadline=None)
def test_crashes_change_no_final_partial_and_lose_no_row(log_seed: int, rows: int, seed: int) -> None:
    both = logs(log_seed, rows)
    whole, broken = run(*both), run(*both, seed=seed, restarts=4)
    assert sorted(content(whole)) == sorted(content(broken))
    assert content(whole) == content(broken)
    on_time = {key for key, row in whole.labeled.items() if not row.late}
    assert on_time <= set(broken.labeled)


@given(SEEDS, ROWS)
@settings(max_examples=80, deadline=None)
def test_final_windows_equal_a_naive_join(log_seed: int, rows: int) -> None:
    """A plain loop over the two logs, written from the rules in docs, must find the same rows in every window."""
    both = logs(log_seed, rows)
    window, horizon, lateness = 4 * HOUR, 6 * HOUR, HOUR
    first: dict[str, dict] = {}
    newest = -(2**62)
    for value in both[0]:
        try:
            event = json.loads(value or b"")
            time = event["event_time_ms"]
        except (ValueError, KeyError):
            continue
        end = time - time % window + window
        if event["prediction_id"] not in first and end > newest - lateness:
            first[event["prediction_id"]] = event | {"end": end}
        else:
            first.setdefault(event["prediction_id"], {})
        newest = max(newest, time)
    best: dict[str, tuple[int, int, int]] = {}
    newest = -(2**62)
    for value in both[1]:
        event = json.loads(value)
        time, seen = event["event_time_ms"], first.get(event["prediction_id"])
        if seen:
            delay = time - seen["event_time_ms"]
            if -lateness <= delay <= horizon and newest - lateness < seen["end"] + horizon:
                rank = (event["revision"], time, event["label"])
                known = best.get(event["prediction_id"])
                if known is None or rank[:2] > known[:2]:
                    best[event["prediction_id"]] = rank
        newest = max(newest, time)
    expected: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    for pid, event in first.items():
        if event:
            counts = expected[event["end"]]
            counts[0] += 1
            if pid in best:
                counts[1] += 1
                counts[2] += best[pid][2]
    empty = OutcomeStats("binary", center=0.5)
    for key, partial in run(*both).finals.items():
        if key[1] == "outcome" and key[2] == "":
            stats = OutcomeStats.decode(bytes(partial.stats), empty)
            base_rate = stats.metrics()["base_rate"].value
            positives = 0 if base_rate is None else round(base_rate * stats.labeled)
            assert [stats.predicted, stats.labeled, positives] == expected[partial.window_end_ms]
        if key[1] == "input" and key[2] == "":
            assert InputStats.decode(bytes(partial.stats), PROFILE).rows == expected[partial.window_end_ms][0]


def test_every_bad_record_has_its_reason() -> None:
    cases = {
        "null_value": None,
        "malformed_json": b"{",
        "invalid_event": b'{"prediction_id": 1}',
        "unknown_model": prediction("a", 1, model_id="other"),
        "unknown_version": prediction("a", 1, model_version="v9"),
        "absurd_time": prediction("a", 1, event_time_ms=5),
        "oversized": b" " * 1_000_001,
    }
    source = monitor()
    source.take_predictions(batch("p", list(cases.values()), 0, len(cases)))
    letters = source.drain().dead_letters
    assert sorted(letter.code for letter in letters) == sorted(cases)
    assert {letter.value for letter in letters} == set(cases.values())
    assert source.predictions_offset == len(cases)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (prediction("a", 1, features={"x": "high"}), "$.x"),
        (prediction("a", 1, features={"c": [1]}), "$.c"),
        (prediction("a", 1, prediction=1.5), "<= 1.0"),
        (prediction("a", 1, event_time_ms="soon"), "$.event_time_ms"),
        (prediction("", 1), "$.prediction_id"),
    ],
)
def test_a_wrong_type_names_its_path(value: bytes, path: str) -> None:
    source = monitor()
    source.take_predictions(batch("p", [value, prediction("good", 1)], 0, 2))
    out = source.drain()
    assert [letter.code for letter in out.dead_letters] == ["invalid_event"]
    assert path in out.dead_letters[0].message
    assert out.predictions["m"] == 1


def test_a_clock_ahead_does_not_move_the_watermark() -> None:
    source = monitor()
    source.take_predictions(batch("p", [prediction("a", 1), prediction("b", 1e6), prediction("c", 1.5)], 0, 3))
    out = source.drain()
    assert [letter.code for letter in out.dead_letters] == ["absurd_time"]
    assert source.predictions_max_ms == T0 + round(1.5 * HOUR)


def test_a_correction_replaces_the_label_and_a_duplicate_counts_once() -> None:
    labels = [label("a", 2, 0), label("a", 2, 0), label("a", 3, 1, revision=1), label("a", 2.5, 0), label("z", 30)]
    collected = run([prediction("a", 1), prediction("a", 1), prediction("end", 30)], labels)
    final = next(p for key, p in collected.finals.items() if key[1:3] == ("outcome", "") and key[3] == T0)
    stats = OutcomeStats.decode(bytes(final.stats), OutcomeStats("binary", center=0.5))
    assert (stats.predicted, stats.labeled, stats.metrics()["base_rate"].value) == (1, 1, 1.0)
    assert sorted(row.revision for row in collected.labeled.values()) == [0, 1]


def test_late_rows_go_to_a_lane_of_their_own() -> None:
    predictions = [prediction("a", 1), prediction("b", 9), prediction("late", 2), prediction("end", 40)]
    collected = run(predictions, [label("a", 2), label("b", 10), label("end", 41)])
    lanes = {
        key[4]: InputStats.decode(bytes(p.stats), PROFILE).rows
        for key, p in collected.partials.items()
        if key[1:4] == ("input", "", T0)
    }
    assert lanes == {False: 1, True: 1}


def test_labels_that_no_prediction_follows_end_as_dead_letters() -> None:
    predictions = [prediction("a", 1), prediction("b", 30), prediction("c", 60)]
    source = monitor()
    source.take_labels(batch("l", [label("nobody", 2), label("b", 31)], 0, 2))
    for index in range(3):
        source.take_predictions(batch("p", predictions, index, index + 1))
        list(source.take_partials())
    source.take_labels(batch("l", [label("nobody", 2), label("b", 31), label("c", 61)], 2, 3))
    assert [(letter.code, letter.offset) for letter in source.drain().dead_letters] == [("no_prediction", 0)]


def test_forgotten_cohorts_free_their_rows() -> None:
    source = monitor()
    predictions = [prediction(f"id{hour}", hour) for hour in range(200)]
    labels = [label(f"id{hour}", hour + 0.5) for hour in range(200)]
    for hour in range(200):
        source.take_predictions(batch("p", predictions, hour, hour + 1))
        source.take_labels(batch("l", labels, hour, hour + 1))
        list(source.take_partials())
    assert source.pending_rows < 40
    assert source.progress().restart_predictions_offset > 150
