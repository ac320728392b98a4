"""Bytes of any kind on the source topics: each record becomes an event or a dead letter, and its neighbours stay whole.

Fuzzed records are good ones with bytes flipped, cut, spliced and repeated, values of other types in any place, and
plain noise. ``DRIFTLOOP_TEST_FUZZ=100000`` tries so many of them instead of the few hundred of an ordinary run.
"""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftloop.events.batch import RecordBatch
from driftloop.events.messages import Labeled
from driftloop.monitoring.catalog import new_outcomes
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.outputs import DEAD_LETTER_CODES, MonitorOutputs
from driftloop.monitoring.source import SourceMonitor
from driftloop.performance.outcomes import OutcomeStats
from driftloop.profiles.columns import PREDICTION
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec import ModelSpec, parse_spec
from driftloop.training.dataset import cut
from support.fuzz import EXAMPLES, fuzzed

T0 = 1_700_006_400_000
HOUR_MS = 3_600_000
FEATURES = """
features:
  x: {kind: numeric, minimum: -5, maximum: 5}
  n: {kind: numeric, required: true}
  c: {kind: categorical, pattern: "[a-z]+"}
  v: {kind: vector, length: 2}
  t: {kind: text}
window: 1h
label_horizon: 2h
allowed_lateness: 10m
minimum_rows: 5
segments: [c]
drift: {multivariate: {methods: [{method: mmd, threshold: 0.1}]}}
"""
GOOD_FEATURES = {
    "x": 1.5,
    "n": 2,
    "c": "a",
    "v": [0.5, -1e300],
    "t": "words of a text",
    "more": {"deep": [None, "\u00e9"]},
}


class Task:
    """A model of one task, with good events of it."""

    def __init__(self, name: str, prediction: object, label: object, classes: str = "") -> None:
        self.name = name
        self.spec: ModelSpec = parse_spec(f"model: {name}\ntask: {name}\n{classes}{FEATURES}")
        self.prediction, self.label = prediction, label
        column: Any = np.linspace(0, 1, 60)
        if name in ("multiclass", "ranking"):
            column = ["a", "b"] * 30
        self.profile = ReferenceProfile.build(
            self.spec,
            {
                "x": np.linspace(-1, 1, 60),
                "n": np.arange(60.0),
                "c": ["a", "b"] * 30,
                "v": np.zeros((60, 2)),
                "t": ["some words"] * 60,
                PREDICTION: column,
            },
            model_version="v1",
            label_mean=0.5,
        )

    def good(self, topic: str, at: int) -> bytes:
        event: dict[str, object] = {"prediction_id": f"id-{at}", "model_id": self.name, "event_time_ms": T0 + at * 1000}
        if topic == "labels":
            return json.dumps(event | {"label": self.label, "revision": 0}).encode()
        return json.dumps(
            event | {"model_version": "v1", "features": GOOD_FEATURES, "prediction": self.prediction, "variant": None}
        ).encode()


TASKS = {
    task.name: task
    for task in (
        Task("binary", 0.5, 1),
        Task("regression", -2.5, 3.25),
        Task("multiclass", {"a": 0.25, "b": 0.75}, "b", "classes: [a, b]\n"),
        Task("ranking", {"items": ["a", "b"], "scores": [2, 1]}, {"a": 1.5}),
    )
}


class Models:
    def spec(self, model_id: str) -> ModelSpec | None:
        return TASKS[model_id].spec if model_id in TASKS else None

    def profile(self, model_id: str, model_version: str) -> ReferenceProfile | None:
        return TASKS[model_id].profile if model_id in TASKS and model_version == "v1" else None


def batch(topic: str, values: list[bytes | None], start: int) -> RecordBatch:
    count = len(values)
    return RecordBatch(topic, 0, range(start, start + count), [T0 + 24 * HOUR_MS] * count, [b"k"] * count, values)


def all_models(counts: Any) -> int:
    return int(sum(counts.values()))


def check_outputs(outputs: MonitorOutputs, received: list[bytes | None], topic: str, start: int) -> None:
    for letter in outputs.dead_letters:
        assert letter.code in DEAD_LETTER_CODES
        assert letter.message
        if letter.topic == topic and letter.offset >= start:
            assert letter.value == received[letter.offset - start]
    for key, value in outputs.labeled:
        row = msgspec.json.decode(value, type=Labeled)
        assert row.prediction_id.encode() == key
        if row.model_id != "ranking":  # not trained here
            assert len(cut([row], TASKS[row.model_id].spec, 0, 2**62)) == 1


def decodes(monitor: SourceMonitor) -> None:
    for partial in monitor.take_partials():
        task = TASKS[partial.model_id]
        profile = task.profile.for_segment(partial.segment)
        if partial.kind == "input":
            InputStats.decode(bytes(partial.stats), profile)
        else:
            OutcomeStats.decode(bytes(partial.stats), new_outcomes(task.spec, task.profile, partial.segment))
        json.loads(msgspec.json.encode(partial))
    json.loads(msgspec.json.encode(monitor.progress()))


@pytest.mark.parametrize("name", TASKS)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_record_is_an_event_or_a_dead_letter(name: str, seed: int) -> None:
    chance = random.Random(seed)
    task = TASKS[name]
    monitor = SourceMonitor(0, Models(), Limits(20_000), predictions_topic="predictions", labels_topic="labels")
    for topic, take in (("predictions", monitor.take_predictions), ("labels", monitor.take_labels)):
        values: list[bytes | None] = []
        for at in range(12):
            good = task.good(topic, at)
            values += [good, fuzzed(task.good(topic, at + 100), chance)]
        start = 0
        taken = letters = 0
        while start < len(values):
            some = values[start : start + chance.choice([1, 3, 24])]
            waiting = monitor.waiting_labels
            take(batch(topic, some, start))
            outputs = monitor.drain()
            check_outputs(outputs, some, topic, start)
            letters += sum(letter.code not in ("no_prediction",) for letter in outputs.dead_letters)
            taken += all_models(outputs.predictions) if topic == "predictions" else all_models(outputs.labels)
            if topic == "predictions":
                taken += all_models(outputs.duplicates)
            else:
                assert monitor.waiting_labels >= waiting or outputs.joined
            start += len(some)
        if topic == "predictions":
            assert taken + letters == len(values)
        # The good ones between them are all there: an id can be hit by chance alone, and then it is a duplicate.
        assert taken >= 12
    decodes(monitor)


@given(noise=st.binary(max_size=300))
@settings(max_examples=EXAMPLES, deadline=None)
def test_noise_is_a_dead_letter(noise: bytes) -> None:
    monitor = SourceMonitor(0, Models(), Limits(), predictions_topic="predictions", labels_topic="labels")
    monitor.take_predictions(batch("predictions", [noise], 0))
    monitor.take_labels(batch("labels", [noise], 0))
    letters = monitor.drain().dead_letters
    assert [(letter.topic, letter.value) for letter in letters] == [("predictions", noise), ("labels", noise)]
