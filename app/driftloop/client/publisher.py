"""Publishes predictions and, when it is known, what turned out true."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from math import isfinite, isnan
from types import TracebackType
from typing import Any

import msgspec
from msgspec import Raw

from driftloop.client.connection import connection
from driftloop.events.messages import Label, Prediction
from driftloop.events.topics import DEFAULT_PREFIX, Topics
from driftloop.kafka.config import ClientConfig
from driftloop.kafka.producer import Producer

__all__ = ["MAX_EVENT_BYTES", "Publisher"]

#: Larger events are refused here instead of by the broker.
MAX_EVENT_BYTES = 1_000_000

_MAX_IDENTIFIER = 256
_encoder = msgspec.json.Encoder()

Features = Mapping[str, Any] | Raw
Output = float | Mapping[str, float] | Sequence[str | int] | Raw
Truth = bool | int | float | str | Sequence[str | int] | Mapping[str, float] | Raw


class Publisher:
    """Sends events without waiting for the broker; :meth:`flush` waits, and says what was not written.

    Values are checked here, so that a mistake is an exception in the service that makes it and not a dead letter that
    somebody else finds. Numbers may be numpy scalars. Safe for use from several threads.
    """

    def __init__(
        self, broker: str | ClientConfig, topic_prefix: str = DEFAULT_PREFIX, *, wait_when_full: bool = True
    ) -> None:
        """``broker``: ``"host:port"`` or a librdkafka configuration. With ``wait_when_full`` false an event that finds
        the send queue full (200,000 events) raises ``DeliveryError`` instead of waiting for the broker."""
        self._topics = Topics(topic_prefix)
        self._producer = Producer(connection(broker))
        self._wait = wait_when_full

    def prediction(
        self,
        model_id: str,
        model_version: str,
        features: Features,
        prediction: Output,
        *,
        prediction_id: str | None = None,
        event_time_ms: int | None = None,
        variant: str | None = None,
    ) -> str:
        """Publishes what a model said; returns the prediction's id, which its label must carry.

        ``features``: name to number, string, bool or None (missing); NaN counts as missing. ``prediction``: binary, the
        probability of the positive class; regression, the value; multiclass, class name to probability; ranking, a list
        of item ids from the best on. ``Raw`` (JSON already encoded) goes as it is, unchecked. ``event_time_ms`` None:
        now; ``prediction_id`` None: a random one. Raises ``ValueError`` or ``TypeError`` that name the field,
        ``DeliveryError`` if the event can't be queued.
        """
        identifier = uuid.uuid4().hex if prediction_id is None else _identifier("prediction_id", prediction_id)
        event = Prediction(
            prediction_id=identifier,
            model_id=_identifier("model_id", model_id),
            model_version=_identifier("model_version", model_version),
            event_time_ms=_time("event_time_ms", event_time_ms),
            features=features if isinstance(features, Raw) else _features(features),
            prediction=prediction if isinstance(prediction, Raw) else _output(prediction),
            variant=variant,
        )
        self._send(self._topics.predictions, identifier, event)
        return identifier

    def label(
        self,
        model_id: str,
        prediction_id: str,
        label: Truth,
        *,
        event_time_ms: int | None = None,
        revision: int = 0,
    ) -> None:
        """Publishes what turned out true. ``event_time_ms`` is when it became known (None: now).

        ``label``: binary, true or false (or 1, 0); regression, the value; multiclass, the class name; ranking, a list
        of the relevant item ids, or item id to gain. A higher ``revision`` corrects a label sent before. Raises like
        :meth:`prediction`.
        """
        identifier = _identifier("prediction_id", prediction_id)
        if isinstance(revision, bool) or not isinstance(revision, int) or revision < 0:
            raise ValueError(f"revision: expected an integer from 0 on, got {revision!r}")
        event = Label(
            prediction_id=identifier,
            model_id=_identifier("model_id", model_id),
            event_time_ms=_time("event_time_ms", event_time_ms),
            label=label if isinstance(label, Raw) else _label(label),
            revision=revision,
        )
        self._send(self._topics.labels, identifier, event)

    @property
    def failed(self) -> int:
        """Events that the broker refused or that timed out since the last :meth:`flush`."""
        return self._producer.failed

    def flush(self, timeout_s: float = 30.0) -> None:
        """Waits until all events are written. Raises ``DeliveryError`` with reason and number if some were not."""
        self._producer.flush(timeout_s)

    def close(self, timeout_s: float = 30.0) -> None:
        """Flushes, see there."""
        self._producer.close(timeout_s)

    def _send(self, topic: str, identifier: str, event: Prediction | Label) -> None:
        value = _encoder.encode(event)
        if len(value) > MAX_EVENT_BYTES:
            raise ValueError(f"event {identifier!r} for {topic} has {len(value)} bytes, the limit is {MAX_EVENT_BYTES}")
        self._producer.produce(topic, value, identifier.encode(), wait=self._wait)
        self._producer.poll()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()


def _identifier(field: str, value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{field}: expected a string, got {value!r}")
    if not 1 <= len(value) <= _MAX_IDENTIFIER:
        raise ValueError(f"{field}: expected 1 to {_MAX_IDENTIFIER} characters, got {len(value)}")
    return value


def _time(field: str, value: int | None) -> int:
    if value is None:
        return time.time_ns() // 1_000_000
    value = _plain(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{field}: expected integer milliseconds since 1970, got {value!r}")
    _check_integer(field, value)
    return value


def _features(features: Mapping[str, Any]) -> Raw:
    if not isinstance(features, Mapping):
        raise TypeError(f"features: expected a mapping of name to value, got {type(features).__name__}")
    checked: dict[str, Any] = {}
    for name, value in features.items():
        if not isinstance(name, str):
            raise TypeError(f"features: expected names that are strings, got {name!r}")
        value = _plain(value)
        if isinstance(value, float):
            if not isfinite(value):
                if not isnan(value):
                    raise ValueError(
                        f"features.{name}: {value} cannot be sent (JSON has no infinity); send None or a number"
                    )
                value = None
        elif isinstance(value, int):
            _check_integer(f"features.{name}", value)
        elif value is not None and not isinstance(value, str):
            raise TypeError(f"features.{name}: expected a number, string, bool or None, got {type(value).__name__}")
        checked[name] = value
    return Raw(_encoder.encode(checked))


def _output(prediction: float | Mapping[str, float] | Sequence[str | int]) -> Raw:
    if isinstance(prediction, (list, tuple)):
        return _items("prediction", prediction)
    if not isinstance(prediction, Mapping):
        return Raw(_encoder.encode(_number("prediction", prediction)))
    if not prediction:
        raise ValueError("prediction: expected class name to probability, got an empty mapping")
    checked = {}
    for name, value in prediction.items():
        if not isinstance(name, str):
            raise TypeError(f"prediction: expected class names that are strings, got {name!r}")
        checked[name] = _number(f"prediction.{name}", value)
    return Raw(_encoder.encode(checked))


def _items(field: str, items: Sequence[str | int]) -> Raw:
    plain = [_plain(item) for item in items]
    for item in plain:
        if isinstance(item, bool) or not isinstance(item, (str, int)) or item == "":
            raise TypeError(f"{field}: expected item ids that are strings or integers, got {item!r}")
    if len(set(map(str, plain))) != len(plain):
        raise ValueError(f"{field}: an item is in the list twice")
    return Raw(_encoder.encode(plain))


def _gains(gains: Mapping[str, float]) -> Raw:
    checked = {}
    for item, gain in gains.items():
        if not isinstance(item, str):
            raise TypeError(f"label: expected item ids that are strings, got {item!r}")
        checked[item] = _number(f"label.{item}", gain)
        if checked[item] < 0:
            raise ValueError(f"label.{item}: expected a gain from 0 on, got {gain}")
    return Raw(_encoder.encode(checked))


def _label(label: bool | int | float | str | Sequence[str | int] | Mapping[str, float]) -> Raw:
    if isinstance(label, Mapping):
        return _gains(label)
    if isinstance(label, (list, tuple)):
        return _items("label", label)
    label = _plain(label)
    return Raw(_encoder.encode(label if isinstance(label, str) else _number("label", label)))


def _number(field: str, value: Any) -> float:
    value = _plain(value)
    if not isinstance(value, (int, float)):
        raise TypeError(f"{field}: expected a number, got {value!r}")
    if isinstance(value, int):
        _check_integer(field, value)
    elif not isfinite(value):
        raise ValueError(f"{field}: expected a finite number, got {value}")
    return value


def _check_integer(field: str, value: int) -> None:
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{field}: expected at most 64 bits, got {value.bit_length()}; send a float")


def _plain(value: Any) -> Any:
    """A numpy scalar as the Python value that it holds, without importing numpy."""
    if value is None or type(value) in (float, int, str, bool):
        return value
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    return value
