"""How a worker ends: cleanly when asked, within its grace when the broker is gone, at once when asked again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from driftloop.kafka.embedded import EmbeddedBroker, free_port
from driftloop.streaming.app import EXIT_FATAL
from support import world
from support.health import ask
from support.own_settings import own_settings

pytestmark = [pytest.mark.broker, pytest.mark.slow]


class Running:
    """A worker with events behind it, on a broker of its own."""

    def __init__(self, broker: EmbeddedBroker, worker: world.Process, metrics_port: int) -> None:
        self.broker = broker
        self.metrics_port = metrics_port
        self.worker = worker

    def ask(self) -> None:
        self.worker.signal(signal.SIGTERM)

    def lose_the_broker(self) -> None:
        assert self.broker.pid is not None
        os.kill(self.broker.pid, signal.SIGKILL)
        world.wait_for("the broker's end", lambda: not self.broker.alive)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with EmbeddedBroker(log_file=tmp_path / "broker.log") as broker:
        metrics_port = free_port()
        settings = own_settings(
            broker.bootstrap,
            "shutdown",
            tmp_path,
            specs=tmp_path / "specs",
            web_port=free_port(),
            metrics_port=metrics_port,
        )
        world.prepare(settings)
        worker = world.Process(settings, "worker", log=tmp_path / "worker.log")
        try:
            world.publish(settings, world.history(2, 200))
            world.wait_for("a window", lambda: bool(world.final_reports(settings)), worker)
            yield Running(broker, worker, metrics_port)
        finally:
            if worker.process.poll() is None:
                worker.kill()


def test_one_request_that_arrives_twice_is_one_request(running: Running) -> None:
    # As when a supervisor signals the process and its group: the copy must not cut the clean end short.
    running.ask()
    time.sleep(0.05)
    running.ask()
    assert running.worker.process.wait(30) == 0, running.worker.text()
    assert '"exit_code": 0' in running.worker.text()


def test_without_a_broker_it_ends_within_its_grace(running: Running) -> None:
    assert ask(running.metrics_port).ready is True
    running.lose_the_broker()
    running.ask()
    # Draining: still alive, and nobody should send it more.
    world.wait_for("it to say that it ends", lambda: "running" in ask(running.metrics_port).problems, running.worker)
    assert ask(running.metrics_port).live is True
    assert running.worker.process.wait(40) == 1, running.worker.text()
    assert "will be done again" in running.worker.text()


def test_a_second_request_ends_it_at_once(running: Running) -> None:
    running.lose_the_broker()
    running.ask()
    time.sleep(2.0)
    assert running.worker.process.poll() is None, "without the broker the clean end takes its grace"
    running.ask()
    assert running.worker.process.wait(5) == EXIT_FATAL
