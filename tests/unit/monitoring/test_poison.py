"""Whatever bytes stand in a log, what comes out is rows and dead letters, the same for every cut into batches."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.events.batch import RecordBatch
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.outputs import DEAD_LETTER_CODES
from driftloop.monitoring.source import SourceMonitor
from support import core_world, world

NOW_MS = world.START + 1000 * world.DAY
PREDICTION: dict[str, Any] = {
    "prediction_id": "a",
    "model_id": "credit",
    "model_version": "v1",
    "event_time_ms": world.START,
    "features": {"income": 1.5, "age": 3, "region": "north"},
    "prediction": 0.5,
}
LABEL: dict[str, Any] = {"prediction_id": "a", "model_id": "credit", "event_time_ms": world.START, "label": True}
DEEP = b'{"a":' * 50_000 + b"1" + b"}" * 50_000


def monitor() -> SourceMonitor:
    return SourceMonitor(0, core_world.Catalog(), Limits(), predictions_topic="predictions", labels_topic="labels")


def batch(topic: str, values: list[bytes | None], start: int = 0) -> RecordBatch:
    count = len(values)
    return RecordBatch(topic, 0, range(start, start + count), [NOW_MS] * count, [b"a"] * count, values)


def with_value(event: dict[str, Any], key: str, raw: bytes) -> bytes:
    """The event as JSON with the bytes in the place of one value."""
    return json.dumps({**event, key: "@@"}).encode().replace(b'"@@"', raw)


@pytest.mark.parametrize("key", [*PREDICTION, "unknown"])
@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (DEEP, "malformed_json"),
        (b"[" * 50_000, "malformed_json"),
        (b'"\xff\xfe"', "malformed_json"),
        (b"NaN", "malformed_json"),
        (b"-Infinity", "malformed_json"),
        (b'"\\ud800"', "malformed_json"),
        (b"", "malformed_json"),
    ],
    ids=["deep", "open", "not utf-8", "nan", "infinity", "surrogate", "cut"],
)
def test_poison_in_any_value_is_a_dead_letter(key: str, raw: bytes, code: str) -> None:
    poisoned = monitor()
    good = json.dumps({**PREDICTION, "prediction_id": "b"}).encode()
    poisoned.take_predictions(batch("predictions", [with_value(PREDICTION, key, raw), good]))
    if key in (*LABEL, "unknown"):
        poisoned.take_labels(batch("labels", [with_value(LABEL, key, raw)]))
    outputs = poisoned.drain()
    assert {letter.code for letter in outputs.dead_letters} == {code}
    assert outputs.predictions == {"credit": 1}, "what stands beside it is taken in"
    assert all(len(letter.message) < 200 for letter in outputs.dead_letters)


def mutations(event: dict[str, Any]) -> st.SearchStrategy[bytes | None]:
    """An event with some bytes changed, cut, or a value of another kind."""
    text = json.dumps(event).encode()
    anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([]) | st.just({})
    replaced = st.tuples(st.sampled_from([*event, "extra"]), anything).map(
        lambda pair: json.dumps({**event, pair[0]: pair[1]}).encode()
    )
    spliced = st.tuples(st.integers(0, len(text)), st.integers(0, 4), st.binary(max_size=4)).map(
        lambda cut: text[: cut[0]] + cut[2] + text[cut[0] + cut[1] :]
    )
    return st.none() | st.binary(max_size=40) | replaced | spliced | st.just(text)


@given(
    st.lists(
        mutations(PREDICTION).map(lambda value: ("predictions", value))
        | mutations(LABEL).map(lambda value: ("labels", value)),
        max_size=12,
    ),
    st.integers(1, 5),
)
def test_any_bytes_end_as_a_row_or_a_dead_letter(records: list[tuple[str, bytes | None]], size: int) -> None:
    found = []
    for cut in (size, 100):
        taking = monitor()
        for topic, take in (("predictions", taking.take_predictions), ("labels", taking.take_labels)):
            values = [value for of, value in records if of == topic]
            for start in range(0, len(values), cut):
                take(batch(topic, values[start : start + cut], start))
        outputs = taking.drain()
        letters = {(letter.topic, letter.offset, letter.code) for letter in outputs.dead_letters}
        assert {code for _, _, code in letters} <= set(DEAD_LETTER_CODES)
        found.append((letters, dict(outputs.predictions), dict(outputs.duplicates), sorted(outputs.labeled)))
        for _, row in outputs.labeled:
            json.loads(row)  # what goes on is JSON for the strictest reader
    assert found[0] == found[1]
