"""Copies of events change nothing, however late they come."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from driftloop.client import subscribers
from driftloop.client.subscribers import AlertSubscriber, ModelSubscriber
from driftloop.kafka.log_reader import Record
from support.events import alert, model_event


class FakeReader:
    """A topic of which each poll gives the next records."""

    def __init__(self, *_: Any) -> None:
        self.polls: list[list[Record]] = []
        self.caught_up = True

    def poll(self, timeout_s: float) -> list[Record]:
        return self.polls.pop(0)

    def close(self) -> None: ...

    def hold(self, *events: Any) -> None:
        values = [msgspec.json.encode(event) for event in events]
        self.polls.append([Record(0, at, 0, None, value, [], "t") for at, value in enumerate(values)])


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscribers, "TailReader", FakeReader)


def change(number: int, kind: str = "promoted") -> Any:
    return msgspec.structs.replace(model_event(kind, f"v{number}"), event_id=f"{kind} {number}")


def test_a_copy_of_an_old_promotion_never_brings_the_old_champion_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscribers, "_REMEMBERED_IDS", 3)
    follower = ModelSubscriber("nowhere:1", "flights-late")
    fake: Any = follower._reader
    others = [change(number, "registered") for number in range(9)]
    fake.hold(change(1), *others, change(2), *others, change(3, "rolled_back"))
    fake.hold(change(1), change(2), change(3, "rolled_back"))
    assert [event.model_version for event in follower.poll() if event.kind != "registered"] == ["v1", "v2", "v3"]
    assert follower.poll() == []
    champion = follower.current()
    assert champion is not None
    assert champion.model_version == "v3"


def test_of_other_events_the_last_ids_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscribers, "_REMEMBERED_IDS", 3)
    follower = AlertSubscriber("nowhere:1")
    fake: Any = follower._reader
    events = [alert(alert_id=f"a{number}") for number in range(9)]
    fake.hold(events[0], events[0], *events)
    fake.hold(*events[-3:])
    assert follower.poll() == events
    assert follower.poll() == []
    assert len(follower._seen) == 3
