"""One command, one run: leases that end, renewals, and the first finish."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import Engine

from driftloop.events.decisions import RetrainCommand
from driftloop.registry import Run, RunStore


def _command(name: str = "c", model: str = "late") -> RetrainCommand:
    return RetrainCommand(
        command_id=name,
        model_id=model,
        champion_version="v1",
        trigger="drift",
        reason="drift",
        window_end_ms=2,
        from_ms=0,
        to_ms=2,
    )


@pytest.fixture
def runs(engine: Engine) -> RunStore:
    return RunStore(engine)


def test_a_lease_keeps_others_out_until_it_ends(runs: RunStore) -> None:
    run = runs.lease(_command(), "one", 30, now=1000.0)
    assert run == Run(
        command=_command(),
        owner="one",
        lease_until=1030.0,
        attempts=1,
        started=1000.0,
        outcome=None,
        version=None,
        reason="",
    )
    assert runs.lease(_command(), "two", 30, now=1029.9) is None
    taken = runs.lease(_command(), "two", 30, now=1030.0)
    assert taken is not None
    assert (taken.owner, taken.attempts, taken.lease_until, taken.started) == ("two", 2, 1060.0, 1000.0)
    assert not runs.renew("c", "one", 30, now=1031.0)


def test_the_owner_may_take_it_again_and_renew(runs: RunStore) -> None:
    runs.lease(_command(), "one", 30, now=1000.0)
    assert runs.renew("c", "one", 30, now=1020.0)
    assert runs.lease(_command(), "two", 30, now=1040.0) is None
    again = runs.lease(_command(), "one", 30, now=1041.0)
    assert again is not None
    assert again.attempts == 2
    assert not runs.renew("unknown", "one", 30, now=1.0)


def test_a_finished_run_is_never_leased_again_and_the_first_finish_counts(runs: RunStore) -> None:
    runs.lease(_command(), "one", 30, now=1000.0)
    assert runs.finish("c", "promoted", "v2", "better")
    assert not runs.finish("c", "failed", None, "too late")
    assert not runs.renew("c", "one", 30, now=1001.0)
    assert runs.lease(_command(), "one", 30, now=9000.0) is None
    run = runs.get("c")
    assert run is not None
    assert (run.outcome, run.version, run.reason) == ("promoted", "v2", "better")
    assert runs.get("unknown") is None


def test_runs_are_listed_newest_first(runs: RunStore) -> None:
    runs.lease(_command("a"), "one", 30, now=1.0)
    runs.lease(_command("b", "delay"), "one", 30, now=2.0)
    assert [run.command.command_id for run in runs.runs()] == ["b", "a"]
    assert [run.command.command_id for run in runs.runs("late")] == ["a"]


def test_of_many_workers_one_gets_the_command(runs: RunStore) -> None:
    got: list[Run] = []

    def work(name: str) -> None:
        run = runs.lease(_command(), name, 30, now=1000.0)
        if run is not None:
            got.append(run)

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(got) == 1
