"""Each task from events to reports with everything switched on that looks at a window, and with everything that goes
wrong: corrections, late rows, gaps, strange categories, records that cannot be read, a day without rows, two versions.

The same history is read in several ways: other batches, other orders of the partitions, an assessor that starts anew
again and again from what is stored, and as a replay reads it. All must say the same, to the last byte.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from driftloop.events.batch import RecordBatch
from driftloop.events.messages import PartialMessage
from driftloop.events.reports import WindowReport
from driftloop.judging.assessor import Assessor, Lookups
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.source import SourceMonitor
from driftloop.performance.estimated.fit import fit_estimators
from driftloop.performance.losses import reference_losses
from driftloop.performance.pointwise import evaluate_model
from driftloop.profiles.columns import PREDICTION
from driftloop.profiles.reference import MetricReference, ReferenceProfile
from driftloop.spec import ModelSpec, parse_spec
from driftloop.spec.concept import DETECTORS
from support.core_world import Logs, Stored, logs_of
from support.world import DAY, HOUR, START, Event

CLASSES = ["red", "green", "blue"]
DAYS = 8
EMPTY_DAYS = (4,)

COMMON = """
model: credit
features:
  amount: {kind: numeric, minimum: 0, max_violations: 0.5}
  age: {kind: numeric}
  region: {kind: categorical, categories: [north, south, east]}
  kind: {kind: categorical}
  place: {kind: vector, length: 3}
  remark: {kind: text}
window: 1d
label_horizon: 12h
late_retention: 1d
allowed_lateness: 1h
minimum_rows: 20
segments: [region, [kind, region]]
sliding: [2d]
drift:
  references: [{name: training}, {name: rolling, windows: 2}, {name: seasonal, period: 2d, periods: 2}]
  critical_times: 2
  numeric: [{method: wasserstein, threshold: 0.25}, {method: ks}, {method: psi}]
  multivariate:
    methods: [{method: correlation_change, threshold: 0.2}]
    vector: [{method: centroid_shift, threshold: 0.5}]
    text: []
    sample_rows: 50
alerts: {open_after: 2, open_within: 3, resolve_after: 1}
"""
#: Lists have no loss to be watched.
CONCEPT = """
concept:
  bins: 6
  detectors: [DETECTORS]
""".replace("DETECTORS", ", ".join(f"{{detector: {name}}}" for name in DETECTORS))

BINARY = """
task: binary
performance:
  exact_rows: 60
  estimate: true
  value: {tp: 1.0, fp: -1.0, column: amount}
  fairness: [{column: region, bounds: {demographic_parity_difference: 0.2}}]
  rules:
    - {metric: roc_auc, drop: 0.05, windows: 3}
    - {metric: accuracy, drop: 0.05, critical: 0.2}
    - {metric: accuracy, drop: 0.05, estimated: true}
policy:
  triggers: [{on: performance}, {on: drift, share_weighted: 0.3}, {on: concept}, {on: estimated_performance}]
  cooldown: 2d
  minimum_labeled_rows: 50
training: {since_change: true}
"""
MULTICLASS = """
task: multiclass
classes: [red, green, blue]
performance: {rules: [{metric: accuracy, drop: 0.05, windows: 2}, {metric: log_loss, drop: 0.1, estimated: true}]}
"""
REGRESSION = """
task: regression
performance:
  estimate: true
  metrics: [mae, rmse, r2, pinball_0.9, msle]
  rules: [{metric: mae, drop: 0.3, relative: true, windows: 2}, {metric: rmse, drop: 0.2, estimated: true}]
