"""Runs the demo: broker, worker, trainer and production service as processes of their own, and shows what they do."""

from __future__ import annotations

import fcntl
import json
import queue
import shutil
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec
import numpy as np
import pandas as pd
from rich.console import Console

from driftloop.demo import CACHE, FOLDER
from driftloop.demo.flights import load_flights
from driftloop.demo.report import print_result
from driftloop.demo.screen import Screen, open_screen
from driftloop.demo.summary import DemoResult
from driftloop.demo.supervisor import Child, ChildDied, Supervisor, interrupt_on_sigterm
from driftloop.demo.view import DemoView
from driftloop.events.decisions import ModelEvent, RetrainCommand
from driftloop.events.messages import Alert, SourceProgress
from driftloop.events.reports import WindowReport
from driftloop.events.time import parse_time
from driftloop.kafka.admin import create_topics
from driftloop.kafka.config import client_config
from driftloop.kafka.embedded import EmbeddedBroker, free_port
from driftloop.kafka.producer import Producer
from driftloop.kafka.tail_reader import TailReader
from driftloop.registry import ArtifactStore, Registry, Relay, create_schema, kafka_sender, open_engine
from driftloop.settings import Settings
from driftloop.spec import load_specs
from driftloop.training.bootstrap import register_first_version

__all__ = ["SPECS", "DemoError", "DemoOptions", "run_demo"]

SPECS = Path(__file__).parent / "models"
_TRAINED_FROM_MS, _STREAM_FROM_MS = parse_time("2013-01-01"), parse_time("2013-02-01")
_YEAR_TO_MS, _QUICK_TO_MS = parse_time("2014-01-01"), parse_time("2013-03-24")
_MARK = ".driftloop-demo"
_METRICS_PORT = 9464
_COMMAND_LINE = ["-c", "from driftloop.cli.main import main; main()"]
_SERVICE_GRACE_S = 15.0
_EventT = TypeVar("_EventT")


class DemoError(RuntimeError):
    """The demo cannot start. The message says what to do."""


@dataclass(frozen=True)
class DemoOptions:
    """``speed``: event time runs so many times faster than the wall's; None: as fast as the machine allows.
    ``ahead_days``: event days that the production service may be ahead of the slowest final window."""

    folder: Path
    cache: Path
    quick: bool = False
    speed: float | None = None
    ahead_days: float = 5.0
    hold: bool = False

    @property
    def to_ms(self) -> int:
        return _QUICK_TO_MS if self.quick else _YEAR_TO_MS

    def arguments(self) -> list[str]:
        """How the command line says so, without ``--hold``."""
        said = ["--quick"] if self.quick else []
        for name, value, usual in (("--keep", self.folder, FOLDER), ("--cache", self.cache, CACHE)):
            said += [] if value == usual else [name, str(value)]
        return said


def run_demo(options: DemoOptions, console: Console) -> int:
    """Runs until the service is done or Ctrl-C; returns the exit code. Leaves no process behind.

    Raises :class:`DemoError`, and what the pieces raise with advice (broker, data, children that die).
    """
    began_s = time.monotonic()
    with (
        _prepare_folder(options.folder),
        interrupt_on_sigterm(),
        # Left in reverse: the services stop before their broker does.
        EmbeddedBroker(log_file=options.folder / "logs" / "broker.log") as broker,
        Supervisor(options.folder / "logs") as supervisor,
    ):
        try:
            settings, service = _start(options, console, supervisor, broker)
            interrupted = _watch(options, console, settings, supervisor, service)
        except KeyboardInterrupt:
            console.print("stopped before it began", highlight=False)
            return 130
        result = _read_result(options.folder / "result.json")
        if result is not None:
            print_result(
                console,
                result,
                options.folder,
                seconds=time.monotonic() - began_s,
                held=options.hold and not interrupted,
                options=options.arguments(),
            )
        if interrupted:
            console.print("stopped by Ctrl-C; everything is shut down", highlight=False)
            return 130
        if result is None:
            raise ChildDied(f"the production service left no result; see {service.log_file}")
        if options.hold:
            _hold(console, settings, supervisor, service)
    return 0


