"""Follows model events and alerts. Every subscriber sees every event; nothing is committed."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, Literal, Protocol, TypeVar

import msgspec

from driftloop.client.connection import connection
from driftloop.events.decisions import ModelEvent
from driftloop.events.decoding import UNDECODABLE
from driftloop.events.messages import Alert
from driftloop.events.topics import DEFAULT_PREFIX, Topics
from driftloop.kafka.config import ClientConfig
from driftloop.kafka.log_reader import LogReadError
from driftloop.kafka.tail_reader import TailReader

__all__ = ["AlertSubscriber", "ModelSubscriber"]

log = logging.getLogger(__name__)

#: Event ids remembered to drop what the at-least-once relay wrote twice; repeats come close together. Of changes of
#: champions, which are few and lead back to an old version if they are taken for new, every id is remembered.
_REMEMBERED_IDS = 10_000

#: Events after which another version serves.
_CHAMPION_CHANGES = frozenset({"promoted", "rolled_back"})


class _Event(Protocol):
    @property
    def event_id(self) -> str: ...

    @property
    def model_id(self) -> str: ...


EventT = TypeVar("EventT", bound=_Event)


class _Subscriber(Generic[EventT]):
    """Events of one topic, of one model or all, each once, in the order in which they were written per model."""

    def __init__(
        self,
        broker: str | ClientConfig,
        topic: str,
        event_type: type[EventT],
        model_id: str | None,
        start: Literal["beginning", "end"],
    ) -> None:
        self._topic = topic
        self._model_id = model_id
        self._decoder = msgspec.json.Decoder(event_type)
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._seen_for_good: set[str] = set()
        self._reader = TailReader(connection(broker), [topic], start)

    @property
    def caught_up(self) -> bool:
        """Whether everything written so far was handed out."""
        return self._reader.caught_up

    def poll(self, timeout_s: float = 0.5) -> list[EventT]:
        """Events that came; empty after ``timeout_s`` without any. What cannot be read is logged and left out.

        Raises ``LogReadError`` if the topic cannot be read any more; a broker that is away for a while is waited for.
        """
        events: list[EventT] = []
        for record in self._reader.poll(timeout_s):
            if record.value is None:
                continue
            try:
                event = self._decoder.decode(record.value)
            except UNDECODABLE as error:
                place = f"{self._topic}[{record.partition}] offset {record.offset}"
                log.warning("%s cannot be read as an event and is left out: %s", place, error)
                continue
            if (self._model_id is None or event.model_id == self._model_id) and self._is_new(event):
                events.append(event)
        return events

    def _is_new(self, event: EventT) -> bool:
        if event.event_id in self._seen or event.event_id in self._seen_for_good:
            return False
        if self._lasts(event):
            self._seen_for_good.add(event.event_id)
            return True
        self._seen[event.event_id] = None
        if len(self._seen) > _REMEMBERED_IDS:
            self._seen.popitem(last=False)
        return True

    def _lasts(self, event: EventT) -> bool:
        """Whether a copy of the event would do harm however late it comes."""
        return False

    def __iter__(self) -> Iterator[EventT]:
        """Events as they come, for ever."""
        while True:
            yield from self.poll()

    def close(self) -> None:
        self._reader.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _catch_up(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not self.caught_up:
            self.poll(0.2)
            if time.monotonic() > deadline:
                raise LogReadError(
                    f"{self._topic} is not read to its end within {timeout_s:g} s: check that the broker is up"
                )


class ModelSubscriber(_Subscriber[ModelEvent]):
    """Which version of a model should serve, and every change of it.

    A service calls :meth:`current` once, loads that artifact, and then now and then :meth:`poll`: an event whose kind
    is ``promoted`` or ``rolled_back`` names the version (and its artifact) that serves from now on.
    """

    def __init__(
        self, broker: str | ClientConfig, model_id: str | None = None, topic_prefix: str = DEFAULT_PREFIX
    ) -> None:
        """``model_id`` None follows all models."""
        self._champions: dict[str, ModelEvent] = {}
        super().__init__(broker, Topics(topic_prefix).model_events, ModelEvent, model_id, "beginning")

    def poll(self, timeout_s: float = 0.5) -> list[ModelEvent]:
        events = super().poll(timeout_s)
        for event in events:
            if event.kind in _CHAMPION_CHANGES:
                self._champions[event.model_id] = event
        return events

    def _lasts(self, event: ModelEvent) -> bool:
        return event.kind in _CHAMPION_CHANGES

    def current(self, model_id: str | None = None, timeout_s: float = 30.0) -> ModelEvent | None:
        """The event that made the champion of now, None if there is none: reads on to the topic's end.

        Events read on the way are not given by :meth:`poll` again. ``model_id`` may be left out if the subscriber
        follows one model. Raises ``LogReadError`` if the end is not reached within ``timeout_s``.
        """
        name = model_id or self._model_id
        if name is None:
            raise ValueError("current() of a subscriber to all models needs a model_id")
        self._catch_up(timeout_s)
        return self._champions.get(name)

    def __enter__(self) -> ModelSubscriber:
        return self


class AlertSubscriber(_Subscriber[Alert]):
    """Alerts that open, go on and resolve, from now on or from the beginning."""

    def __init__(
        self,
        broker: str | ClientConfig,
        model_id: str | None = None,
        topic_prefix: str = DEFAULT_PREFIX,
        start: Literal["beginning", "end"] = "end",
    ) -> None:
        """``model_id`` None follows all models."""
        super().__init__(broker, Topics(topic_prefix).alerts, Alert, model_id, start)

    def __enter__(self) -> AlertSubscriber:
        return self
