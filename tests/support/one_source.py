"""One source partition of one model, and logs for it: out of order, duplicated, corrected, late, unreadable."""

from __future__ import annotations

import json
import random

import numpy as np

from driftloop.events.batch import RecordBatch
from driftloop.profiles.columns import PREDICTION
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec import ModelSpec, parse_spec

__all__ = ["HOUR", "PROFILE", "SPEC", "T0", "OneModel", "batch", "label", "logs", "prediction"]

HOUR = 3_600_000
T0 = 1_700_006_400_000 - 1_700_006_400_000 % (24 * HOUR)
SPEC = parse_spec(
    """
model: m
task: binary
features:
  x: {kind: numeric}
  c: {kind: categorical}
window: 4h
label_horizon: 6h
allowed_lateness: 1h
late_retention: 2h
minimum_rows: 5
segments: [c]
"""
)
COLUMNS = {"x": np.arange(50, dtype=np.float64), "c": ["a", "b"] * 25, PREDICTION: np.linspace(0, 1, 50)}
PROFILE = ReferenceProfile.build(SPEC, COLUMNS, model_version="v1", label_mean=0.5)


class OneModel:
    def spec(self, model_id: str) -> ModelSpec | None:
        return SPEC if model_id == "m" else None

    def profile(self, model_id: str, model_version: str) -> ReferenceProfile | None:
        return PROFILE if (model_id, model_version) == ("m", "v1") else None


def prediction(pid: str, hour: float, x: float = 1.0, c: str = "a", score: float = 0.5, **changes: object) -> bytes:
    event = {
        "prediction_id": pid,
        "model_id": "m",
        "model_version": "v1",
        "event_time_ms": T0 + round(hour * HOUR),
        "features": {"x": x, "c": c},
        "prediction": score,
    }
    return json.dumps(event | changes).encode()


def label(pid: str, hour: float, value: object = 1, **changes: object) -> bytes:
    event = {"prediction_id": pid, "model_id": "m", "event_time_ms": T0 + round(hour * HOUR), "label": value}
    return json.dumps(event | changes).encode()


def batch(topic: str, values: list[bytes | None], start: int, stop: int) -> RecordBatch:
    chosen = values[start:stop]
    record_time = T0 + 10_000 * HOUR
    return RecordBatch(
        topic, 0, list(range(start, start + len(chosen))), [record_time] * len(chosen), [b"k"] * len(chosen), chosen
    )


def logs(seed: int, rows: int) -> tuple[list[bytes | None], list[bytes | None]]:
    """Predictions and labels over some 40 hours: out of order, duplicated, corrected, late, unreadable, missing."""
    chance = random.Random(seed)
    predictions: list[tuple[float, bytes | None]] = []
    labels: list[tuple[float, bytes | None]] = []
    for index in range(rows):
        hour = chance.uniform(0, 40)
        arrives = hour + chance.choice([0, 0, 0, 0.5, 3, 12])
        value = prediction(f"id{index}", hour, chance.gauss(20, 10), chance.choice("abz"), chance.random())
        predictions.append((arrives, value))
        if chance.random() < 0.1:
            predictions.append((arrives + chance.uniform(0, 10), value))
        if chance.random() < 0.05:
            predictions.append((arrives, chance.choice([None, b"{", b'{"prediction_id": 3}'])))
        for revision in range(chance.choice([0, 1, 1, 1, 2, 3])):
            known = hour + chance.choice([-0.5, 0.2, 1, 3, 5.9, 7, 20])
            labels.append(
                (
                    known + chance.choice([0, 0, 0.5, 4, 15]),
                    label(f"id{index}", known, chance.randrange(2), revision=revision),
                )
            )
    for events in (predictions, labels):
        events.append((60, prediction("end", 60) if events is predictions else label("nobody", 60)))
        events.sort(key=lambda event: event[0])
    return [value for _, value in predictions], [value for _, value in labels]