def _prepare_folder(folder: Path) -> IO[str]:
    """An empty folder of ours: a former demo's is cleared, since its broker's topics are gone. It is ours as long as
    the file that is returned is open."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARK).exists():
            raise DemoError(f"{folder} is not empty and was not made by the demo: name another folder with --keep")
        with _locked(folder):
            shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return _locked(folder)


def _locked(folder: Path) -> IO[str]:
    mark = (folder / _MARK).open("a")
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        mark.close()
        raise DemoError(f"another demo still runs in {folder}: end it, or name another folder with --keep") from None
    return mark


def _start(
    options: DemoOptions, console: Console, supervisor: Supervisor, broker: EmbeddedBroker
) -> tuple[Settings, Child]:
    with (
        console.status("the flights of 2013") if console.is_terminal else _said(console, "reading the flights of 2013")
    ):
        flights = load_flights(options.cache)
    with console.status("broker, topics and services") if console.is_terminal else _said(console, "starting"):
        settings, environment = _settings(options.folder, broker.bootstrap)
        create_topics(settings)
        engine = open_engine(settings.resolved_database_url)
        create_schema(engine)
        supervisor.start("worker", [*_COMMAND_LINE, "worker"], environment)
        trainer_environment = {**environment, "DRIFTLOOP_METRICS_PORT": str(free_port())}
        supervisor.start("trainer", [*_COMMAND_LINE, "trainer"], trainer_environment)
    with console.status("first versions, on January") if console.is_terminal else _said(console, "training on January"):
        registry = Registry(engine, ArtifactStore(settings.resolved_artifacts))
        _register_champions(registry, flights)
        with Producer(client_config(settings)) as producer:
            Relay(engine, kafka_sender(producer, settings.topics)).publish_pending()
        engine.dispose()
    supervisor.check()
    arguments = ["-m", "driftloop.demo.service", "--cache", str(options.cache), "--from", str(_STREAM_FROM_MS)]
    arguments += ["--to", str(options.to_ms), "--ahead", str(options.ahead_days)]
    arguments += ["--result", str(options.folder / "result.json")]
    if options.speed is not None:
        arguments += ["--speed", str(options.speed)]
    return settings, supervisor.start("service", arguments, environment, read_output=True)


class _said:  # noqa: N801
    """Where there is no spinner: a line."""

    def __init__(self, console: Console, text: str) -> None:
        console.print(text, highlight=False)

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        return


def _settings(folder: Path, bootstrap: str) -> tuple[Settings, dict[str, str]]:
    """Settings of this run, and the same as environment variables for the children and for the person afterwards.

    Whatever leads elsewhere is set, so that a ``.env`` for another installation has no part in this.
    """
    folder = folder.resolve()
    values: dict[str, Any] = {
        "bootstrap": bootstrap,
        "security_protocol": "PLAINTEXT",
        "topic_prefix": "driftloop",
        "source_partitions": 2,
        "model_partitions": 2,
        "replication_factor": 1,
        "specs": SPECS,
        "data_dir": folder,
        "database_url": f"sqlite:///{folder / 'driftloop.db'}",
        "database_url_file": "",
        "artifacts": folder / "artifacts",
        "app_id": "driftloop",
        "web_port": _two_ports(),
        "metrics_port": _port(_METRICS_PORT),
        "publish_interval_ms": 200,
        # Replayed event time is always behind the wall's; only a broken run is idle for so long.
        "idle_timeout_ms": 600_000,
        "session_timeout_ms": 6_000,
        "rebalance_timeout_ms": 6_000,
    }
    environment = {f"DRIFTLOOP_{name.upper()}": str(value) for name, value in values.items()}
    (folder / "env").write_text("".join(f"{name}='{value}'\n" for name, value in environment.items()))
    return Settings(**values), environment


def _port(wanted: int) -> int:
    """The wanted loopback port if it is free, else any."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return free_port()
    return wanted


def _two_ports() -> int:
    """The first of two neighbouring free ports: the worker's monitor and assessor have one each."""
    for _ in range(50):
        first = free_port()
        if first < 65535 and _port(first + 1) == first + 1:
            return first
    raise DemoError("no two neighbouring ports are free on the loopback address")


