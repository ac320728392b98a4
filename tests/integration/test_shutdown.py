"""How worker and trainer end: cleanly when asked, within their grace when the broker is gone, at once when asked
again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from driftloop.kafka.embedded import EmbeddedBroker, free_port
from driftloop.registry import open_engine
from driftloop.registry.database import writing
from driftloop.registry.outbox import MODEL_EVENTS, add
from driftloop.settings import Settings
from driftloop.stopping import EXIT_ASKED_AGAIN, EXIT_OVERDUE, GRACE_S
from support import world
from support.health import ask
from support.own_settings import own_settings

pytestmark = [pytest.mark.broker, pytest.mark.slow]

#: A busy machine takes a while to see that a process has ended.
_SEEN_S = 2.0


class Running:
    """A worker with events behind it and a trainer, on a broker of their own."""

    def __init__(self, settings: Settings, folder: Path, broker: EmbeddedBroker | None = None) -> None:
        self._broker = broker
        self.ports: dict[str, int] = {}
        self.processes: dict[str, world.Process] = {}
        # A database of its own: the worker's relay might be the one that publishes what is left for the trainer.
        self._of_trainer = settings.model_copy(update={"data_dir": folder / "trainer"})
        self._asked_s = 0.0
        for name, own in (("worker", settings), ("trainer", self._of_trainer)):
            self.ports[name] = free_port()
            with_port = own.model_copy(update={"metrics_port": self.ports[name]})
            self.processes[name] = world.Process(with_port, name, log=folder / f"{name}.log")

    def ask(self) -> None:
        self._asked_s = time.monotonic()
        for process in self.processes.values():
            process.signal(signal.SIGTERM)

    def wait_until_ready(self) -> None:
        for name, process in self.processes.items():
            world.wait_for("readiness", lambda name=name: ask(self.ports[name]).ready is True, process)  # type: ignore[misc]

    def lose_the_broker(self) -> None:
        broker = self._broker
        assert broker is not None
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        world.wait_for("the broker's end", lambda: not broker.alive)

    def leave_something_to_publish(self) -> None:
        """Without a broker the trainer then waits for it, in a call of Kafka's client."""
        engine = open_engine(self._of_trainer.resolved_database_url)
        with writing(engine) as connection:
            add(connection, event_key="left", topic=MODEL_EVENTS, key="credit", value=b"{}")
        engine.dispose()
        time.sleep(3.0)

    def kill(self) -> None:
        for process in self.processes.values():
            if process.process.poll() is None:
                process.kill()

    def ended_within(self, seconds: float) -> dict[str, int]:
        """Exit codes, of an end that took no longer since it was asked for."""
        codes = {}
        for name, process in self.processes.items():
            left_s = self._asked_s + seconds + _SEEN_S - time.monotonic()
            codes[name] = process.process.wait(max(0.1, left_s))
        return codes


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with EmbeddedBroker(log_file=tmp_path / "broker.log") as broker:
        settings = own_settings(broker.bootstrap, "shutdown", tmp_path, specs=tmp_path / "specs", web_port=free_port())
        world.prepare(settings)
        running = Running(settings, tmp_path, broker)
        try:
            world.publish(settings, world.history(2, 200))
            world.wait_for("a window", lambda: bool(world.final_reports(settings)), running.processes["worker"])
            running.wait_until_ready()
            yield running
        finally:
            running.kill()


def test_one_request_that_arrives_twice_is_one_request(running: Running) -> None:
    # As when a supervisor signals the process and its group: the copy must not cut the clean end short.
    running.ask()
    time.sleep(0.05)
    running.ask()
    assert running.ended_within(GRACE_S) == {"worker": 0, "trainer": 0}
    assert '"exit_code": 0' in running.processes["worker"].text()
    assert "trainer stopped" in running.processes["trainer"].text()


def test_without_a_broker_they_end_within_their_grace(running: Running) -> None:
    running.lose_the_broker()
    running.leave_something_to_publish()
    running.ask()
    # Draining: still alive, and nobody should send them more.
    for name in running.processes:
        world.wait_for("it to say that it ends", lambda name=name: _draining(running.ports[name]))  # type: ignore[misc]
    codes = running.ended_within(GRACE_S)
    assert codes["worker"] == 1
    assert "will be done again" in running.processes["worker"].text()
    # It waits for the broker in calls that end by themselves, each within the grace and all of them perhaps not.
    assert codes["trainer"] in (0, EXIT_OVERDUE)
    assert "wait in the outbox" in running.processes["trainer"].text()


def _draining(port: int) -> bool:
    health = ask(port)
    assert health.live is True
    return any(said.startswith("told to end") for said in health.problems.values())


def test_a_second_request_ends_them_at_once(running: Running) -> None:
    running.lose_the_broker()
    running.leave_something_to_publish()
    running.ask()
    time.sleep(2.0)
    for process in running.processes.values():
        assert process.process.poll() is None, "without the broker the clean end takes its grace"
    running.ask()
    assert running.ended_within(3.0) == {"worker": EXIT_ASKED_AGAIN, "trainer": EXIT_ASKED_AGAIN}


def test_while_they_wait_for_a_broker_they_end_when_asked(tmp_path: Path) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    settings = own_settings(nowhere, "shutdown", tmp_path, specs=tmp_path / "specs", web_port=free_port())
    world.write_spec(settings.specs)
    running = Running(settings, tmp_path)
    try:
        for name, process in running.processes.items():
            world.wait_for("an answer", lambda name=name: ask(running.ports[name]).live is True, process)  # type: ignore[misc]
        running.ask()
        assert running.ended_within(5.0) == {"worker": 0, "trainer": 0}
    finally:
        running.kill()
