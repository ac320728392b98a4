"""The running system that holds the models of the test of whole loops: worker, two trainers, and people who ask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from driftloop.kafka.embedded import free_port
from support import world
from support.loop_cases import POLICY_CASES
from support.loop_training_cases import TRAINING_CASES
from support.loop_world import Loops
from support.own_settings import own_settings

__all__ = ["running_loops"]

_REASON = ("--by", "ada", "--reason", "a look at the numbers")
#: Models of some hundred rows are not fitted any faster by several threads, which get in each other's way.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
#: Processes end by themselves a little before the test's own time is over.
_LIFE_S = 950


@contextmanager
def running_loops(bootstrap: str, folder: Path) -> Iterator[Loops]:
    """Every model once all has come to its end: windows judged, trainings ended, people's decisions carried out."""
    settings = own_settings(
        bootstrap,
        "loops",
        folder,
        specs=folder / "specs",
        web_port=free_port(),
        source_partitions=2,
        publish_interval_ms=200,
    )
    loops = Loops(settings, folder, [*POLICY_CASES, *TRAINING_CASES])
    commands = {"worker": "worker", "trainer-0": "trainer", "trainer-1": "trainer"}
    started: list[world.Process] = []
    try:
        for name, command in commands.items():
            log = folder / f"{name}.log"
            started.append(world.Process(settings, command, log=log, life_s=_LIFE_S, **_ONE_THREAD))
        worker, *trainers = started
        loops.publish()
        world.wait_for("every window", loops.judged, worker, 150)
        world.wait_for("every training", loops.trained, trainers[0], 600)
        _ask_by_hand(loops)
        world.wait_for("what people asked for", loops.trained, trainers[0], 120)
        yield loops
        for process in started:
            assert process.stop() == 0, process.text()
    finally:
        for process in started:
            if process.process.poll() is None:
                process.kill()


def _ask_by_hand(loops: Loops) -> None:
    """What people do once the trainers have nothing to do."""
    for name in ("nothing-fires", "breaker", "river"):
        loops.command_line(f"retrain {name}", "retrain", name, "--reason", "new prices", "--yes")
    loops.command_line("retrain nobody", "retrain", "nobody", "--reason", "new prices", "--yes")
    loops.command_line("retrain early", "retrain", "nothing-fires", "--reason", "now", "--to", "2024-02-01", "--yes")
    loops.command_line("approve", "models", "approve", "expectations-met", "v2", *_REASON)
    loops.command_line("reject", "models", "reject", "search", "v2", *_REASON)
    loops.command_line("approve after shadow", "models", "approve", "shadow-then-approval", "v2", *_REASON)
    loops.command_line("promote", "models", "promote", "pipeline", "v2")
    loops.command_line("promote rejected", "models", "promote", "labels-shuffled", "v2")
