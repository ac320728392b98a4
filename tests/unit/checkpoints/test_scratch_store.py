"""A replay within a bound of rows says what one without says, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from driftloop.checkpoints.scratch import ScratchStore
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.source import SourceMonitor
from support.one_source import OneModel, batch, logs


def replay(scratch: ScratchStore | None) -> tuple[list[object], int]:
    """Both logs in turn, in small batches; what came out, and the most rows that were in memory after a batch."""
    monitor = SourceMonitor(0, OneModel(), Limits(), predictions_topic="p", labels_topic="l", store=scratch)
    predictions, labels = logs(7, 400)
    said: list[object] = []
    most = 0
    for start in range(0, max(len(predictions), len(labels)), 20):
        monitor.take_predictions(batch("p", predictions, start, start + 20))
        monitor.take_labels(batch("l", labels, start, start + 20))
        if scratch is not None:
            scratch.bound(monitor)
            most = max(most, monitor.rows_in_memory)
        out = monitor.drain()
        said += [out.labeled, out.dead_letters, [msgspec.json.encode(part) for part in monitor.take_partials()]]
    return said, most


def test_a_bound_changes_nothing_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with ScratchStore(30) as scratch:
        said, most = replay(scratch)
        assert list(tmp_path.iterdir())
    assert said == replay(None)[0]
    assert most <= 30
    assert list(tmp_path.iterdir()) == []


def test_a_replay_that_stays_below_the_bound_uses_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with ScratchStore(10_000) as scratch:
        replay(scratch)
        assert list(tmp_path.iterdir()) == []
