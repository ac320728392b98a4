"""Many predictions of some 300 bytes, with random ids, that wait for labels for a month."""

from __future__ import annotations

import hashlib
import random

import numpy as np

from driftloop.events.batch import RecordBatch
from driftloop.profiles.columns import PREDICTION
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec import ModelSpec, parse_spec

__all__ = [
    "PROFILE",
    "SPEC",
    "WideCatalog",
    "label_of",
    "prediction_id",
    "prediction_of",
    "predictions_batch",
    "record_batch",
]

_FEATURES = [f"feature_{at}" for at in range(8)]
SPEC = parse_spec(
    "model: wide\ntask: binary\nwindow: 1h\nlabel_horizon: 30d\nfeatures:\n"
    + "".join(f"  {name}: {{kind: numeric}}\n" for name in _FEATURES)
)
_START_MS = 1_704_067_200_000
#: So much event time passes between two predictions: ten million are a day.
_EVERY_MS = 8


def _profile() -> ReferenceProfile:
    chance = np.random.default_rng(1)
    columns = {name: chance.random(500) for name in (*_FEATURES, PREDICTION)}
    return ReferenceProfile.build(SPEC, columns, model_version="v1", label_mean=0.5)


PROFILE = _profile()
_VALUES = [random.Random(1).random() for _ in range(10_007)]


class WideCatalog:
    def spec(self, model_id: str) -> ModelSpec | None:
        return SPEC if model_id == "wide" else None

    def profile(self, model_id: str, model_version: str) -> ReferenceProfile | None:
        return PROFILE if (model_id, model_version) == ("wide", "v1") else None


def prediction_id(number: int) -> str:
    return hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).hexdigest()


def prediction_of(number: int) -> bytes:
    values = [_VALUES[(number * 13 + at) % len(_VALUES)] for at in range(9)]
    features = ",".join(f'"{name}":{value:.6f}' for name, value in zip(_FEATURES, values, strict=False))
    return (
        f'{{"prediction_id":"{prediction_id(number)}","model_id":"wide","model_version":"v1",'
        f'"event_time_ms":{_START_MS + number * _EVERY_MS},"features":{{{features}}},"prediction":{values[8]:.6f}}}'
    ).encode()


def label_of(number: int, after: int) -> bytes:
    """A label that becomes known when prediction ``after`` is made."""
    return (
        f'{{"prediction_id":"{prediction_id(number)}","model_id":"wide",'
        f'"event_time_ms":{_START_MS + after * _EVERY_MS},"label":{number % 2}}}'
    ).encode()


def predictions_batch(partition: int, partitions: int, start: int, stop: int) -> RecordBatch:
    """Offsets ``start`` to ``stop`` of a partition: predictions go to the partitions in turn."""
    return record_batch(
        "p", partition, start, [prediction_of(at * partitions + partition) for at in range(start, stop)]
    )


def record_batch(topic: str, partition: int, start: int, values: list[bytes]) -> RecordBatch:
    time_ms = _START_MS + 400 * 86_400_000
    return RecordBatch(
        topic, partition, range(start, start + len(values)), [time_ms] * len(values), [None] * len(values), values
    )
