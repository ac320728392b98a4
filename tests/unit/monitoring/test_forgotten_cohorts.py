"""What a monitor has forgotten is gone from memory too, however long the stream is."""

from __future__ import annotations

import gc
import weakref

import pytest

from driftloop.events.batch import RecordBatch
from driftloop.monitoring import state
from driftloop.monitoring.cohort import Cohort
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.source import SourceMonitor
from support import core_world, world

DAYS, PER_DAY, BATCH = 20, 40, 40


class Watched(Cohort):
    __slots__ = ("__weakref__",)


def test_cohorts_and_their_rows_leave_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Watched]] = []

    def watched(*arguments: object) -> Watched:
        cohort = Watched(*arguments)  # type: ignore[arg-type]
        made.append(weakref.ref(cohort))
        return cohort

    monkeypatch.setattr(state, "Cohort", watched)
    monitor = SourceMonitor(0, core_world.Catalog(), Limits(), predictions_topic="predictions", labels_topic="labels")
    logs = core_world.logs_of(world.history(DAYS, PER_DAY, faults=False), 1)
    for start in range(0, DAYS * PER_DAY, BATCH):
        for topic, take in (("predictions", monitor.take_predictions), ("labels", monitor.take_labels)):
            values = logs[topic, 0][start : start + BATCH]
            count = len(values)
            record_time = world.START + 1000 * world.DAY
            take(RecordBatch(topic, 0, range(start, start + count), [record_time] * count, [b""] * count, values))
        list(monitor.take_partials())
        monitor.drain()
    gc.collect()
    assert len(made) == DAYS
    assert sum(cohort() is not None for cohort in made) <= 3
