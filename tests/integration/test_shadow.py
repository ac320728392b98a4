"""Shadow and canary through real topics: worker and trainer as processes, challengers that pass and that do not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from driftloop.events.decisions import ModelEvent
from driftloop.events.messages import Alert
from driftloop.kafka.embedded import EmbeddedBroker, free_port
from driftloop.registry import ArtifactStore, NewVersion, Registry, ShadowStore, open_engine
from driftloop.replay.published import read_events
from driftloop.settings import Settings
from driftloop.spec import ModelSpec, load_spec
from driftloop.training.artifacts import dump
from driftloop.training.estimators import fit
from driftloop.training.shadow_watch import first_window_ms
from support import world
from support.own_settings import own_settings

pytestmark = [pytest.mark.broker, pytest.mark.slow]

SHADOW = """
promotion: shadow
shadow: {minimum_rows: 300, minimum_windows: 2}
"""
CANARY = """
promotion: canary
shadow:
  minimum_rows: 300
  minimum_windows: 2
  canary: {champion: control, challenger: canary, share: 0.5}
"""


class System:
    def __init__(self, settings: Settings, folder: Path, spec: str) -> None:
        self.settings = settings
        world.prepare(settings)
        path = settings.specs / "credit.yaml"
        # Challengers come from the test alone: none may be trained that supersedes them.
        silent = re.sub(r"(?m)^  triggers: .*$", "  triggers: []", world.SPEC)
        assert silent != world.SPEC
        path.write_text(silent + spec)
        self.spec: ModelSpec = load_spec(path)
        engine = open_engine(settings.resolved_database_url)
        self.registry = Registry(engine, ArtifactStore(settings.resolved_artifacts))
        self.store = ShadowStore(engine)
        self.worker = world.Process(settings, "worker", log=folder / "worker.log")
        self.trainer = world.Process(settings, "trainer", log=folder / "trainer.log")

    def challenger(self, name: str, by: str, day: int) -> None:
        """Register a version that has learnt that the label hangs on this feature, as it stands at a day's begin, and
        let it be compared."""
        chance = np.random.default_rng(3)
        frame = pd.DataFrame(
            {
                "income": chance.normal(65, 10, 4000),
                "age": chance.integers(18, 80, 4000).astype(np.float64),
                "region": chance.choice(["north", "south"], 4000),
            }
        )
        odds = {"age": (frame.age - 49) / 5, "nothing": 0 * frame.age, "income": (65 - frame.income) / 5}[by]
        labels = (chance.random(4000) < 1 / (1 + np.exp(-odds))).astype(np.int64)
        stored = self.registry.store.put_bytes(dump(fit(self.spec, frame, labels)), ".skops")
        at_ms = world.START + day * world.DAY
        profile = self.registry.profile("credit", "v1") or b""
        self.registry.register_version(
            NewVersion(model_id="credit", version=name, artifact=stored, profile=profile, event_time_ms=at_ms)
        )
        version = self.registry.version("credit", name)
        assert version is not None
        self.store.start(
            "credit",
            name,
            "canary" if self.spec.promotion == "canary" else "shadow",
            from_ms=first_window_ms(self.spec, version),
            reason="by a test",
            event_time_ms=at_ms,
            actor="test",
        )

    def status(self, name: str) -> str:
        found = self.registry.version("credit", name)
        return "" if found is None else found.status

    def events(self, name: str) -> list[str]:
        found = {
            event.event_id: event.kind
            for event in read_events(self.settings, self.settings.topics.model_events, ModelEvent)
            if event.model_version == name
        }
        return list(found.values())

    def close(self) -> None:
        for process in (self.worker, self.trainer):
            if process.process.poll() is None:
                process.kill()


@pytest.fixture
def make_system(embedded_broker: EmbeddedBroker, tmp_path: Path) -> Iterator:  # type: ignore[type-arg]
    systems: list[System] = []

    def make(name: str, spec: str) -> System:
        settings = own_settings(
            embedded_broker.bootstrap,
            name,
            tmp_path,
            specs=tmp_path / "specs",
            web_port=free_port(),
            publish_interval_ms=200,
        )
        systems.append(System(settings, tmp_path, spec))
        return systems[-1]

    yield make
    for system in systems:
        system.close()


def _changed(events: list[world.Event], change) -> list[world.Event]:  # type: ignore[no-untyped-def]
    """Predictions changed by ``change(number, event)``; the rest as it is."""
    changed: list[world.Event] = []
    for at, topic, key, value in events:
        if topic == "predictions" and value:
            event = json.loads(value)
            change(int(key[1:]), event)
            value = json.dumps(event).encode()
        changed.append((at, topic, key, value))
    return changed


def test_a_shadow_promotes_the_better_and_refuses_the_meaningless(make_system) -> None:  # type: ignore[no-untyped-def]
    system = make_system("shadow", SHADOW)
    # From the first day on the label hangs on the age, which v1 does not know; some rows come from a version that
    # nobody approved.
    events = world.history(12, 300, drift_from_day=0, faults=False)
    until = world.START + 6 * world.DAY

    def stray(number: int, event: dict) -> None:  # type: ignore[type-arg]
        if number % 10 == 0 and event["event_time_ms"] < world.START + world.DAY:
            event["model_version"] = "good"

    system.challenger("good", "age", 0)
    world.publish(system.settings, _changed([event for event in events if event[0] < until], stray))
    world.wait_for("the better one's promotion", lambda: system.status("good") == "promoted", system.trainer)
    looks = system.store.looks(system.store.of_model("credit")[0])
    assert looks[-1].verdict == "promote"
    # Rows that the challenger itself had served have no score of the champion, which has no model file.
    assert looks[0].left_out["no champion score"] > 0
    wanted = ["registered", "shadow_started", "shadow_passed", "promoted"]
    world.wait_for("its events", lambda: system.events("good") == wanted, system.trainer, 20)

    system.challenger("bad", "nothing", 6)
    later = [event for event in events if event[0] >= until]
    world.publish(system.settings, [*later, *world.end_of_time(system.settings, 12)])
    world.wait_for("the other one's end", lambda: system.status("bad") == "rejected", system.trainer)
    last = system.store.looks(system.store.of_model("credit")[-1])[-1]
    assert (last.verdict, last.champion) == ("stop", "good")
    assert last.recorded_rows == 0  # v1 still serves, so the champion was scored on what was recorded
    champion = system.registry.champion("credit")
    assert champion is not None
    assert champion.version == "good"

    alerts = [
        alert
        for alert in read_events(system.settings, system.settings.topics.alerts, Alert)
        if alert.kind == "unapproved_version"
    ]
    assert [alert.state for alert in alerts] == ["opened", "resolved"]
    assert (alerts[0].model_version, alerts[0].window_start_ms) == ("good", world.START)
    # Nothing was decided after the event time that the promotion carries by anyone who had not matured.
    promoted = [row for row in system.registry.history("credit", "champion") if row.version == "good"]
    assert promoted[0].event_time_ms == looks[-1].window_end_ms + system.spec.label_horizon_ms
    assert system.trainer.stop() == 0, system.trainer.text()


@pytest.mark.parametrize(("by", "outcome"), [("age", "promoted"), ("income", "rejected")])
def test_a_canary_advances_or_aborts_by_what_its_arms_said(make_system, by: str, outcome: str) -> None:  # type: ignore[no-untyped-def]
    system = make_system(f"canary-{by}", CANARY)
    chance = np.random.default_rng(5)

    def arms(number: int, event: dict) -> None:  # type: ignore[type-arg]
        event["variant"] = "control"
        if event["event_time_ms"] >= world.START + world.DAY and chance.random() < 0.5:
            odds = {"age": event["features"]["age"] - 49, "income": 65 - event["features"]["income"]}[by]
            event |= {"variant": "canary", "model_version": "v2", "prediction": float(1 / (1 + np.exp(-odds / 5)))}

    system.challenger("v2", by, 1)
    # Where the age decides, v1 (by income) is no better than chance; where income does, its opposite is worse.
    drift = 0 if by == "age" else None
    events = world.history(14, 400, drift_from_day=drift, faults=False)
    world.publish(system.settings, [*_changed(events, arms), *world.end_of_time(system.settings, 14)])
    world.wait_for("the verdict", lambda: system.status("v2") == outcome, system.trainer)
    verdict = "canary_advance" if outcome == "promoted" else "canary_abort"
    wanted = ["registered", "canary_started", verdict, outcome]
    world.wait_for("its events", lambda: system.events("v2") == wanted, system.trainer, 20)
    alerts = list(read_events(system.settings, system.settings.topics.alerts, Alert))
    assert not [alert for alert in alerts if alert.kind == "unapproved_version"]
