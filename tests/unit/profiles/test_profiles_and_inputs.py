"""Reference profiles and the statistics of a window's inputs: canonical bytes, merging, errors that help."""

from __future__ import annotations

import hashlib
import math

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from driftloop.profiles.columns import PREDICTION, Columns
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import MetricReference, ReferenceProfile
from driftloop.spec.model import FeatureSpec, ModelSpec

SPEC = ModelSpec(
    model="m",
    task="binary",
    features={
        "temp": FeatureSpec(kind="numeric"),
        "carrier": FeatureSpec(kind="categorical"),
        "hour": FeatureSpec(kind="numeric"),
    },
)


def make_columns(rows: int, seed: int) -> dict[str, NDArray[np.float64] | list[str | None]]:
    random = np.random.default_rng(seed)
    temp = random.normal(50, 10, rows)
    temp[::17] = math.nan
    return {
        "temp": temp,
        "carrier": [None if value == 4 else "ABCD"[value] for value in random.integers(0, 5, rows)],
        "hour": random.integers(0, 24, rows).astype(np.float64),
        PREDICTION: random.beta(2, 5, rows),
    }


def take(columns: Columns, rows: NDArray[np.intp]) -> dict[str, NDArray[np.float64] | list[str | None]]:
    return {
        name: column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows]
        for name, column in columns.items()
    }


@pytest.fixture(scope="module")
def profile() -> ReferenceProfile:
    metrics = {"roc_auc": MetricReference(value=0.7, low=0.68, high=0.72, rows=500)}
    return ReferenceProfile.build(SPEC, make_columns(2_000, 1), model_version="v1", metrics=metrics, label_mean=0.2)


def test_profile_round_trip_and_digest(profile: ReferenceProfile) -> None:
    again = ReferenceProfile.decode(profile.encode())
    assert again == profile
    assert again.encode() == profile.encode()
    assert again.digest() == profile.digest()
    assert len(profile.digest()) == 64
    assert set(profile.features) == {"temp", "carrier", "hour", PREDICTION}
    backwards = ReferenceProfile.build(
        SPEC,
        dict(reversed(make_columns(2_000, 1).items())),
        model_version="v1",
        metrics=profile.metrics,
        label_mean=0.2,
    )
    assert backwards.encode() == profile.encode()


def test_multiclass_predictions_are_categorical() -> None:
    spec = ModelSpec(model="m", task="multiclass", classes=["x", "y"], features={"a": FeatureSpec(kind="numeric")})
    columns: Columns = {"a": np.arange(3.0), PREDICTION: ["x", "y", "x"]}
    assert ReferenceProfile.build(spec, columns, model_version="v1").features[PREDICTION].rows == 3


def test_build_says_what_is_wrong() -> None:
    columns = make_columns(10, 1)
    with pytest.raises(ValueError, match="no column for feature 'temp'"):
        ReferenceProfile.build(SPEC, {key: columns[key] for key in columns if key != "temp"}, model_version="v1")
    with pytest.raises(ValueError, match="unequal lengths"):
        ReferenceProfile.build(SPEC, columns | {"temp": np.zeros(3)}, model_version="v1")
    with pytest.raises(ValueError, match="no rows"):
        ReferenceProfile.build(SPEC, make_columns(0, 1), model_version="v1")


def test_a_damaged_profile_is_refused(profile: ReferenceProfile) -> None:
    with pytest.raises(ValueError, match="not a reference profile"):
        ReferenceProfile.decode(b'{"model_id": 3}')
    content = msgspec.json.decode(profile.encode())
    content["features"]["hour"]["rows"] += 1
    with pytest.raises(ValueError, match="reference of 'hour' is damaged"):
        ReferenceProfile.decode(msgspec.json.encode(content))


@pytest.mark.parametrize("seed", range(4))
def test_content_depends_on_the_rows_alone(profile: ReferenceProfile, seed: int) -> None:
    columns = make_columns(3_000, 2)
    whole = InputStats(profile)
    whole.update(columns, 3_000)
    random = np.random.default_rng(seed)
    parts = []
    for chunk in np.array_split(random.permutation(3_000), 5):
        part = InputStats(profile)
        for piece in np.array_split(chunk, random.integers(1, 9)):
            part.update(take(columns, piece), piece.size)
        parts.append(InputStats.decode(part.encode(), ReferenceProfile.decode(profile.encode())))
    merged = parts[0].copy()
    for index in random.permutation(np.arange(1, 5)):
        merged.merge(parts[index])
    assert merged.encode() == whole.encode()
    assert merged == whole
    assert merged.rows == 3_000
    assert parts[0].rows == 600


def test_an_absent_column_is_missing_in_every_row(profile: ReferenceProfile) -> None:
    stats = InputStats(profile)
    stats.update({"hour": np.zeros(5), "unknown": np.zeros(5)}, 5)
    assert (stats.features["temp"].missing, stats.features["carrier"].missing, stats.features["hour"].missing) == (
        5,
        5,
        0,
    )
    assert stats.rows == 5


def test_a_column_of_another_length_counts_nothing(profile: ReferenceProfile) -> None:
    stats = InputStats(profile)
    with pytest.raises(ValueError, match="column 'hour' has 4 values, expected 5"):
        stats.update({"temp": np.zeros(5), "hour": np.zeros(4)}, 5)
    assert stats == InputStats(profile)


def test_another_profile_is_refused(profile: ReferenceProfile) -> None:
    other = ReferenceProfile.build(SPEC, make_columns(100, 3), model_version="v2")
    with pytest.raises(ValueError, match="v1"):
        InputStats.decode(InputStats(other).encode(), profile)
    with pytest.raises(ValueError, match="v2"):
        InputStats(profile).merge(InputStats(other))
    with pytest.raises(ValueError, match="not input statistics"):
        InputStats.decode(b"[]", profile)


def test_a_profile_without_what_came_later_keeps_bytes_and_digest() -> None:
    """The digest stands in every statistic counted against a profile: those of before must still be readable."""
    older = (
        b'{"model_id":"m","model_version":"v1","features":{"carrier":{"kind":"categorical","categories":{"A":2,"B":1},'
        b'"rows":3,"missing":0,"other":0}},"rows":3,"metrics":{},"label_mean":0.0,"from_ms":0,"to_ms":0,'
        b'"segments":{"carrier=A":{"model_id":"m","model_version":"v1","features":{},"rows":2,"metrics":{},'
        b'"label_mean":0.0,"from_ms":0,"to_ms":0,"segments":{}}}}'
    )
    profile = ReferenceProfile.decode(older)
    assert profile.encode() == older
    assert profile.digest() == hashlib.sha256(older).hexdigest()
    newer = msgspec.structs.replace(profile, importances={"carrier": 1.0})
    assert newer.digest() != profile.digest()
    assert ReferenceProfile.decode(newer.encode()) == newer
