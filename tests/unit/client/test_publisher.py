from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import numpy as np
import pytest

from driftloop.client.publisher import MAX_EVENT_BYTES, Publisher
from driftloop.events.messages import Label, Prediction


class Sent:
    """Stands in for the producer: keeps what would be written."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes, bytes]] = []

    def produce(self, topic: str, value: bytes, key: bytes, *, wait: bool) -> None:
        self.records.append((topic, value, key))

    def poll(self) -> None:
        pass


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def publisher(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    monkeypatch.setattr("driftloop.client.publisher.Producer", lambda config: sent)
    return Publisher("localhost:1", "shop")


def test_a_prediction_is_readable_and_keyed_by_its_id(publisher: Publisher, sent: Sent) -> None:
    features = {"age": 41, "income": 1.5, "city": "Köln", "member": True, "absent": None, "nan": float("nan")}
    identifier = publisher.prediction("churn", "v1", features, 0.25, prediction_id="p-1", event_time_ms=5, variant="b")
    ((topic, value, key),) = sent.records
    event = msgspec.json.decode(value, type=Prediction)
    assert (identifier, topic, key) == ("p-1", "shop.predictions", b"p-1")
    assert (event.prediction_id, event.model_id, event.model_version, event.variant) == ("p-1", "churn", "v1", "b")
    assert event.event_time_ms == 5
    assert msgspec.json.decode(event.features) == {**features, "nan": None}
    assert msgspec.json.decode(event.prediction) == 0.25


def test_a_label_is_readable_and_keyed_by_the_prediction(publisher: Publisher, sent: Sent) -> None:
    publisher.label("churn", "p-1", True, event_time_ms=7, revision=2)
    ((topic, value, key),) = sent.records
    event = msgspec.json.decode(value, type=Label)
    assert (topic, key, event.revision, event.event_time_ms) == ("shop.labels", b"p-1", 2, 7)
    assert msgspec.json.decode(event.label) is True


def test_rankings_and_relevant_items_are_sent_as_they_are(publisher: Publisher, sent: Sent) -> None:
    publisher.prediction("pages", "v1", {}, ["a", np.int64(7)], prediction_id="p-1")
    publisher.label("pages", "p-1", ["a", 9])
    publisher.label("pages", "p-1", {"a": 2, "b": 0.5}, revision=1)
    said, plain, gains = (value for _, value, _ in sent.records)
    assert msgspec.json.decode(msgspec.json.decode(said, type=Prediction).prediction) == ["a", 7]
    assert msgspec.json.decode(msgspec.json.decode(plain, type=Label).label) == ["a", 9]
    assert msgspec.json.decode(msgspec.json.decode(gains, type=Label).label) == {"a": 2, "b": 0.5}
    with pytest.raises(ValueError, match="prediction: an item is in the list twice"):
        publisher.prediction("pages", "v1", {}, ["7", 7])
    with pytest.raises(TypeError, match=r"label: expected item ids that are strings or integers, got 0\.5"):
        publisher.label("pages", "p-1", [0.5])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"label\.a: expected a gain from 0 on"):
        publisher.label("pages", "p-1", {"a": -1.0})


def test_without_id_and_time_they_are_made(publisher: Publisher, sent: Sent) -> None:
    first = publisher.prediction("churn", "v1", {}, 0.5)
    second = publisher.prediction("churn", "v1", {}, 0.5)
    assert first != second
    times = [msgspec.json.decode(value, type=Prediction).event_time_ms for _, value, _ in sent.records]
    assert all(time > 1_700_000_000_000 for time in times)


def test_numpy_scalars_are_sent_as_numbers(publisher: Publisher, sent: Sent) -> None:
    features = {"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True), "d": np.str_("x"), "e": np.float64("nan")}
    publisher.prediction("m", "v", features, np.float64(0.5), event_time_ms=np.int64(9))  # type: ignore[arg-type]
    publisher.prediction("m", "v", {}, {"yes": np.float32(0.25), "no": 0.75}, event_time_ms=9)
    events = [msgspec.json.decode(value, type=Prediction) for _, value, _ in sent.records]
    assert msgspec.json.decode(events[0].features) == {"a": 0.5, "b": 3, "c": True, "d": "x", "e": None}
    assert msgspec.json.decode(events[1].prediction) == {"yes": 0.25, "no": 0.75}


def test_encoded_json_goes_as_it_is(publisher: Publisher, sent: Sent) -> None:
    publisher.prediction("m", "v", msgspec.Raw(b'{"a":1}'), msgspec.Raw(b"0.5"), event_time_ms=1)
    assert b'"features":{"a":1}' in sent.records[0][1]


@pytest.mark.parametrize(
    ("arguments", "error", "names"),
    [
        ({"features": {"a": float("inf")}}, ValueError, "features.a"),
        ({"features": {"a": [1]}}, TypeError, "features.a"),
        ({"features": {"a": 2**70}}, ValueError, "features.a"),
        ({"features": {1: 1}}, TypeError, "features"),
        ({"features": [1]}, TypeError, "features"),
        ({"prediction": float("nan")}, ValueError, "prediction"),
        ({"prediction": "0.5"}, TypeError, "prediction"),
        ({"prediction": {}}, ValueError, "prediction"),
        ({"prediction": {"yes": None}}, TypeError, "prediction.yes"),
        ({"prediction_id": ""}, ValueError, "prediction_id"),
        ({"prediction_id": "x" * 257}, ValueError, "prediction_id"),
        ({"prediction_id": 7}, TypeError, "prediction_id"),
        ({"model_id": ""}, ValueError, "model_id"),
        ({"event_time_ms": 1.5}, TypeError, "event_time_ms"),
        ({"event_time_ms": True}, TypeError, "event_time_ms"),
        ({"features": {"a": "x" * MAX_EVENT_BYTES}}, ValueError, "limit"),
    ],
)
def test_mistakes_are_named_where_they_are_made(
    publisher: Publisher, sent: Sent, arguments: dict[str, Any], error: type[Exception], names: str
) -> None:
    good: dict[str, Any] = {"model_id": "m", "model_version": "v", "features": {"a": 1}, "prediction": 0.5}
    with pytest.raises(error, match=names):
        publisher.prediction(**{**good, **arguments})
    assert sent.records == []


def test_label_mistakes(publisher: Publisher) -> None:
    with pytest.raises(ValueError, match="label"):
        publisher.label("m", "p", float("nan"))
    with pytest.raises(TypeError, match="label"):
        publisher.label("m", "p", None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="revision"):
        publisher.label("m", "p", 1, revision=-1)


def test_a_broker_must_be_named() -> None:
    with pytest.raises(ValueError, match="host:port"):
        Publisher("")
    with pytest.raises(ValueError, match="host:port"):
        Publisher({"client.id": "x"})


def test_the_client_needs_only_the_base_install() -> None:
    """A service that publishes must not have to install numpy, pydantic or Faust."""
    forbidden = ("numpy", "pydantic", "faust", "sqlalchemy", "typer", "yaml", "scipy", "pandas", "structlog")
    code = f"import sys, driftloop.client; print([name for name in {forbidden!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
