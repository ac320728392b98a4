"""The stream of a stretch of flights: event-time order over both topics, each event once, features as JSON."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from driftloop.demo.flights import CATEGORICAL, FEATURES
from driftloop.demo.timeline import HOUR_MS, FeatureTexts, Timeline, encode_features


def flights(rows: int = 9000, seed: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    departure = np.sort(rng.integers(0, 60 * HOUR_MS, rows))
    frame = pd.DataFrame({"departure_ms": departure, "flight_id": [f"f{row}" for row in range(rows)]})
    known = rng.random(rows) > 0.03
    frame["arrival_ms"] = np.where(known, departure + rng.integers(HOUR_MS, 9 * HOUR_MS, rows), -1)
    for name in FEATURES:
        frame[name] = rng.choice(["a", "b"], rows) if name in CATEGORICAL else rng.normal(size=rows)
    frame.loc[::10, "pressure"] = np.nan
    return frame


def test_every_departure_and_every_known_arrival_comes_once_in_order() -> None:
    frame = flights()
    timeline = Timeline(frame, 10 * HOUR_MS, 50 * HOUR_MS)
    chunks = list(timeline.chunks())
    times = np.concatenate([chunk.times_ms for chunk in chunks])
    assert (np.diff(times) >= 0).all()
    assert all(chunk.start_ms <= chunk.times_ms[0] and chunk.times_ms[-1] < chunk.end_ms for chunk in chunks)
    rows = np.concatenate([chunk.flights for chunk in chunks])
    arrivals = np.concatenate([chunk.arrivals for chunk in chunks])
    assert rows[~arrivals].tolist() == list(range(len(timeline.frame)))
    arrived = np.flatnonzero(timeline.frame["arrival_ms"].to_numpy() >= 0)
    assert sorted(rows[arrivals].tolist()) == arrived.tolist()
    assert (len(timeline), timeline.labels) == (len(rows), len(arrived))
    # The labels of the last departures come after the stretch has ended.
    assert timeline.last_departure_ms < 50 * HOUR_MS < timeline.end_ms


def test_a_stretch_without_flights_is_an_error() -> None:
    with pytest.raises(ValueError, match="no flight departs"):
        Timeline(flights(10), 100 * HOUR_MS, 200 * HOUR_MS)


def test_features_are_json_objects_with_null_for_missing() -> None:
    frame = flights()
    encoded = encode_features(frame.iloc[:20])
    for row, text in enumerate(encoded):
        expected = {
            name: None if frame[name].iloc[row] != frame[name].iloc[row] else frame[name].iloc[row] for name in FEATURES
        }
        assert json.loads(bytes(text)) == expected
    texts = FeatureTexts(frame)
    asked = [0, 4095, 4096, 8999, 4000]
    assert [bytes(texts[row]) for row in asked] == [bytes(encode_features(frame.iloc[[row]])[0]) for row in asked]
