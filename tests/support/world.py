"""A small world with a known answer: one model, thousands of predictions, delayed labels, bad input, a drift."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydantic import SecretStr

from driftloop.events.reports import WindowReport
from driftloop.kafka.admin import create_topics
from driftloop.kafka.config import client_config
from driftloop.kafka.producer import Producer
from driftloop.performance.estimated.fit import fit_estimators
from driftloop.performance.losses import reference_losses
from driftloop.profiles.columns import PREDICTION
from driftloop.profiles.reference import MetricReference, ReferenceProfile
from driftloop.registry import ArtifactStore, AssessmentStore, NewVersion, Registry, create_schema, open_engine
from driftloop.settings import Settings
from driftloop.spec import ModelSpec, load_spec, spec_digest
from driftloop.streaming.recovery import latest_progress

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_704_067_200_000  # 2024-01-01

SPEC = """
model: credit
task: binary
features:
  income: {kind: numeric}
  age: {kind: numeric}
  region: {kind: categorical}
window: 1d
label_horizon: 12h
allowed_lateness: 1h
minimum_rows: 30
segments: [region]
drift:
  numeric:
    - {method: wasserstein, threshold: 0.5}
    - {method: ks, threshold: 0.3}
    - {method: psi}
    - {method: jensen_shannon}
performance:
  rules: [{metric: roc_auc, drop: 0.1, windows: 2}]
policy:
  triggers: [{on: performance, consecutive: 4}, {on: drift, share: 0.3, consecutive: 4}]
  cooldown: 5d
  minimum_labeled_rows: 100
training:
  estimator: sklearn.linear_model.LogisticRegression
  last: 4d
  minimum_rows: 100
gates: [{gate: sanity}, {gate: loadable}, {gate: metric, metric: roc_auc, mode: better}]
"""


def write_spec(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "credit.yaml").write_text(SPEC)
    return folder


def reference_profile(spec: ModelSpec) -> ReferenceProfile:
    """What version v1 was made from: 2,000 rows."""
    chance = np.random.default_rng(7)
    income, age = chance.normal(50, 10, 2000).round(1), chance.integers(18, 80, 2000).astype(np.float64)
    columns = {
        "income": income,
        "age": age,
        "region": list(chance.choice(["north", "south"], 2000)),
        PREDICTION: 1 / (1 + np.exp(-(income - 50) / 5)),
    }
    scores = np.asarray(columns[PREDICTION], np.float64)
    truth = (chance.random(2000) < scores).astype(np.int64)
    return ReferenceProfile.build(
        spec,
        columns,
        model_version="v1",
        metrics={"roc_auc": MetricReference(value=0.8, low=0.78, high=0.82, rows=2000)},
        label_mean=0.5,
        estimators=fit_estimators(spec, columns, scores, truth),
        losses=reference_losses(spec.task, scores, truth, spec.performance.decision_threshold),
    )


def register_first_version(settings: Settings) -> None:
    """Version v1 with its reference profile; there is no artifact."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    spec = load_spec(settings.specs / "credit.yaml")
    profile = reference_profile(spec)
    engine = open_engine(settings.resolved_database_url)
    create_schema(engine)
    registry = Registry(engine, ArtifactStore(settings.resolved_artifacts))
    registry.ensure_model("credit", "binary", spec_digest(spec))
    registry.register_version(
        NewVersion(model_id="credit", version="v1", profile=profile.encode(), event_time_ms=START)
    )
    registry.promote("credit", "v1", "the first version", START)
    engine.dispose()


Event = tuple[int, str, str, bytes | None]  # arrival time, topic, key, value


