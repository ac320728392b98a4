"""What a source partition publishes of estimated performance, for each task, from events on."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest

from driftloop.events.batch import RecordBatch
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.source import SourceMonitor
from driftloop.performance.estimated.estimator import estimator_of
from driftloop.performance.estimated.fit import fit_estimators
from driftloop.profiles.columns import PREDICTION, prediction_column
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec import ModelSpec, parse_spec

HOUR = 3_600_000
START = 1_704_067_200_000
SPECS = {
    "binary": "{model: m, task: binary, features: {x: {kind: numeric}, c: {kind: categorical}}, segments: [c]}",
    "multiclass": (
        "{model: m, task: multiclass, classes: [a, b, c], features: {x: {kind: numeric}, c: {kind: categorical}}, "
        "segments: [c]}"
    ),
    "regression": (
        "{model: m, task: regression, features: {x: {kind: numeric}, c: {kind: categorical}}, segments: [c], "
        "performance: {estimate: true}}"
    ),
}


def _outputs(task: str, chance: np.random.Generator, rows: int) -> tuple[Any, Any]:
    if task == "multiclass":
        shares = chance.dirichlet([1, 1, 1], rows)
        return shares, (shares.cumsum(axis=1) < chance.random((rows, 1))).sum(axis=1)
    if task == "binary":
        scores = chance.random(rows)
        return scores, (chance.random(rows) < scores).astype(np.int64)
    values = chance.normal(0, 1, rows)
    return values, values + chance.normal(0, 0.3, rows)


class World:
    def __init__(self, task: str) -> None:
        self.spec: ModelSpec = parse_spec(SPECS[task])
        chance = np.random.default_rng(1)
        columns: dict[str, Any] = {"x": chance.normal(0, 1, 400), "c": list(chance.choice(["u", "v"], 400))}
        outputs, labels = _outputs(task, chance, 400)
        said = [tuple(row) for row in outputs.tolist()] if task == "multiclass" else outputs.tolist()
        self.reference = ReferenceProfile.build(
            self.spec,
            {**columns, PREDICTION: prediction_column(self.spec, said)},
            model_version="v1",
            estimators=fit_estimators(self.spec, columns, outputs, labels),
        )
        self.window, _ = _outputs(task, chance, 300)

    def profile(self, model_id: str, model_version: str) -> ReferenceProfile | None:
        return self.reference

    def events(self) -> list[bytes]:
        chance = np.random.default_rng(2)
        events = []
        for row, said in enumerate(self.window.tolist()):
            prediction = dict(zip("abc", said, strict=True)) if isinstance(said, list) else said
            event = {
                "prediction_id": str(row),
                "model_id": "m",
                "model_version": "v1",
                "event_time_ms": START + row % 2 * 24 * HOUR,
                "features": {"x": chance.normal(), "c": "uv"[row % 3 % 2]},
                "prediction": prediction,
            }
            events.append(msgspec.json.encode(event))
        return events


class Catalog:
    def __init__(self, world: World) -> None:
        self.world = world

    def spec(self, model_id: str) -> ModelSpec | None:
        return self.world.spec

    def profile(self, model_id: str, model_version: str) -> ReferenceProfile | None:
        return self.world.reference


@pytest.mark.parametrize("task", sorted(SPECS))
def test_windows_and_segments_of_a_batch_have_their_own_rows_estimates(task: str) -> None:
    world = World(task)
    events = world.events()
    published = []
    for cuts in ([0, 300], [0, 1, 37, 38, 250, 300]):
        monitor = SourceMonitor(0, Catalog(world), Limits(), predictions_topic="p", labels_topic="l")
        for start, stop in pairwise(cuts):
            count = stop - start
            times = [START + 48 * HOUR] * count
            monitor.take_predictions(RecordBatch("p", 0, range(start, stop), times, [b""] * count, events[start:stop]))
        partials = [partial for partial in monitor.take_partials() if partial.kind == "input"]
        published.append({(p.window_start_ms, p.segment): bytes(p.stats) for p in partials})
    assert published[0] == published[1], "the same bytes however the log was cut into batches"
    estimator = estimator_of(world.spec, world.reference)
    assert estimator is not None
    merged = {}
    for (start_ms, segment), stats in published[0].items():
        decoded = InputStats.decode(stats, world.reference.for_segment(segment), estimator)
        assert decoded.estimates.rows == decoded.rows > 0
        assert decoded.estimates.metrics(0.95)
        if segment:
            total = merged.setdefault(start_ms, estimator.new_sums())
            total.merge(decoded.estimates)
    for start_ms, total in merged.items():
        whole = InputStats.decode(published[0][start_ms, ""], world.reference, estimator)
        assert total == whole.estimates, "the segments together are all rows"
    assert len(merged) == 2
