from __future__ import annotations

from typing import Any

from driftloop.kafka.dead_letters import dead_letter, origin_of


def make(**fields: Any) -> Any:
    defaults = {
        "topic": "driftloop.predictions",
        "partition": 3,
        "offset": 2**40,
        "key": b"\x00k",
        "value": b"\xff{not json",
        "code": "malformed_json",
        "message": "invalid byte at 0",
        "stage": "decode",
    }
    return dead_letter(**{**defaults, **fields})


def test_bytes_stay_as_they_are_and_headers_say_why_and_whence() -> None:
    key, value, headers = make(headers=[("traceparent", b"00-1"), ("empty", None)])
    assert (key, value) == (b"\x00k", b"\xff{not json")
    assert headers[:2] == [("traceparent", b"00-1"), ("empty", None)]
    assert dict(headers) == {
        "traceparent": b"00-1",
        "empty": None,
        "__connect.errors.topic": b"driftloop.predictions",
        "__connect.errors.partition": b"3",
        "__connect.errors.offset": b"1099511627776",
        "__connect.errors.stage": b"decode",
        "__connect.errors.exception.message": b"invalid byte at 0",
        "dlq.error.code": b"malformed_json",
    }


def test_null_key_and_value_are_kept() -> None:
    key, value, _ = make(key=None, value=None)
    assert (key, value) == (None, None)


def test_a_second_failure_replaces_the_headers_of_the_first() -> None:
    _, _, first = make(headers=[("mine", b"1")])
    _, _, second = make(headers=first, offset=7, code="unknown_model")
    assert len(second) == len(first)
    origin = origin_of(second)
    assert origin is not None
    assert (origin.topic, origin.partition, origin.offset) == ("driftloop.predictions", 3, 7)
    assert (origin.stage, origin.code, origin.message) == ("decode", "unknown_model", "invalid byte at 0")


def test_long_and_broken_messages_do_not_break_the_letter() -> None:
    _, _, headers = make(message="\ud800" + "ä" * 5000)
    message = dict(headers)["__connect.errors.exception.message"]
    assert message.decode("utf-8") == "?" + "ä" * 999


def test_other_records_have_no_origin() -> None:
    assert origin_of([("traceparent", b"00-1")]) is None
    assert origin_of([("__connect.errors.topic", b"t"), ("__connect.errors.partition", b"x")]) is None
