"""One running system for many small models: what they did is read from topics and registry, case by case."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import typer
from pydantic import SecretStr
from sklearn.metrics import brier_score_loss, roc_auc_score
from typer.testing import CliRunner

from driftloop.cli import models as models_command
from driftloop.cli.retrain import retrain
from driftloop.events.decisions import GateResult, ModelEvent, PolicyDecision
from driftloop.kafka.admin import create_topics
from driftloop.performance.estimated.fit import fit_estimators
from driftloop.performance.losses import reference_losses
from driftloop.profiles.columns import PREDICTION
from driftloop.profiles.reference import MetricReference, ReferenceProfile
from driftloop.registry import ArtifactStore, AssessmentStore, NewVersion, Registry, ShadowStore, open_engine
from driftloop.registry.database import create_schema
from driftloop.registry.rows import VersionRow
from driftloop.registry.runs import Run, RunStore
from driftloop.replay.published import read_events
from driftloop.settings import Settings
from driftloop.spec import ModelSpec, load_specs, spec_digest
from driftloop.training.artifacts import dump
from driftloop.training.estimators import fit
from support import world
from support.loop_cases import Case, case
from support.loop_rows import History, make_history, stable

__all__ = ["Loops"]

DAY = world.DAY
#: After the last day of all cases: its rows make every window before it final.
CLOCK = "clock"


class Loops:
    """The models of ``cases`` in one registry, one set of topics, one worker and some trainers."""

    def __init__(self, settings: Settings, folder: Path, cases: Sequence[Case]) -> None:
        self.settings = settings
        self.folder = folder
        self.cases = {given.name: given for given in [*cases, case(CLOCK, max(one.days for one in cases) + 2)]}
        self.said: dict[str, tuple[int, str]] = {}
        settings.specs.mkdir(parents=True)
        for given in self.cases.values():
            # JSON is YAML.
            (settings.specs / f"{given.name}.yaml").write_text(json.dumps(given.spec))
        self.specs = load_specs(settings.specs)
        settings.data_dir.mkdir(parents=True)
        create_topics(settings)
        engine = open_engine(settings.resolved_database_url)
        create_schema(engine)
        self.registry = Registry(engine, ArtifactStore(settings.resolved_artifacts))
        self.store = AssessmentStore(engine)
        self.shadows = ShadowStore(engine)
        self.run_store = RunStore(engine)
        for given in self.cases.values():
            self._register_first_version(given)

    # -- before ----------------------------------------------------------------------------------------------------

    def _register_first_version(self, given: Case) -> None:
        """Version v1: what it was made of is a stable history of its own."""
        spec = self.specs[given.name]
        rows = make_history("reference", 10, 200, stable)
        frame = pd.DataFrame({"x": rows.x, "colour": rows.colour, "noise": rows.noise})
        columns = {
            **{name: list(frame[name]) if name == "colour" else frame[name].to_numpy() for name in spec.features}
        }
        columns[PREDICTION] = rows.said
        auc, brier = roc_auc_score(rows.labels, rows.said), brier_score_loss(rows.labels, rows.said)
        profile = ReferenceProfile.build(
            spec,
            columns,
            model_version="v1",
            metrics={
                name: MetricReference(value=value, low=value - 0.02, high=value + 0.02, rows=len(rows))
                for name, value in (("roc_auc", auc), ("brier", brier))
            },
            label_mean=float(rows.labels.mean()),
            estimators=fit_estimators(spec, columns, rows.said, rows.labels),
            losses=reference_losses(spec.task, rows.said, rows.labels, spec.performance.decision_threshold),
        )
        artifact = None
        if given.fitted_with:
            own = msgspec.structs.replace(
                spec, features={**dict.fromkeys(given.fitted_with, spec.features["x"]), **spec.features}
            )
            frame["old"] = rows.noise
            artifact = self.registry.store.put_bytes(dump(fit(own, frame[list(own.features)], rows.labels)), ".skops")
        self.registry.ensure_model(spec.model, spec.task, spec_digest(spec))
        self.registry.register_version(
            NewVersion(
                model_id=spec.model,
                version="v1",
                artifact=artifact,
                profile=profile.encode(),
                event_time_ms=world.START,
                trained_to_ms=world.START if artifact else None,
            )
        )
        self.registry.promote(spec.model, "v1", "the first version", world.START)

    def publish(self) -> int:
        """The whole history of every model, in event time; how many events."""
        events: list[world.Event] = []
        for given in self.cases.values():
            if given.name == CLOCK:
                events += _events(self.specs[CLOCK], make_history(CLOCK, given.days, 20, stable))
            else:
                rows = make_history(given.name, given.days, given.per_day, given.story)
                events += _events(self.specs[given.name], rows)
        events.sort(key=lambda event: event[0])
        world.publish(self.settings, events)
        return len(events)

    # -- while it runs ---------------------------------------------------------------------------------------------

    def judged(self) -> bool:
        """Whether the last outcome window of every model is final."""
        return not any(self._open(given) for given in self.cases.values() if given.name != CLOCK)

    def _open(self, given: Case) -> bool:
        before_ms = world.START + given.days * DAY - 1
        return not self.store.reports(given.name, kind="outcome", segment="", from_ms=before_ms, limit=1)

    def trained(self) -> bool:
        """Whether every command has come to its end, no comparison waits, and all of it is published."""
        runs = {run.command.command_id: run for run in self.run_store.runs(limit=10_000)}
        commands = self.store.commands(limit=10_000)
        ended = all(command.command_id in runs and runs[command.command_id].outcome for command in commands)
        return ended and not self.shadows.open() and self._published()

    def _published(self) -> bool:
        told = {(event.model_id, event.model_version, event.kind) for event in self._read_events()}
        versions = [version for name in self.cases for version in self.registry.versions(name)]
        failed = {
            run.command.command_id for run in self.run_store.runs(limit=10_000) if run.outcome in ("failed", "held")
        }
        statuses = {
            (version.model_id, version.version, version.status)
            for version in versions
            if version.version != "v1" and version.status != "watched"
        }
        return statuses <= told and failed <= {event.command_id for event in self._read_events()}

    def _read_events(self) -> list[ModelEvent]:
        found = read_events(self.settings, self.settings.topics.model_events, ModelEvent)
        return list({event.event_id: event for event in found}.values())

    def command_line(self, key: str, *arguments: str) -> None:
        """A command of a person's, with the settings in the environment; :attr:`said` keeps code and text."""
        program = typer.Typer()
        program.command("retrain")(retrain)
        program.add_typer(models_command.app, name="models")
        own = {
            f"DRIFTLOOP_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in self.settings.model_dump(exclude_none=True, exclude={"topics"}).items()
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in own.items():
                patch.setenv(name, value)
            result = CliRunner().invoke(program, list(arguments))
        self.said[key] = result.exit_code, result.stdout + result.stderr

    # -- afterwards ------------------------------------------------------------------------------------------------

    @cached_property
    def published_decisions(self) -> dict[str, list[PolicyDecision]]:
        """The decisions on the topic, by model, each once, in order."""
        found: dict[str, dict[bytes, PolicyDecision]] = {}
        for decision in read_events(self.settings, self.settings.topics.policy_decisions, PolicyDecision):
            found.setdefault(decision.model_id, {})[msgspec.json.encode(decision)] = decision
        return {name: list(decisions.values()) for name, decisions in found.items()}

    def decisions(self, name: str) -> list[str]:
        """``retrain performance 4: reason`` for each decision of the policy, with the day that the window is of."""
        return [
            f"{said.outcome} {said.trigger} {(said.window_end_ms - world.START) // DAY}: {said.reason}"
            for said in self.published_decisions.get(name, [])
            if said.trigger != "manual"
        ]

    @cached_property
    def _all_events(self) -> list[ModelEvent]:
        return self._read_events()

    def events(self, name: str, version: str | None = None) -> list[ModelEvent]:
        """What became of the model's versions after the first, as the topic tells it."""
        return [
            event
            for event in self._all_events
            if event.model_id == name and event.model_version != "v1" and version in (None, event.model_version)
        ]

    def kinds(self, name: str, version: str = "v2") -> list[str]:
        return [event.kind for event in self.events(name, version)]

    def runs(self, name: str) -> list[Run]:
        """The model's runs, oldest first."""
        found = self.run_store.runs(name, limit=1000)
        return sorted(found, key=lambda run: (run.command.window_end_ms, run.started))

    def run(self, name: str) -> Run:
        """The only run of a model."""
        (only,) = self.runs(name)
        return only

    def version(self, name: str, version: str = "v2") -> VersionRow:
        found = self.registry.version(name, version)
        assert found is not None, f"{name} has no {version}: {[run.reason for run in self.runs(name)]}"
        return found

    def champion(self, name: str) -> str:
        found = self.registry.champion(name)
        assert found is not None
        return found.version

    def gate(self, name: str, kind: str) -> GateResult:
        """What the topic says that a gate made of the model's challenger."""
        (registered,) = [event for event in self.events(name, "v2") if event.kind == "registered"]
        (found,) = [gate for gate in registered.gates if gate.gate.split(":")[0] == kind]
        return found


def matches(lines: Iterable[str], patterns: Sequence[str]) -> None:
    """Each line is what the pattern in its place says, and there are no more of either."""
    found = list(lines)
    same = len(found) == len(patterns) and all(map(re.match, patterns, found))
    assert same, "\n".join(["found:", *found, "wanted:", *patterns])


def _events(spec: ModelSpec, rows: History) -> list[world.Event]:
    events: list[world.Event] = []
    per_day = int(np.sum(rows.day == 1))
    for place in range(len(rows)):
        at_ms = world.START + place * DAY // per_day
        pid = f"{spec.model}-{place}"
        values: dict[str, Any] = {"x": rows.x[place], "colour": rows.colour[place], "noise": rows.noise[place]}
        features = {name: values[name] for name in spec.features if values[name] == values[name]}
        common = {"prediction_id": pid, "model_id": spec.model}
        prediction = {
            **common,
            "model_version": "v1",
            "event_time_ms": at_ms,
            "features": features,
            "prediction": float(rows.said[place]),
        }
        events.append((at_ms, "predictions", pid, json.dumps(prediction).encode()))
        if rows.labeled[place]:
            known_ms = at_ms + DAY // 48
            label = {**common, "event_time_ms": known_ms, "label": int(rows.labels[place])}
            events.append((known_ms, "labels", pid, json.dumps(label).encode()))
    return events