def _register_champions(registry: Registry, flights: pd.DataFrame) -> None:
    """The first version of each model, trained on January's flights whose arrival is known."""
    departure = flights["departure_ms"].to_numpy(np.int64)
    january = flights[(departure >= _TRAINED_FROM_MS) & (departure < _STREAM_FROM_MS) & (flights["arrival_ms"] >= 0)]
    for spec in load_specs(SPECS).values():
        labels = january["late" if spec.task == "binary" else "arr_delay"].to_numpy()
        times_ms = january["departure_ms"].to_numpy(np.int64)
        register_first_version(registry, spec, january, labels, times_ms, _STREAM_FROM_MS)


def _watch(options: DemoOptions, console: Console, settings: Settings, supervisor: Supervisor, service: Child) -> bool:
    """Show everything until the service ends. True if Ctrl-C ended it."""
    view = DemoView(_STREAM_FROM_MS, options.to_ms)
    title = f"driftloop demo   http://127.0.0.1:{settings.metrics_port}/metrics   logs in {options.folder / 'logs'}"
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    assert service.output is not None
    threading.Thread(target=_pump, args=(service.output, lines), name="service output", daemon=True).start()
    topics = settings.topics
    handlers = _handlers(settings, view)
    reader = TailReader(client_config(settings), [*handlers, topics.dead_letters])
    with reader, open_screen(console, title) as screen:
        try:
            ended = False
            while not ended:
                supervisor.check(may_end=service)
                ended = service.process.poll() is not None
                for record in reader.poll(0.1):
                    if record.topic == topics.dead_letters:
                        view.dead_letters += 1
                    elif record.value is not None and (news := handlers[record.topic](record.value)):
                        screen.news(news)
                while not lines.empty():
                    _take_line(view, screen, json.loads(lines.get()))
                screen.show(view, now_s=time.monotonic())
        except KeyboardInterrupt:
            service.process.terminate()
            deadline_s = time.monotonic() + _SERVICE_GRACE_S
            while service.process.poll() is None and time.monotonic() < deadline_s:
                time.sleep(0.05)
            return True
    return False


def _pump(source: IO[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    # The pipe is closed under this thread when everything stops.
    try:
        for line in source:
            lines.put(line)
    except ValueError:
        return


def _take_line(view: DemoView, screen: Screen, line: dict[str, Any]) -> None:
    if line["type"] == "progress":
        view.clock_ms, view.final_ms, view.holding = line["clock_ms"], line["final_ms"], line["holding"]
        view.published = line["predictions"] + line["labels"]
    elif line["type"] == "swap":
        screen.news(view.take_swap(line["model_id"], line["version"], line["clock_ms"]))
    elif line["type"] == "note":
        screen.news(line["text"])


def _handlers(settings: Settings, view: DemoView) -> dict[str, Callable[[bytes], str | None]]:
    """Topic to what takes its records into the view and returns a line of news, if there is any."""

    def handler(kind: type[_EventT], take: Callable[[_EventT], str | None]) -> Callable[[bytes], str | None]:
        decode = msgspec.json.Decoder(kind).decode
        return lambda data: take(decode(data))

    topics = settings.topics
    return {
        topics.window_reports: handler(WindowReport, view.take_report),
        topics.monitor_progress: handler(SourceProgress, view.take_progress),
        topics.alerts: handler(Alert, view.take_alert),
        topics.retrain_commands: handler(RetrainCommand, view.take_command),
        topics.model_events: handler(ModelEvent, view.take_model_event),
    }


def _read_result(path: Path) -> DemoResult | None:
    return msgspec.json.decode(path.read_bytes(), type=DemoResult) if path.exists() else None


def _hold(console: Console, settings: Settings, supervisor: Supervisor, service: Child) -> None:
    """Keep broker and services up until Ctrl-C."""
    console.print(f"\nbroker and services stay up on {settings.bootstrap}; Ctrl-C ends them", highlight=False)
    try:
        while True:
            supervisor.check(may_end=service)
            time.sleep(0.5)
    except KeyboardInterrupt:
        console.print("stopped", highlight=False)
