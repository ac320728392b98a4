"""A whole system under faults: monitors, assessor and trainer as processes, and what they leave behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from driftloop.events.decisions import RetrainCommand
from driftloop.events.messages import Alert, Labeled
from driftloop.events.reports import WindowReport
from driftloop.kafka.embedded import free_port
from driftloop.registry import ArtifactStore, Registry, open_engine
from driftloop.replay.published import read_events, read_published
from driftloop.replay.verify import compare_alerts, compare_commands, compare_reports
from driftloop.settings import Settings
from support import world

__all__ = ["Cluster", "Outcome", "differences", "outcome_of"]


@dataclass
class Outcome:
    """Everything that a run has said and stored, copies removed."""

    reports: dict[str, WindowReport]
    alerts: dict[str, Alert]
    commands: dict[str, RetrainCommand]
    labeled: dict[str, Labeled]
    registry: list[dict[str, Any]]


def outcome_of(settings: Settings) -> Outcome:
    """What is on the topics and in the registry now."""
    published = read_published(settings)
    labeled: dict[str, Labeled] = {}
    for row in read_events(settings, settings.topics.labeled, Labeled):
        known = labeled.get(row.prediction_id)
        if known is None or (row.revision, row.labeled_at_ms) > (known.revision, known.labeled_at_ms):
            labeled[row.prediction_id] = row
    return Outcome(published.reports, published.alerts, published.commands, labeled, versions_of(settings))


def versions_of(settings: Settings) -> list[dict[str, Any]]:
    """The registry's versions, without what differs between runs by nature (where files lie, clocks)."""
    engine = open_engine(settings.resolved_database_url)
    registry = Registry(engine, ArtifactStore(settings.resolved_artifacts))
    found = [
        {
            "version": version.version,
            "status": version.status,
            "aliases": version.aliases,
            "command_id": version.command_id,
            "trained": (version.trained_from_ms, version.trained_to_ms),
            "dataset": [
                version.lineage.get("dataset", {}).get(part) for part in ("sha256", "rows", "from_ms", "to_ms")
            ],
            "model_digest": version.lineage.get("model_digest"),
            "profile": version.profile_sha256,
            "metrics": version.metrics,
            "gates": msgspec.to_builtins(version.gates),
        }
        for version in registry.versions("credit")
    ]
    history = [(change.alias, change.action, change.version) for change in registry.history("credit")]
    engine.dispose()
    return [*found, {"history": history}]


def differences(calm: Outcome, disturbed: Outcome) -> list[str]:
    """Sentences on everything in which two runs differ."""
    found = [
        difference.sentence()
        for difference in (
            *compare_reports(calm.reports.values(), disturbed.reports.values()),
            *compare_alerts(calm.alerts.values(), disturbed.alerts.values()),
            *compare_commands(calm.commands.values(), disturbed.commands.values()),
        )
    ]
    for name in sorted(calm.labeled.keys() | disturbed.labeled.keys()):
        one, other = calm.labeled.get(name), disturbed.labeled.get(name)
        if one != other:
            found.append(f"labeled row {name}: {one} and {other}")
    for index in range(max(len(calm.registry), len(disturbed.registry))):
        one, other = ([*run.registry, None, None][index] for run in (calm, disturbed))
        if one != other:
            found.append(f"registry entry {index}: {one} and {other}")
    return found


class Cluster:
    """Processes by name: ``monitor-0`` and so on, ``assessor``, ``trainer``. :meth:`mend` is their supervisor."""

    def __init__(self, settings: Settings, folder: Path, *, monitors: int = 1, life_s: int = 280) -> None:
        self.settings = settings
        self._folder = folder
        self._life_s = life_s
        self._ports = {f"monitor-{number}": free_port() for number in range(monitors)}
        self.names = [*self._ports, "assessor", "trainer"]
        self.processes: dict[str, world.Process] = {}
        self._log_starts: dict[str, int] = {}
        #: How often a process ended by itself and was started again.
        self.mended = 0

    def start(self, name: str) -> None:
        role = name.split("-")[0]
        command = ["trainer"] if role == "trainer" else ["worker", "--role", role]
        settings = self.settings.model_copy(update={"web_port": self._ports.get(name, self.settings.web_port)})
        log = self._folder / f"{name}.log"
        self._log_starts[name] = log.stat().st_size if log.exists() else 0
        self.processes[name] = world.Process(settings, *command, log=log, life_s=self._life_s)

    def started(self, name: str) -> bool:
        """Whether the present process of that name has said that it works."""
        log = (self._folder / f"{name}.log").read_bytes()[self._log_starts[name] :]
        return b"worker started" in log or b"trainer started" in log

    def start_all(self) -> None:
        for name in self.names:
            self.start(name)
        self.wait_until_started()

    def wait_until_started(self) -> None:
        self.wait_for("everybody's start", lambda: all(self.started(name) for name in self.names))

    def kill(self, name: str) -> None:
        """SIGKILL, whatever it is doing."""
        self.processes[name].kill()

    def mend(self) -> None:
        """Start again whatever has ended, as a supervisor does."""
        for name, process in list(self.processes.items()):
            if process.process.poll() is not None:
                self.mended += 1
                self.start(name)

    def wait_for(self, what: str, condition: Callable[[], bool], timeout_s: float = 150) -> None:
        """Wait, mending what ends meanwhile. The condition may fail for want of a broker or database."""
        deadline_s = time.monotonic() + timeout_s
        problem = ""
        while time.monotonic() < deadline_s:
            self.mend()
            try:
                if condition():
                    return
            except Exception as error:  # noqa: BLE001  (said below, if it does not pass)
                problem = f" ({error})"
            time.sleep(0.2)
        logs = "\n".join(f"--- {name}\n{process.text()[-2500:]}" for name, process in self.processes.items())
        raise AssertionError(f"waited {timeout_s} s for {what}{problem}\n{logs}")

    def stop(self) -> dict[str, int]:
        """Ask everybody to end, once they can listen; exit codes by name."""
        self.wait_until_started()
        for process in self.processes.values():
            process.process.terminate()
        return {name: process.process.wait(40) for name, process in self.processes.items()}

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes.values():
            if process.process.poll() is None:
                process.kill()
