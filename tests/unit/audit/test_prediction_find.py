"""Finding a prediction and its labels in blocks of records, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
import pytest

from driftloop.audit.find import AuditError, find_labels, find_prediction, partition_of
from driftloop.events.batch import RecordBatch
from driftloop.events.messages import Label, Prediction
from driftloop.streaming.placement import model_partition


def said(name: str, at_ms: int, model: str = "m") -> Prediction:
    raw = msgspec.Raw(b"{}")
    return Prediction(
        prediction_id=name, model_id=model, model_version="v1", event_time_ms=at_ms, features=raw, prediction=raw
    )


def truth(name: str, at_ms: int, revision: int = 0) -> Label:
    return Label(prediction_id=name, model_id="m", event_time_ms=at_ms, label=msgspec.Raw(b"1"), revision=revision)


def block(events: Iterable[tuple[str, Prediction | Label | bytes]], first: int, timestamp_ms: int = 0) -> RecordBatch:
    pairs = list(events)
    values = [event if isinstance(event, bytes) else msgspec.json.encode(event) for _, event in pairs]
    offsets = list(range(first, first + len(pairs)))
    keys = [key.encode() for key, _ in pairs]
    return RecordBatch("t", 0, offsets, [timestamp_ms] * len(pairs), keys, values)


class Blocks:
    """Counts how many are read."""

    def __init__(self, *blocks: RecordBatch) -> None:
        self.blocks, self.read = blocks, 0

    def __iter__(self) -> Iterator[RecordBatch]:
        for one in self.blocks:
            self.read += 1
            yield one


def test_the_newest_is_found_and_reading_ends_there() -> None:
    blocks = Blocks(
        block([("b", said("b", 30))], 4),
        block([("a", said("a", 20)), ("a", said("a", 21))], 2),
        block([("a", said("a", 10))], 0),
    )
    found = find_prediction(blocks, "a", None, None, None)
    assert found is not None
    assert (found.offset, found.event.event_time_ms, blocks.read) == (3, 21, 2)
    older = find_prediction(blocks, "a", None, None, 20)
    assert older is not None
    assert older.offset == 0


def test_reading_ends_before_the_asked_time() -> None:
    blocks = Blocks(block([("b", said("b", 30))], 2), block([("c", said("c", 10))], 1), block([("a", said("a", 5))], 0))
    assert find_prediction(blocks, "a", None, 20, None) is None
    assert blocks.read == 2


def test_what_cannot_be_read_or_is_of_another_model_is_passed_over() -> None:
    records = [("a", b"{not json"), ("a", said("a", 5, "n")), ("a", said("other", 5))]
    assert find_prediction([block(records, 0)], "a", "m", None, None) is None
    found = find_prediction([block(records, 0)], "a", None, None, None)
    assert found is not None
    assert found.event.model_id == "n"


def test_an_id_of_several_models_asks_for_one() -> None:
    with pytest.raises(AuditError, match="several models have a prediction 'a': m, n; name one by --model"):
        find_prediction([block([("a", said("a", 5)), ("a", said("a", 5, "n"))], 0)], "a", None, None, None)


def test_all_labels_are_found_and_much_older_records_not_read() -> None:
    blocks = Blocks(
        block([("a", truth("a", 9, 1))], 3, 500),
        block([("a", truth("a", 7)), ("b", truth("b", 7))], 1, 400),
        block([("c", truth("c", 1))], 0, 100),
        block([("a", truth("a", 1))], 0, 0),
    )
    found = find_labels(blocks, "a", "m", 200)
    assert [(one.offset, one.event.revision) for one in found] == [(1, 0), (3, 1)]
    assert blocks.read == 3


def test_keys_are_placed_as_models_are() -> None:
    for key in ("a", "flights-late", "é", ""):
        assert partition_of(key, 7) == model_partition(key, 7)
