"""What the worker leaves of a run in the database: phases, end, and what broke off."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException
from sqlalchemy.exc import OperationalError

from driftloop.events.decisions import RetrainCommand
from driftloop.kafka.log_reader import LogReadError
from driftloop.registry import RunStore, create_schema, open_engine
from driftloop.training import progress
from driftloop.training.child import TrainingCancelled
from driftloop.training.run import Finished
from driftloop.training.worker import MAX_ATTEMPTS, Trainer

COMMAND = RetrainCommand(
    command_id="c" * 8, model_id="m", champion_version="v1", trigger="drift", reason="r", window_end_ms=2, from_ms=0,
    to_ms=2,
)  # fmt: skip


class Runner:
    """Stands for the runner: trains, or breaks off."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    def run(self, command: RetrainCommand) -> Finished:
        progress.phase("fitting")
        progress.line("iteration 1")
        if self.error is not None:
            raise self.error
        return Finished("rejected", "v2", "worse")

    def fail(self, command: RetrainCommand, reason: str) -> Finished:
        return Finished("failed", None, reason)


@pytest.fixture
def runs(tmp_path: Path) -> RunStore:
    engine = open_engine(f"sqlite:///{tmp_path / 'registry.db'}")
    create_schema(engine)
    return RunStore(engine)


def trainer(runs: RunStore, runner: Any) -> Trainer:
    nothing: Any = None
    return Trainer(
        {}, group="g", commands_topic="c", dead_letters_topic="d", runs=runs, relay=nothing, runner=runner,
        stopping=threading.Event(), producer=nothing, putting_off=nothing, owner="trainer-1",
    )  # fmt: skip


def texts(runs: RunStore) -> list[str]:
    return [entry.text for entry in runs.log.entries(COMMAND.command_id)]


def test_a_run_leaves_phases_log_and_end(runs: RunStore) -> None:
    trainer(runs, Runner())._carry_out(COMMAND)
    assert texts(runs) == ["attempt 1 by trainer-1", "fitting", "iteration 1"]
    run = runs.get(COMMAND.command_id)
    assert run is not None
    assert (run.outcome, run.version, run.reason) == ("rejected", "v2", "worse")
    assert run.ended is not None
    assert run.ended >= run.started


def test_an_attempt_that_breaks_off_says_so_and_the_next_goes_on(runs: RunStore) -> None:
    with pytest.raises(RuntimeError):
        trainer(runs, Runner(RuntimeError("the disk is full")))._carry_out(COMMAND)
    with pytest.raises(TrainingCancelled):
        trainer(runs, Runner(TrainingCancelled()))._carry_out(COMMAND)
    trainer(runs, Runner())._carry_out(COMMAND)
    said = texts(runs)
    assert "this attempt by trainer-1 broke off: RuntimeError: the disk is full" in said
    assert [text for text in said if text.startswith("attempt")] == [
        f"attempt {number} by trainer-1" for number in (1, 2, 2)
    ]


@pytest.mark.parametrize(
    "error",
    [
        LogReadError("no broker"),
        KafkaException("no broker"),
        OperationalError("select", {}, Exception("away")),
        TrainingCancelled(),
    ],
)
def test_outages_use_up_no_attempt(runs: RunStore, error: Exception) -> None:
    for _ in range(MAX_ATTEMPTS + 1):
        with pytest.raises(type(error)):
            trainer(runs, Runner(error))._carry_out(COMMAND)
        run = runs.get(COMMAND.command_id)
        assert run is not None
        assert (run.attempts, run.lease_until) == (0, 0.0)
    trainer(runs, Runner())._carry_out(COMMAND)
    run = runs.get(COMMAND.command_id)
    assert run is not None
    assert (run.outcome, run.attempts) == ("rejected", 1)


def test_after_too_many_attempts_the_run_ends_as_failed(runs: RunStore) -> None:
    for _ in range(MAX_ATTEMPTS):
        with pytest.raises(RuntimeError):
            trainer(runs, Runner(RuntimeError("crash")))._carry_out(COMMAND)
    trainer(runs, Runner())._carry_out(COMMAND)
    run = runs.get(COMMAND.command_id)
    assert run is not None
    assert run.outcome == "failed"
    assert run.reason.startswith(f"{MAX_ATTEMPTS} attempts ended without a result")
