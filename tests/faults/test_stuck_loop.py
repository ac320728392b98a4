"""A loop that is stuck says so, and nothing else does."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from driftloop.kafka.embedded import EmbeddedBroker, free_port
from support import world
from support.health import PROBES_S, Health, ask
from support.own_settings import own_settings

pytestmark = [pytest.mark.broker, pytest.mark.slow]


def test_liveness_fails_while_the_loop_is_stuck_and_not_before_the_broker_is_there(tmp_path: Path) -> None:
    port, metrics_port, trainer_port = free_port(), free_port(), free_port()
    settings = own_settings(
        f"127.0.0.1:{port}",
        "stuck",
        tmp_path,
        specs=tmp_path / "specs",
        web_port=free_port(),
        metrics_port=metrics_port,
    )
    world.write_spec(settings.specs)
    settings_of = {"worker": settings, "trainer": settings.model_copy(update={"metrics_port": trainer_port})}
    damage = {"FAULTY_HEARTBEAT_S": "3", "FAULTY_BLOCK_S": "8"}

    def start(name: str) -> world.Process:
        return world.Process(settings_of[name], name, log=tmp_path / f"{name}.log", module="faults.faulty", **damage)

    processes = {name: start(name) for name in settings_of}
    ports = {"worker": metrics_port, "trainer": trainer_port}

    def wait_for(what: str, condition: Callable[[Health], bool], timeout_s: float = 90) -> None:
        for name, port in ports.items():
            world.wait_for(what, lambda port=port: condition(ask(port)), processes[name], timeout_s)  # type: ignore[misc]

    def ready(name: str) -> bool:
        # Whoever gave up meanwhile, or met a broker without topics, is started again, as a supervisor does.
        if processes[name].process.poll() is not None:
            processes[name] = start(name)
        return ask(ports[name]).ready is True

    try:
        # Starting, and no broker far and wide: alive, and not ready, for as long as it takes.
        for name, at in ports.items():
            world.wait_for("an answer", lambda at=at: ask(at).live is True, processes[name])  # type: ignore[misc]
            for _ in range(10):
                health = ask(at)
                assert (health.live, health.ready) == (True, False), processes[name].text()
            assert "no broker answers" in health.problems["broker"]
            assert health.seconds < PROBES_S, "a probe has little patience"
        with EmbeddedBroker(port=port, log_file=tmp_path / "broker.log"):
            world.prepare(settings)
            for name in processes:
                world.wait_for("readiness", lambda name=name: ready(name))  # type: ignore[misc]
            for process in processes.values():
                process.signal(signal.SIGUSR1)
            wait_for("the stuck loop to be seen", lambda health: health.live is False, 10)
            wait_for("its end", lambda health: health.live is True, 30)
            wait_for("readiness", lambda health: health.ready is True, 30)
            for process in processes.values():
                assert process.stop() == 0, process.text()
    finally:
        for process in processes.values():
            if process.process.poll() is None:
                process.kill()
