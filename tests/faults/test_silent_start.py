"""A process that starts while its database is silent: it listens, is alive and not ready, and ends when asked."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from driftloop.kafka.embedded import EmbeddedBroker, free_port
from support import world
from support.health import PROBES_S, ask
from support.own_settings import own_settings
from support.postgres import PostgresServer

pytestmark = [pytest.mark.broker, pytest.mark.slow]


def test_a_database_that_is_silent_from_the_start(tmp_path: Path, postgres: PostgresServer) -> None:
    with EmbeddedBroker(log_file=tmp_path / "broker.log") as broker:
        settings = own_settings(
            broker.bootstrap,
            "silent",
            tmp_path,
            specs=tmp_path / "specs",
            web_port=free_port(),
            # Not the five seconds after which a start is given up: the silence is to last as long as the test.
            database_url=f"{postgres.url}?connect_timeout=120",
        )
        world.prepare(settings)
        postgres.pause()
        ports = {"worker": free_port(), "trainer": free_port()}
        processes = {
            name: world.Process(settings.model_copy(update={"metrics_port": port}), name, log=tmp_path / f"{name}.log")
            for name, port in ports.items()
        }
        try:
            for name, port in ports.items():
                process = processes[name]
                world.wait_for("an answer", lambda port=port: ask(port).live is True, process)  # type: ignore[misc]
                for _ in range(5):
                    health = ask(port)
                    assert (health.live, health.ready) == (True, False), process.text()
                    assert "no answer within" in health.problems["database"]
                    assert health.seconds < PROBES_S, health
            processes["worker"].signal(signal.SIGTERM)
            assert processes["worker"].process.wait(5) == 0, processes["worker"].text()
        finally:
            postgres.resume()
            for process in processes.values():
                if process.process.poll() is None:
                    process.kill()
