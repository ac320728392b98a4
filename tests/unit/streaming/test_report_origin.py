"""What a report says about where it comes from."""

from __future__ import annotations

import msgspec
import pytest

from driftloop.kafka.admin import BrokerError
from driftloop.settings import Settings
from driftloop.streaming import made_by as module
from driftloop.streaming.made_by import limits_of, origin_of, stamped
from support.events import input_report


def test_limits_have_the_names_of_their_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "log_ids", lambda *_: ("k", "p", "l"))
    settings = Settings(max_message_bytes=2_000, max_clock_ahead_ms=3, oldest_event_ms=4, source_partitions=5)
    origin = origin_of(settings)
    assert origin.limits == {name: getattr(settings, name) for name in origin.limits}
    assert sorted(origin.limits) == ["max_clock_ahead_ms", "max_message_bytes", "oldest_event_ms"]
    assert limits_of(settings).max_clock_ahead_ms == 3
    report = stamped(input_report(), origin)
    assert (report.source_partitions, report.limits, report.logs) == (
        5,
        {"max_message_bytes": 2_000, "max_clock_ahead_ms": 3, "oldest_event_ms": 4},
        {"cluster": "k", "predictions": "p", "labels": "l"},
    )
    older = msgspec.json.encode(input_report()).replace(b'"limits":{},', b"").replace(b'"logs":{},', b"")
    assert b"logs" not in older
    assert msgspec.json.decode(older, type=type(report)).logs == {}, "as older versions wrote it"


def test_a_broker_that_does_not_tell_keeps_nothing_from_being_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> tuple[str, ...]:
        raise BrokerError("it does not describe topics")

    monkeypatch.setattr(module, "log_ids", refuses)
    origin = origin_of(Settings())
    assert origin.logs == {}
    assert origin.limits
