"""What stands on a topic of driftloop's own and is none of its events stops nobody."""

from __future__ import annotations

import msgspec
import pytest

from driftloop.events.batch import RecordBatch
from driftloop.events.decisions import ModelEvent
from driftloop.events.messages import SourceProgress
from driftloop.kafka.log_reader import Record
from driftloop.observability.metrics import Metrics
from driftloop.settings import Settings
from driftloop.streaming.models_view import ModelsView
from driftloop.streaming.partials import readable_partials

FOREIGN = [b"", b"{", b"[]", b"\xff", b'{"type": "\xff"}', b'{"a":' * 100_000, b'{"type": "other"}', b"null"]
PROGRESS = SourceProgress(
    source_partition=0,
    predictions_offset=0,
    predictions_max_ms=0,
    labels_offset=0,
    labels_max_ms=0,
    restart_predictions_offset=0,
    restart_predictions_max_ms=0,
    restart_labels_offset=0,
    restart_labels_max_ms=0,
)


def test_the_assessor_takes_what_monitors_wrote_and_skips_the_rest() -> None:
    values = [*FOREIGN, msgspec.json.encode(PROGRESS), None]
    count = len(values)
    batch = RecordBatch("window-partials", 0, range(count), [0] * count, [None] * count, values)
    messages, letters = readable_partials(batch, 1)
    assert messages == [(len(FOREIGN), PROGRESS)]
    assert [letter.value for letter in letters] == FOREIGN


def test_a_model_event_that_is_none_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    event = ModelEvent(
        event_id="e", kind="promoted", model_id="m", model_version="v1", event_time_ms=0, command_id=None, gates=[]
    )

    class Tail:
        def poll(self, timeout_s: float) -> list[Record]:
            return [
                Record(0, at, 0, None, value, []) for at, value in enumerate([*FOREIGN, msgspec.json.encode(event)])
            ]

    class Nothing:
        def champion(self, model_id: str) -> None: ...

        def challenger(self, model_id: str) -> None: ...

    seen: list[str] = []
    metrics = Metrics()
    monkeypatch.setattr(metrics, "observe_model_event", lambda event: seen.append(event.event_id))
    view = ModelsView(Settings(), Nothing(), Nothing(), metrics)  # type: ignore[arg-type]
    view._tail, view._models = Tail(), {"m"}  # type: ignore[assignment]
    view.refresh()
    assert seen == ["e"]