def history(
    days: int, per_day: int, *, seed: int = 1, drift_from_day: int | None = None, faults: bool = True
) -> list[Event]:
    """Events in arrival order. With ``faults``: duplicates, corrections, lateness, labels first, poison."""
    chance = random.Random(seed)
    events: list[Event] = []
    for number in range(days * per_day):
        time_ms = START + number * days * DAY // (days * per_day)
        drifted = drift_from_day is not None and time_ms >= START + drift_from_day * DAY
        income, region = round(chance.gauss(50 + 15 * drifted, 10), 1), chance.choice(["north", "south"])
        score = 1 / (1 + 2.718281828 ** (-(income - 50 - 15 * drifted) / 5))
        age = chance.randrange(18, 80)
        # After the drift the truth hangs on the age, which version v1 does not look at.
        truth = chance.random() < (1 / (1 + 2.718281828 ** (-(age - 49) / 5)) if drifted else score)
        pid = f"c{number}"
        prediction = {
            "prediction_id": pid,
            "model_id": "credit",
            "model_version": "v1",
            "event_time_ms": time_ms,
            "features": {"income": income, "age": age, "region": region},
            "prediction": score,
        }
        arrives = time_ms + (chance.choice([0, 0, 0, HOUR // 2]) if faults else 0)
        events.append((arrives, "predictions", pid, json.dumps(prediction).encode()))
        known = time_ms + chance.randrange(HOUR, 8 * HOUR)
        if chance.random() < 0.9:
            event = {"prediction_id": pid, "model_id": "credit", "event_time_ms": known, "label": truth}
            events.append((known, "labels", pid, json.dumps(event).encode()))
            if faults and chance.random() < 0.1:
                corrected = {**event, "label": not truth, "revision": 1, "event_time_ms": known + HOUR}
                events.append((known + HOUR, "labels", pid, json.dumps(corrected).encode()))
        if faults and chance.random() < 0.05:
            events.append((arrives + HOUR, "predictions", pid, json.dumps(prediction).encode()))
        if faults and chance.random() < 0.01:
            events.append((arrives, chance.choice(["predictions", "labels"]), pid, chance.choice([None, b"{", b"[]"])))
    events.sort(key=lambda event: event[0])
    return events


def end_of_time(partitions: int | Settings, days: int) -> list[Event]:
    """Events two days later in every partition, so that every window before them becomes final."""
    later = START + (days + 2) * DAY
    events: list[Event] = []
    count = partitions if isinstance(partitions, int) else partitions.source_partitions
    for number in range(60 * count):
        pid = f"end{number}"
        prediction = {
            "prediction_id": pid,
            "model_id": "credit",
            "model_version": "v1",
            "event_time_ms": later,
            "features": {"income": 50.0, "age": 40, "region": "north"},
            "prediction": 0.5,
        }
        label = {"prediction_id": pid, "model_id": "credit", "event_time_ms": later, "label": True}
        events.append((later, "predictions", pid, json.dumps(prediction).encode()))
        events.append((later, "labels", pid, json.dumps(label).encode()))
    return events


@contextmanager
def publisher(settings: Settings) -> Iterator[Callable[[list[Event]], None]]:
    """Publishes piece by piece; each is written when the call returns. A new producer waits half a second for the
    broker to give it its id, so there is one for all pieces."""
    with Producer(client_config(settings)) as producer:

        def publish(events: list[Event]) -> None:
            for _, topic, key, value in events:
                producer.produce(f"{settings.topic_prefix}.{topic}", value, key.encode())
            producer.flush()

        yield publish


def publish(settings: Settings, events: list[Event]) -> None:
    with publisher(settings) as publish_all:
        publish_all(events)


class Process:
    """A driftloop process of the test's own, with the settings as its environment and a bounded life."""

    def __init__(
        self,
        settings: Settings,
        *command: str,
        log: Path,
        life_s: int = 240,
        module: str = "driftloop",
        **environment: str,
    ) -> None:
        own = {
            f"DRIFTLOOP_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in settings.model_dump(exclude_none=True, exclude={"topics"}).items()
        }
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                ["timeout", "-k", "5", str(life_s), sys.executable, "-m", module, *command],
                # The folder of the tests is where a module of the tests' own is found.
                env={**os.environ, **own, **environment, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL, as a machine that loses power."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        """To the driftloop process alone; ``timeout``, its parent, would end it hard soon after handing one on."""
        parent = self.process.pid
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            os.kill(int(child), number)

    def stop(self, timeout_s: float = 30) -> int:
        """SIGTERM (which ``timeout`` hands on), and wait for the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def text(self) -> str:
        return self.log.read_text(errors="replace")[-6000:]


def prepare(settings: Settings) -> None:
    write_spec(settings.specs)
    create_topics(settings)
    register_first_version(settings)


def final_reports(settings: Settings) -> dict[str, WindowReport]:
    engine = open_engine(settings.resolved_database_url)
    reports = AssessmentStore(engine).reports(limit=None)
    engine.dispose()
    return {report.report_id: report for report in reports if report.status == "final"}


def taken_in(settings: Settings) -> int:
    """Records that the published progress has passed."""
    progress = latest_progress(client_config(settings), settings.topics.monitor_progress).values()
    return sum(one.predictions_offset + one.labels_offset for one in progress)


def wait_for(what: str, condition: Callable[[], bool], process: Process | None = None, timeout_s: float = 90) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if process is not None and process.process.poll() is not None:
            raise AssertionError(f"the process ended while waiting for {what}:\n{process.text()}")
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s for {what}" + (f":\n{process.text()}" if process else ""))
        time.sleep(0.1)
