"""The true topology: publish, wait for the alert, the command and the new version; every dashboard query on the way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from driftloop.events.decisions import ModelEvent
from driftloop.kafka.embedded import EmbeddedBroker, free_port
from driftloop.registry import ArtifactStore, AssessmentStore, Registry, open_engine
from driftloop.replay.published import read_events
from driftloop.settings import Settings
from integration.test_dashboard import BUILT_IN, RULES, panel_queries
from support import world
from support.own_settings import own_settings
from support.prometheus import PrometheusServer

pytestmark = [pytest.mark.broker, pytest.mark.slow]


class RunningSystem:
    """A worker and a trainer that have carried out one retrain command, and a Prometheus that watched them."""

    def __init__(self, settings: Settings, prometheus: PrometheusServer) -> None:
        self.settings = settings
        self.prometheus = prometheus
        engine = open_engine(settings.resolved_database_url)
        self.store = AssessmentStore(engine)
        self.registry = Registry(engine, ArtifactStore(settings.resolved_artifacts))


@pytest.fixture(scope="module")
def system(embedded_broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    folder = tmp_path_factory.mktemp("loop")
    settings = own_settings(
        embedded_broker.bootstrap,
        "loop",
        folder,
        specs=folder / "specs",
        metrics_port=free_port(),
        web_port=free_port(),
        publish_interval_ms=200,
    )
    world.prepare(settings)
    trainer_settings = settings.model_copy(update={"metrics_port": free_port()})
    targets = {
        "driftloop-worker": f"127.0.0.1:{settings.metrics_port}",
        "driftloop-trainer": f"127.0.0.1:{trainer_settings.metrics_port}",
    }
    worker = world.Process(settings, "worker", log=folder / "worker.log")
    trainer = world.Process(trainer_settings, "trainer", log=folder / "trainer.log")
    try:
        with PrometheusServer(folder, targets, rules=[RULES]) as prometheus:
            running = RunningSystem(settings, prometheus)
            # The last day makes those before it final, so the newest windows have rows and the panels their numbers.
            events = world.history(15, 600, drift_from_day=6)
            # Half of it before the first samples and half after, so that rates have something to show.
            world.publish(settings, events[: len(events) // 3])
            world.wait_for("reports", lambda: bool(world.final_reports(settings)), worker)
            prometheus.wait_for("driftloop_predictions_total > 0", 20)
            world.publish(settings, events[len(events) // 3 :])
            world.wait_for("a command", lambda: bool(running.store.commands("credit")), worker)
            world.wait_for("its outcome", lambda: bool(outcomes(settings)), trainer)
            prometheus.wait_for("driftloop_training_duration_seconds_count > 0", 20)
            yield running
        assert worker.stop() == 0, worker.text()
        assert trainer.stop() == 0, trainer.text()
    finally:
        for process in (worker, trainer):
            if process.process.poll() is None:
                process.kill()


def outcomes(settings: Settings) -> list[ModelEvent]:
    return [
        event
        for event in read_events(settings, settings.topics.model_events, ModelEvent)
        if event.command_id and event.kind != "registered"
    ]


def test_a_drift_ends_in_a_promoted_challenger(system: RunningSystem) -> None:
    opened = [alert for alert in system.store.alert_log("credit", limit=1000) if alert.state == "opened"]
    day_of_drift = world.START + 6 * world.DAY
    assert {alert.subject for alert in opened if not alert.segment} >= {"income", "roc_auc@2"}
    assert all(alert.window_end_ms > day_of_drift for alert in opened), [alert.message for alert in opened]
    command = system.store.commands("credit")[-1]
    assert command.champion_version == "v1"
    assert day_of_drift < command.window_end_ms <= day_of_drift + 5 * world.DAY
    outcome = outcomes(system.settings)[0]
    assert (outcome.kind, outcome.model_version, outcome.command_id) == ("promoted", "v2", command.command_id)
    champion = system.registry.champion("credit")
    assert champion is not None
    assert champion.version == "v2"
    assert len(champion.gates) == 3
    assert all(gate.passed for gate in champion.gates), [gate.sentence for gate in champion.gates]


def test_no_alert_names_a_feature_that_did_not_change(system: RunningSystem) -> None:
    subjects = {alert.subject for alert in system.store.alert_log("credit", limit=1000) if alert.kind == "drift"}
    assert subjects <= {"income", "features", "@prediction"}


def test_bad_records_are_counted_with_their_reason(system: RunningSystem) -> None:
    found = {
        series["metric"]["reason"]: float(series["value"][1])
        for series in system.prometheus.query("sum by (reason) (driftloop_dead_letters_total) > 0")
    }
    assert found.keys() >= {"null_value", "malformed_json", "invalid_event"}


@pytest.mark.parametrize(("title", "expression"), panel_queries(), ids=lambda value: value.replace(" ", "-")[:40])
def test_every_panel_shows_something_of_the_running_system(system: RunningSystem, title: str, expression: str) -> None:
    values = {**BUILT_IN, "model": "credit", "version": ".+", "metric": ".+"}
    filled = re.sub(r"\$(\w+)", lambda match: values[match.group(1)], expression)
    series = system.prometheus.wait_for(filled, 15)
    numbers = [float(one["value"][1]) for one in series]
    assert not np.isnan(numbers).all(), f"{title}: {filled} gives no number"


def test_every_rule_is_evaluated_on_the_running_system(system: RunningSystem) -> None:
    system.prometheus.wait_for("driftloop_model_info", 10)
    broken = [(rule["name"], rule.get("lastError")) for rule in system.prometheus.rules() if rule["health"] == "err"]
    assert broken == []


def test_the_artifact_is_named_by_its_digest(system: RunningSystem) -> None:
    champion = system.registry.champion("credit")
    assert champion is not None
    assert champion.artifact is not None
    assert champion.artifact.sha256 in str(Path(champion.artifact.uri))
