"""A loop that is stuck says so, and nothing else does."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from driftloop.kafka.embedded import EmbeddedBroker, free_port
from support import world
from support.health import ask
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
    damage = {"FAULTY_HEARTBEAT_S": "2", "FAULTY_BLOCK_S": "6"}

    def start() -> world.Process:
        return world.Process(settings, "worker", log=tmp_path / "worker.log", module="faults.faulty", **damage)

    worker = start()
    trainer_settings = settings.model_copy(update={"metrics_port": trainer_port})
    trainer = world.Process(trainer_settings, "trainer", log=tmp_path / "trainer.log")
    try:
        # Starting, and no broker far and wide: alive, and not ready, for as long as it takes.
        for process, at in ((worker, metrics_port), (trainer, trainer_port)):
            world.wait_for("an answer", lambda at=at: ask(at).live is True, process)  # type: ignore[misc]
            for _ in range(10):
                health = ask(at)
                assert (health.live, health.ready) == (True, False), process.text()
            assert "no broker answers" in health.problems["broker"]
            assert health.seconds < 1.5, "a probe has little patience"
        with EmbeddedBroker(port=port, log_file=tmp_path / "broker.log"):
            world.prepare(settings)
            # Whoever gave up meanwhile is started again, as a supervisor does.
            if worker.process.poll() is not None:
                worker = start()
            world.wait_for("readiness", lambda: ask(metrics_port).ready is True, worker)
            worker.signal(signal.SIGUSR1)
            world.wait_for("the stuck loop to be seen", lambda: ask(metrics_port).live is False, worker, 10)
            world.wait_for("its end", lambda: ask(metrics_port).live is True, worker, 30)
            assert ask(metrics_port).ready is True
            assert worker.stop() == 0, worker.text()
    finally:
        for process in (worker, trainer):
            if process.process.poll() is None:
                process.kill()
