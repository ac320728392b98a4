"""What a production service uses, on the embedded broker and on Apache Kafka."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from conftest import Broker, SettingsFor
from driftloop.client import AlertSubscriber, ModelSubscriber, Publisher
from driftloop.events.decisions import ModelEvent
from driftloop.events.messages import Alert, Label, Prediction
from driftloop.kafka.admin import create_topics
from driftloop.kafka.config import client_config
from driftloop.kafka.log_reader import LogReadError, read_topic
from driftloop.kafka.producer import Producer
from driftloop.settings import Settings


@pytest.fixture
def settings(any_broker: Broker, settings_for: SettingsFor) -> Settings:
    settings = settings_for(any_broker)
    create_topics(settings)
    return settings


def send(settings: Settings, topic: str, *events: Any, raw: bytes | None = None) -> None:
    # For the id of an idempotent producer a new one waits half a second.
    with Producer(client_config(settings, enable_idempotence=False)) as producer:
        for event in events:
            producer.produce(topic, msgspec.json.encode(event), event.model_id.encode())
        if raw is not None:
            producer.produce(topic, raw, b"m")


def event(kind: Any, version: str, model: str = "m", **fields: Any) -> ModelEvent:
    return ModelEvent(
        event_id=f"{model}-{kind}-{version}",
        kind=kind,
        model_id=model,
        model_version=version,
        event_time_ms=1,
        **fields,
    )


def alert(number: int, model: str = "m") -> Alert:
    return Alert(
        alert_id=f"a{number}",
        event_id=f"e{number}",
        model_id=model,
        model_version="v1",
        kind="drift",
        subject="age",
        segment="",
        state="opened",
        severity="warning",
        window_start_ms=0,
        window_end_ms=1,
        opened_at_ms=0,
        report_id="r",
        statistic=None,
        threshold=None,
        message="age has changed",
    )


def collect(subscriber: Any, count: int, timeout_s: float = 20.0) -> list[Any]:
    deadline = time.monotonic() + timeout_s
    events: list[Any] = []
    while len(events) < count:
        assert time.monotonic() < deadline, f"{len(events)} of {count} events came"
        events += subscriber.poll(0.2)
    return events


def test_published_events_arrive_and_meet_in_the_same_partition(settings: Settings) -> None:
    with Publisher(settings.bootstrap, settings.topic_prefix) as publisher:
        ids = [publisher.prediction("m", "v1", {"age": age}, 0.5, event_time_ms=age) for age in range(50)]
        for prediction_id in ids:
            publisher.label("m", prediction_id, True, event_time_ms=99)
    config = client_config(settings)
    predictions = {r.key: r for batch in read_topic(config, settings.topics.predictions) for r in batch}
    labels = {r.key: r for batch in read_topic(config, settings.topics.labels) for r in batch}
    assert predictions.keys() == labels.keys() == {prediction_id.encode() for prediction_id in ids}
    assert all(predictions[key].partition == labels[key].partition for key in labels)
    assert len({record.partition for record in labels.values()}) == settings.source_partitions
    first = msgspec.json.decode(predictions[ids[0].encode()].value or b"", type=Prediction)
    assert (first.model_version, bytes(first.features)) == ("v1", b'{"age":0}')
    assert msgspec.json.decode(labels[ids[0].encode()].value or b"", type=Label).label == msgspec.Raw(b"true")


def test_the_champion_is_the_last_promoted_or_rolled_back(settings: Settings) -> None:
    topic = settings.topics.model_events
    with ModelSubscriber(settings.bootstrap, "m", settings.topic_prefix) as subscriber:
        assert subscriber.current() is None
    send(
        settings,
        topic,
        event("registered", "v1"),
        event("promoted", "v1", artifact="a1"),
        event("promoted", "x", "other"),
    )
    send(settings, topic, event("registered", "v2"), event("rejected", "v2"), raw=b"{not json")
    with ModelSubscriber(client_config(settings), "m", settings.topic_prefix) as subscriber:
        current = subscriber.current()
        assert current is not None
        assert (current.model_version, current.artifact) == ("v1", "a1")
        assert subscriber.poll(0.1) == []
        send(settings, topic, event("promoted", "v3"), event("promoted", "v3"))  # the relay may publish twice
        send(settings, topic, event("rolled_back", "v1", previous_version="v3"))
        events = collect(subscriber, 2)
        assert [(e.kind, e.model_version) for e in events] == [("promoted", "v3"), ("rolled_back", "v1")]
        again = subscriber.current()
        assert again is not None
        assert (again.kind, again.model_version) == ("rolled_back", "v1")
    with ModelSubscriber(settings.bootstrap, topic_prefix=settings.topic_prefix) as everything:
        champions = [everything.current(model) for model in ("m", "other", "none")]
        assert [champion and champion.model_version for champion in champions] == ["v1", "x", None]
        with pytest.raises(ValueError, match="model_id"):
            everything.current()


def test_alerts_from_now_on_or_from_the_beginning(settings: Settings) -> None:
    topic = settings.topics.alerts
    send(settings, topic, alert(1), alert(2, "other"))
    with (
        AlertSubscriber(settings.bootstrap, None, settings.topic_prefix) as news,
        AlertSubscriber(settings.bootstrap, "m", settings.topic_prefix, "beginning") as past,
    ):
        assert [a.alert_id for a in collect(past, 1)] == ["a1"]
        send(settings, topic, alert(3), alert(3))
        assert [a.alert_id for a in collect(news, 1)] == ["a3"]
        assert [a.alert_id for a in collect(past, 1)] == ["a3"]
        assert (
            next(iter(AlertSubscriber(settings.bootstrap, "other", settings.topic_prefix, "beginning"))).alert_id
            == "a2"
        )


def test_without_topics_the_subscriber_says_so(any_broker: Broker, topic_prefix: str) -> None:
    with pytest.raises(LogReadError, match="driftloop topics create"):
        ModelSubscriber(any_broker.bootstrap, "m", topic_prefix)
