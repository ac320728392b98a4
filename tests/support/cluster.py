"""A whole system under faults: monitors, assessor and trainer as processes, and what they leave behind."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
from pydantic import SecretStr

from driftloop.events.decisions import RetrainCommand
from driftloop.events.messages import Alert, Labeled
from driftloop.events.reports import WindowReport
from driftloop.kafka.config import client_config
from driftloop.kafka.dead_letters import origin_of
from driftloop.kafka.embedded import free_port
from driftloop.kafka.log_reader import read_topic
from driftloop.registry import ArtifactStore, Registry, open_engine
from driftloop.replay.published import read_events, read_published
from driftloop.replay.verify import compare_alerts, compare_commands, compare_reports
from driftloop.settings import Settings
from support import world
from support.health import Health, HealthWatch, Watched, ask

__all__ = ["Cluster", "Outcome", "differences", "outcome_of"]


@dataclass
class Outcome:
    """Everything that a run has said and stored, copies removed."""

    reports: dict[str, WindowReport]
    alerts: dict[str, Alert]
    commands: dict[str, RetrainCommand]
    labeled: dict[str, Labeled]
    registry: list[dict[str, Any]]
    #: The last report of windows that late rows have reached.
    restated: dict[str, WindowReport]
    #: (topic without prefix, partition, offset) to reason and bytes.
    dead: dict[tuple[str, int, int], tuple[str, bytes | None]]


def outcome_of(settings: Settings) -> Outcome:
    """What is on the topics and in the registry now."""
    published = read_published(settings)
    labeled: dict[str, Labeled] = {}
    for row in read_events(settings, settings.topics.labeled, Labeled):
        known = labeled.get(row.prediction_id)
        if known is None or (row.revision, row.labeled_at_ms) > (known.revision, known.labeled_at_ms):
            labeled[row.prediction_id] = row
    return Outcome(
        published.reports,
        published.alerts,
        published.commands,
        labeled,
        versions_of(settings),
        restated_of(settings),
        dead_letters_of(settings),
    )


def restated_of(settings: Settings) -> dict[str, WindowReport]:
    """The last restated report of each window, copies removed: one may come after what followed its original."""
    reports = read_events(settings, settings.topics.window_reports, WindowReport)
    originals: dict[tuple[str, str], WindowReport] = {}
    for report in reports:
        if report.status == "restated":
            originals.setdefault((report.report_id, report.content_digest), report)
    return {report.report_id: report for report in originals.values()}


def dead_letters_of(settings: Settings) -> dict[tuple[str, int, int], tuple[str, bytes | None]]:
    """Each once, by its origin. Labels whose prediction may have been forgotten have one reason, see the answer."""
    found = {}
    for records in read_topic(client_config(settings), settings.topics.dead_letters):
        for record in records:
            origin = origin_of(record.headers)
            assert origin is not None
            topic = origin.topic.removeprefix(f"{settings.topic_prefix}.")
            code = "no_prediction" if origin.code == "label_too_late" else origin.code
            found[topic, origin.partition, origin.offset] = (code, record.value)
    return found


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
    for name in sorted(calm.restated.keys() | disturbed.restated.keys()):
        one, other = calm.restated.get(name), disturbed.restated.get(name)
        if one is None or other is None or one.content_digest != other.content_digest:
            found.append(f"restated report {name}: {one} and {other}"[:1000])
    found += [
        f"dead letter {origin}: {calm.dead.get(origin)} and {disturbed.dead.get(origin)}"[:300]
        for origin in sorted(calm.dead.keys() | disturbed.dead.keys())
        if calm.dead.get(origin) != disturbed.dead.get(origin)
    ]
    for index in range(max(len(calm.registry), len(disturbed.registry))):
        one, other = ([*run.registry, None, None][index] for run in (calm, disturbed))
        if one != other:
            found.append(f"registry entry {index}: {one} and {other}")
    return found


class Cluster:
    """Processes by name: ``monitor-0`` and so on, ``assessor``, ``trainer``. :meth:`mend` is their supervisor.

    Each has a disk of its own, ports of its own, and is asked for its health all the time.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        *,
        monitors: int = 1,
        life_s: int = 600,
        environment: dict[str, str] | None = None,
        module: str = "driftloop",
    ) -> None:
        self.settings = settings
        self._folder = folder
        self._life_s = life_s
        self._environment = environment or {}
        self._module = module
        self.names = [*(f"monitor-{number}" for number in range(monitors)), "assessor", "trainer"]
        self._ports: dict[str, tuple[int, int]] = {}
        self.processes: dict[str, world.Process] = {}
        self._log_starts: dict[str, int] = {}
        #: How often a process ended by itself and was started again.
        self.mended = 0
        self.watch = HealthWatch(self._watched)

    def _watched(self) -> dict[str, Watched]:
        return {name: Watched(self._ports[name][1], own.process) for name, own in list(self.processes.items())}

    def start(self, name: str) -> None:
        role = name.split("-")[0]
        # Whoever comes after a trainer that was killed waits for the end of its lease.
        command = ["trainer", "--lease-seconds", "5"] if role == "trainer" else ["worker", "--role", role]
        web_port, metrics_port = self._ports.setdefault(name, (free_port(), free_port()))
        settings = self.settings.model_copy(
            update={
                "web_port": web_port,
                "metrics_port": metrics_port,
                "data_dir": self.disk(name),
                "database_url": SecretStr(self.settings.resolved_database_url),
                "artifacts": self.settings.resolved_artifacts,
            }
        )
        log = self._folder / f"{name}.log"
        self._log_starts[name] = log.stat().st_size if log.exists() else 0
        self.processes[name] = world.Process(
            settings, *command, log=log, life_s=self._life_s, module=self._module, **self._environment
        )

    def disk(self, name: str) -> Path:
        """The data folder of a process."""
        return self._folder / "disks" / name

    def log(self, name: str) -> str:
        """What the present process of that name has logged."""
        return (self._folder / f"{name}.log").read_bytes()[self._log_starts[name] :].decode(errors="replace")

    def started(self, name: str) -> bool:
        """Whether the present process of that name has said that it works."""
        return "worker started" in (log := self.log(name)) or "trainer started" in log

    def start_all(self) -> None:
        """Their processes; :meth:`wait_until_started` waits until they work."""
        for name in self.names:
            self.start(name)

    def wait_until_started(self) -> None:
        self.wait_for("everybody's start", lambda: all(self.started(name) for name in self.names))

    def kill(self, name: str, *, empty_disk: bool = False) -> None:
        """SIGKILL, whatever it is doing. ``empty_disk``: its successor is on another machine."""
        self.processes[name].kill()
        if empty_disk:
            shutil.rmtree(self.disk(name), ignore_errors=True)

    def join(self, name: str) -> None:
        """One more process; it is not waited for."""
        self.names.append(name)
        self.start(name)

    def leave(self, name: str, *, kill: bool) -> None:
        """One process less, for good: asked to end, or killed."""
        self.names.remove(name)
        process = self.processes.pop(name)
        if kill:
            process.kill()
            return
        process.signal(signal.SIGTERM)
        code = process.process.wait(60)
        # A process that has not installed its handlers yet ends by the signal itself.
        assert code in (0, -15, 143), f"{name} ended with {code}:\n{process.text()}"

    def health(self, name: str) -> Health:
        return ask(self._ports[name][1])

    def wait_for_health(
        self, names: list[str], what: str, condition: Callable[[Health], bool], timeout_s: float = 30
    ) -> None:
        """Until each of the processes answers so; those that end meanwhile are started again."""
        for name in names:
            self.wait_for(f"{name} to be {what}", lambda name=name: condition(self.health(name)), timeout_s)  # type: ignore[misc]

    def mend(self) -> None:
        """Start again whatever has ended, as a supervisor does."""
        for name, process in list(self.processes.items()):
            if process.process.poll() is not None:
                self.mended += 1
                self.start(name)

    def wait_for(
        self, what: str, condition: Callable[[], bool], timeout_s: float = 150, *, required: bool = True
    ) -> None:
        """Wait, mending what ends meanwhile. The condition may fail for want of a broker or database. Without
        ``required`` the time is all there is to it."""
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
        if not required:
            return
        logs = "\n".join(f"--- {name}\n{process.text()[-2500:]}" for name, process in self.processes.items())
        raise AssertionError(f"waited {timeout_s} s for {what}{problem}\n{logs}")

    def stop(self) -> dict[str, int]:
        """Ask everybody to end, once they can listen; exit codes by name."""
        self.wait_until_started()
        for process in self.processes.values():
            process.signal(signal.SIGTERM)
        return {name: process.process.wait(60) for name, process in self.processes.items()}

    def __enter__(self) -> Cluster:
        self.watch.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.watch.__exit__(kind, error, trace)
        for process in self.processes.values():
            if process.process.poll() is None:
                process.kill()