"""
RANKING = """
task: ranking
performance: {cutoffs: [3, 5], rules: [{metric: ndcg_3, drop: 0.05, windows: 2}]}
"""
TASKS = {"binary": BINARY, "multiclass": MULTICLASS, "regression": REGRESSION, "ranking": RANKING}


def spec_of(task: str) -> ModelSpec:
    return parse_spec(COMMON + TASKS[task] + ("" if task == "ranking" else CONCEPT))


def said_and_true(task: str, chance: random.Random, signal: float) -> tuple[Any, Any]:
    """A prediction and a label."""
    if task == "binary":
        return round(1 / (1 + 2.718281828**-signal), 3), int(chance.random() < 1 / (1 + 2.718281828**-signal))
    if task == "multiclass":
        first = round(1 / (1 + 2.718281828**-signal) * 0.8 + 0.1, 3)
        said = {"red": first, "green": round(1 - first, 3) / 2, "blue": round(1 - first, 3) / 2}
        return said, chance.choices(CLASSES, list(said.values()))[0]
    if task == "regression":
        return round(signal, 2), signal + chance.gauss(0, 1)
    items = [f"i{number}" for number in range(6)]
    chance.shuffle(items)
    return items, {item: 1.0 for item in items[:3] if chance.random() < 0.6}


def reference(spec: ModelSpec, version: str) -> ReferenceProfile:
    chance, rows = random.Random(version), 400
    signal = [chance.gauss(0, 1.5) for _ in range(rows)]
    columns: dict[str, Any] = {
        "amount": np.array([value * 10 for value in signal]),
        "age": np.array([float(chance.randrange(18, 80)) for _ in signal]),
        "region": [chance.choice(["north", "south", None]) for _ in signal],
        "kind": [chance.choice(["a", "b"]) for _ in signal],
        "place": np.array([[chance.gauss(0, 1) for _ in range(3)] for _ in signal]),
        "remark": [chance.choice(["all is well", "late again", "please call"]) for _ in signal],
    }
    pairs = [said_and_true(spec.task, chance, value) for value in signal]
    more: dict[str, Any] = {}
    if spec.task == "ranking":
        columns[PREDICTION] = [items[0] for items, _ in pairs]
        more["metrics"] = {"ndcg_3": MetricReference(value=0.9, low=0.88, high=0.92, rows=rows)}
    else:
        if spec.task == "multiclass":
            said = np.array([[row[name] for name in CLASSES] for row, _ in pairs])
            truth = np.array([CLASSES.index(label) for _, label in pairs])
            columns[PREDICTION] = [CLASSES[index] for index in said.argmax(axis=1)]
        else:
            said, truth = (np.array(values) for values in zip(*pairs, strict=True))
            columns[PREDICTION] = said
        weights = np.asarray(columns["amount"]) if spec.task == "binary" else None
        found = evaluate_model(spec, said, truth, weights)
        more["metrics"] = {
            name: MetricReference(value=metric.value, low=metric.low, high=metric.high, rows=metric.rows)
            for name, metric in found.items()
            if metric.value is not None
        }
        more["label_mean"] = float(np.mean(truth)) if spec.task != "multiclass" else 0.0
        more["estimators"] = fit_estimators(spec, columns, said, truth)
        more["losses"] = reference_losses(spec.task, said, truth, 0.5)
    return ReferenceProfile.build(spec, columns, model_version=version, importances={"amount": 1.0, "age": 0.2}, **more)


def history(task: str, per_day: int = 70, seed: int = 5) -> list[Event]:
    chance = random.Random(seed)
    events: list[Event] = []

    def put(arrives: int, topic: str, name: str, event: Any) -> None:
        events.append((arrives, topic, name, event if isinstance(event, bytes) else json.dumps(event).encode()))

    for number in range(DAYS * per_day):
        time_ms = START + number * DAY // per_day
        day = number // per_day
        if day in EMPTY_DAYS and number % 7:
            continue
        name = f"p{number}"
        signal = chance.gauss(0.5 * (day > 5), 1.5)
        said, truth = said_and_true(task, chance, signal)
        features = {
            "amount": chance.choice([signal * 10, signal * 10, None, 1e308]),
            "age": chance.randrange(18, 80),
            "region": chance.choice(["north", "south", "south", "east", f"new{number}", None]),
            "kind": chance.choice(["a", "b"]),
            "place": [chance.gauss(0, 1) for _ in range(3)] if chance.random() < 0.9 else None,
            "remark": chance.choice(["all is well", "something new", "", None]),
        }
        if chance.random() < 0.05:
            features["extra"] = 1
        event = {
            "prediction_id": name,
            "model_id": "credit",
            "model_version": "v1" if day < 3 or chance.random() < 0.3 else "v2",
            "event_time_ms": time_ms,
            "features": features,
            "prediction": said,
        }
        if chance.random() < 0.03:
            event["features"] = {**features, "age": "old"}
        # A few come a day late, and all of the empty day: their window is final by then.
        arrives = time_ms + (30 * HOUR if day in EMPTY_DAYS or chance.random() < 0.04 else 0)
        put(arrives, "predictions", name, event)
        if chance.random() < 0.05:
            put(arrives + HOUR // 2, "predictions", name, event)
        if chance.random() < 0.9:
            known = time_ms + chance.randrange(HOUR, 8 * HOUR)
            label = {"prediction_id": name, "model_id": "credit", "event_time_ms": known, "label": truth}
            put(max(known, arrives), "labels", name, label)
            if chance.random() < 0.2:
                corrected = {**label, "label": said_and_true(task, chance, -signal)[1], "revision": 1}
                corrected["event_time_ms"] = known + HOUR
                # Some corrections come when the window has been judged.
                put(known + chance.choice([HOUR, 40 * HOUR]), "labels", name, corrected)
        if chance.random() < 0.02:
            put(arrives, chance.choice(["predictions", "labels"]), name, chance.choice([b"{", b"[]"]))
    events.sort(key=lambda item: item[0])
    later = START + (DAYS + 3) * DAY
    for number in range(60):
        name = f"end{number}"
        said, truth = said_and_true(task, chance, 0.0)
        put(later, "predictions", name, {
            "prediction_id": name, "model_id": "credit", "model_version": "v2", "event_time_ms": later,
            "features": {}, "prediction": said,
        })  # fmt: skip
        put(
            later, "labels", name, {"prediction_id": name, "model_id": "credit", "event_time_ms": later, "label": truth}
        )
    return events


class Model:
    """A spec and its two versions."""

    def __init__(self, task: str) -> None:
        self.given = spec_of(task)
        # As workers have them: encoded and decoded.
        self.profiles = {
            version: ReferenceProfile.decode(reference(self.given, version).encode()) for version in ("v1", "v2")
        }

    def spec(self, model_id: str) -> ModelSpec | None:
        return self.given if model_id == "credit" else None

    def profile(self, model_id: str, model_version: str) -> ReferenceProfile | None:
        return self.profiles.get(model_version)


class Kept(Stored):
    """What a database would hold of a model with two versions."""

    model: Model

    def assessor(self, partitions: int) -> Assessor:
        return Assessor(
            {"credit": self.model.given},
            partitions,
            Lookups(lambda _, version: self.model.profiles[version], self.states.get, self.final),
            start_offset=self.restart_offset,
            progress=self.progress,
        )


def read(
    model: Model,
    logs: Logs,
    seed: int,
    *,
    restart: Callable[[random.Random], bool] = lambda _: False,
    final_only: bool = False,
    batches: tuple[int, ...] = (1, 50, 200),
    advance: float = 0.5,
) -> Kept:
    """Monitors and assessor in random steps; ``restart`` says when the assessor starts anew from what is stored."""
    chance, partitions = random.Random(seed), len(logs) // 2
    monitors = [
        SourceMonitor(at, model, Limits(), predictions_topic="predictions", labels_topic="labels")
        for at in range(partitions)
    ]
    at = dict.fromkeys(logs, 0)
    partials: list[PartialMessage] = []
    stored = Kept()
    stored.model = model
    assessor = stored.assessor(partitions)
    while at:
        topic, partition = chance.choice(list(at))
        values = logs[topic, partition]
        start = at[topic, partition]
        stop = min(len(values), start + chance.choice(batches))
        monitor = monitors[partition]
        if start < stop:
            count, recorded = stop - start, START + 1000 * DAY
            batch = RecordBatch(
                topic, partition, range(start, stop), [recorded] * count, [b""] * count, values[start:stop]
            )
            (monitor.take_predictions if topic == "predictions" else monitor.take_labels)(batch)
            at[topic, partition] = stop
        else:
            del at[topic, partition]
        # As it is read from the topic.
        partials += [
            msgspec.json.decode(msgspec.json.encode(message), type=PartialMessage)
            for message in (*monitor.take_partials(final_only=final_only), monitor.progress())
        ]
        if chance.random() < advance or not at:
            if restart(chance):
                assessor = stored.assessor(partitions)
            assessor.take(list(enumerate(partials))[assessor.next_offset :])
            if chance.random() < 0.1:
                assessor.open_reports(2)  # changes nothing
            stored.commit(assessor)
    return stored


def told(stored: Kept) -> tuple[dict[str, bytes], dict[str, bytes], list[bytes], list[bytes]]:
    finals = [report for report, _ in stored.judged.reports if report.status == "final"]
    reports = {report.report_id: msgspec.json.encode(report) for report in finals}
    assert len(reports) == len(finals), "a final report was given twice"
    return (
        dict(sorted(reports.items())),
        dict(sorted((alert.event_id, msgspec.json.encode(alert)) for alert in stored.judged.alerts)),
        [msgspec.json.encode(decision) for decision in stored.judged.decisions],
        [msgspec.json.encode(command) for command in stored.judged.commands],
    )


def differences(mine: dict[str, bytes], theirs: dict[str, bytes]) -> list[str]:
    found = [f"{name} on one side alone" for name in mine.keys() ^ theirs.keys()]
    for name in mine.keys() & theirs.keys():
        if mine[name] != theirs[name]:
            one, other = msgspec.json.decode(mine[name]), msgspec.json.decode(theirs[name])
            found.append(f"{name}: {[key for key in one if one[key] != other.get(key)]}")
    return sorted(found)


@pytest.fixture(scope="module", params=list(TASKS))
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(task: str) -> Model:
    return Model(task)


@pytest.fixture(scope="module")
def logs(task: str) -> Logs:
    return logs_of(history(task), 2)


@pytest.fixture(scope="module")
def once(model: Model, logs: Logs) -> Kept:
    return read(model, logs, 0)


def test_batches_orders_restarts_and_replay_say_the_same(model: Model, logs: Logs, once: Kept) -> None:
    expected = told(once)
    ways = {
        "starts anew before each step": read(model, logs, 2, restart=lambda _: True),
        "all at once": read(model, logs, 3, batches=(100_000,), advance=0.0),
        "as a replay": read(model, logs, 4, final_only=True, batches=(300,), advance=1.0),
    }
    for name, stored in ways.items():
        mine = told(stored)
        assert not differences(mine[0], expected[0]), name
        assert not differences(mine[1], expected[1]), name
        assert mine[2:] == expected[2:], name
        # Decoded: the order of keys tells whether inputs or outcomes came first.
        assert msgspec.json.decode(stored.states["credit"]) == msgspec.json.decode(once.states["credit"]), name


def test_each_part_of_a_report_is_there(task: str, once: Kept) -> None:
    finals = [report for report, _ in once.judged.reports if report.status == "final"]
    restated = [report for report, _ in once.judged.reports if report.status == "restated"]
    panes = [report for report in finals if not report.sliding and not report.segment and report.rows]
    inputs = [report for report in panes if report.kind == "input" and report.window_end_ms <= START + DAYS * DAY]
    outcomes = [report for report in panes if report.kind == "outcome" and report.window_end_ms <= START + DAYS * DAY]
    assert {report.model_version for report in panes} == {"v1", "v2"}
    assert {report.kind for report in restated} == {"input", "outcome"}
    assert {report.sliding for report in finals} == {"", "2d"}
    empty = {report.report_id for report in finals if not report.rows and not report.sliding}
    assert any(report.report_id in empty for report in restated), "late rows of a day that was empty"
    for report in [*inputs, *(report for report in restated if report.kind == "input" and not report.segment)]:
        assert report.multivariate or report.rows < 50
        assert bool(report.estimated) == (task != "ranking"), report.report_id
    for report in outcomes:
        assert report.metrics
        assert report.labels is not None
        assert bool(report.comparisons) == (task != "ranking") or report.rows < 20
    watched = [report for report in outcomes if report.concept]
    assert watched
    if task != "ranking":
        states = {said.state for report in watched for said in report.concept}
        assert states & {"ok", "warning", "drift"}
    assert all(isinstance(report, WindowReport) for report in restated)
