"""What training runs say, in SQLite and PostgreSQL: bounded, and followed from another process's connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from driftloop.events.decisions import RetrainCommand
from driftloop.registry import ArtifactStore, Registry, RunEntry, RunStore, open_engine
from driftloop.registry import run_log as run_log_module
from driftloop.registry.database import reading
from driftloop.registry.garbage import find_garbage
from driftloop.registry.handovers import HandoverStore
from driftloop.registry.references import mentioned
from driftloop.registry.run_follow import RunState, follow, state_of


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


def _line(text: str, attempt: int = 1) -> RunEntry:
    return RunEntry(attempt=attempt, kind="line", at=1.0, text=text)


def _phase(text: str, attempt: int = 1) -> RunEntry:
    return RunEntry(attempt=attempt, kind="phase", at=1.0, text=text)


@pytest.fixture
def runs(engine: Engine) -> RunStore:
    return RunStore(engine)


@pytest.fixture
def elsewhere(database_url: str, engine: Engine) -> Iterator[RunStore]:
    """The same database as another process has it."""
    other = open_engine(database_url)
    yield RunStore(other)
    other.dispose()


def test_entries_come_in_order_and_only_those_of_the_run(runs: RunStore) -> None:
    runs.log.add("c", [_phase("cutting"), _line("5 rows\x00 and \ud800")])
    runs.log.add("d", [_line("another run's")])
    runs.log.add("c", [_phase("fitting", 2), _line("x" * 5_000, 2)])
    runs.log.add("c", [])
    entries = runs.log.entries("c")
    assert [(entry.attempt, entry.kind, entry.text[:7]) for entry in entries] == [
        (1, "phase", "cutting"), (1, "line", "5 rows\ufffd"), (2, "phase", "fitting"), (2, "line", "x" * 7),
    ]  # fmt: skip
    assert len(entries[3].text) == run_log_module.LONGEST
    assert runs.log.entries("c", after=entries[2].number) == entries[3:]
    assert {run: entry.text for run, entry in runs.log.last_phases(["c", "d"]).items()} == {"c": "fitting"}


def test_a_long_log_keeps_its_last_lines_and_all_phases(runs: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log_module, "KEPT_LINES", 10)
    runs.log.add("c", [_phase("cutting"), *(_line(f"{number}") for number in range(25)), _phase("fitting")])
    runs.log.add("d", [_line("stays")])
    runs.log.trim("c")
    assert [entry.text for entry in runs.log.entries("c")] == ["cutting", *map(str, range(15, 25)), "fitting"]
    runs.log.trim("c")
    assert len(runs.log.entries("c")) == 12
    assert len(runs.log.entries("d")) == 1


def test_lines_of_old_runs_are_forgotten(runs: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log_module, "RUNS_WITH_LINES", 2)
    for number in range(4):
        runs.lease(_command(f"c{number}"), "one", 30, now=number)
        runs.keep_file(f"c{number}", "dataset", "ab/cd")
        runs.log.add(f"c{number}", [_phase("cutting"), _line("said")])
        runs.finish(f"c{number}", "failed" if number % 2 else "promoted", None, "", now=number + 0.5)
    runs.log.forget("late")
    assert [len(runs.log.entries(f"c{number}")) for number in range(4)] == [1, 1, 2, 2]
    files = [run.files for run in reversed(runs.runs())]
    assert files == [{"dataset": "ab/cd"}, {}, {"dataset": "ab/cd"}, {"dataset": "ab/cd"}]


def test_files_of_old_handovers_are_let_go(
    registry: Registry, store: ArtifactStore, runs: RunStore, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log_module, "RUNS_WITH_LINES", 1)
    handed = HandoverStore(engine)
    given = [store.put_bytes(f"rows {number}".encode(), ".parquet") for number in range(3)]
    for number, file in enumerate(given):
        runs.lease(_command(f"c{number}"), "one", 30, now=number)
        handed.begin(
            f"c{number}", request=f'"{file.sha256}"', body=b"", timeout_ms=1, retry_for_ms=1, waiting="w", now=number
        )
        if number:
            runs.finish(f"c{number}", "failed", None, "", now=number + 0.5)
    runs.log.forget("late")
    garbage = find_garbage(registry, now_s=time.time() + 1e6, grace_s=3600.0)
    assert [handed.get(f"c{number}") is None for number in range(3)] == [False, True, False]
    with reading(engine) as connection:
        assert mentioned(connection, store) == {given[0].sha256, given[2].sha256}
    assert garbage.files == [], "a training that has not ended keeps younger files"
    runs.finish("c0", "failed", None, "", now=4.0)
    garbage = find_garbage(registry, now_s=time.time() + 1e6, grace_s=3600.0)
    assert [file.uri for file in garbage.files] == [given[1].uri]


def test_what_has_ended_otherwise_is_not_overdue_again(runs: RunStore, engine: Engine) -> None:
    handed = HandoverStore(engine)
    for name, leased in (("ended", True), ("unknown", False), ("open", True)):
        if leased:
            runs.lease(_command(name), "one", 30, now=1.0)
        handed.begin(name, request="{}", body=b"", timeout_ms=1_000, retry_for_ms=1, waiting="w", now=1.0)
        assert handed.confirmed(name, 1.0, "w")
    runs.finish("ended", "failed", None, "", now=2.0)
    assert handed.end("ended", "{}", only="sending") == "ended"
    assert len(handed.overdue(10.0)) == 3
    assert handed.end("ended", "{}", only="waiting") == "ended"
    assert handed.end("unknown", "{}", only="waiting") == "unknown"
    assert [handover.command_id for handover in handed.overdue(10.0)] == ["open"]
    found = handed.get("ended")
    assert found is not None
    assert (found.state, found.result) == ("ended", None)


def test_phases_are_bounded_however_often_a_run_breaks_off(runs: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log_module, "KEPT_PHASES", 3)
    runs.log.add("c", [_phase(f"{number}") for number in range(5)])
    runs.log.trim("c")
    assert [entry.text for entry in runs.log.entries("c")] == ["2", "3", "4"]


def test_when_a_run_ended_and_what_it_kept(runs: RunStore) -> None:
    runs.lease(_command(), "one", 30, now=1000.0)
    runs.keep_file("c", "dataset", "ab/cd")
    runs.keep_file("c", "manifest", "ab/ef")
    runs.keep_file("unknown", "dataset", "ab/cd")
    runs.finish("c", "failed", None, "bad \x00 data", now=1012.5)
    run = runs.get("c")
    assert run is not None
    assert (run.ended, run.files, run.reason) == (1012.5, {"dataset": "ab/cd", "manifest": "ab/ef"}, "bad \ufffd data")


def test_runs_are_found_by_the_beginning_of_their_name(runs: RunStore) -> None:
    for name in ("abc1", "abd2", "x%_"):
        runs.lease(_command(name), "one", 30, now=1.0)
    assert [run.command.command_id for run in runs.find("ab")] == ["abc1", "abd2"]
    assert [run.command.command_id for run in runs.find("x%")] == ["x%_"]
    assert runs.find("%") == []


def test_files_of_a_failed_run_are_no_garbage(registry: Registry, store: ArtifactStore, runs: RunStore) -> None:
    named, other = store.put_bytes(b"named", ".json"), store.put_bytes(b"other", ".json")
    runs.lease(_command(), "one", 30, now=1.0)
    runs.keep_file("c", "validation", named.uri)
    runs.finish("c", "failed", None, "", now=2.0)
    garbage = find_garbage(registry, now_s=time.time() + 1e6, grace_s=3600.0)
    assert [file.uri for file in garbage.files] == [other.uri]


def test_a_run_is_followed_from_elsewhere_until_it_ends(runs: RunStore, elsewhere: RunStore) -> None:
    now = time.time()
    runs.lease(_command(), "one", 60, now=now)
    runs.log.add("c", [_phase("cutting")])
    told: list[RunEntry | RunState] = []
    follower = threading.Thread(target=lambda: told.extend(follow(elsewhere, "c", poll_s=0.01)))
    follower.start()
    for number in range(20):
        runs.log.add("c", [_line(f"{number}")])
    runs.log.add("c", [_phase("registering")])
    runs.finish("c", "promoted", "v2", "better", now=now + 5)
    follower.join(30)
    assert not follower.is_alive()
    texts = [entry.text for entry in told if isinstance(entry, RunEntry)]
    assert texts == ["cutting", *map(str, range(20)), "registering"]
    states = [state for state in told if isinstance(state, RunState)]
    assert told[-1] == RunState("ended", "promoted as v2: better") == states[-1]
    assert states[0].state in ("running", "ended")


def test_a_trainer_that_died_is_told_and_its_successor_followed(runs: RunStore, elsewhere: RunStore) -> None:
    runs.lease(_command(), "first", 30, now=1000.0)
    runs.log.add("c", [_phase("attempt 1 by first")])
    wall = [1010.0]

    def sleep(seconds: float) -> None:
        wall[0] += 30.0
        if wall[0] == 1070.0:
            runs.lease(_command(), "second", 30, now=1070.0)
            runs.log.add("c", [_phase("attempt 2 by second", 2)])
        elif wall[0] == 1100.0:
            runs.finish("c", "failed", None, "too few rows", now=1099.0)

    told = list(follow(elsewhere, "c", clock=lambda: wall[0], sleep=sleep))
    assert [entry.text if isinstance(entry, RunEntry) else entry.state for entry in told] == [
        "attempt 1 by first", "running", "abandoned", "attempt 2 by second", "running", "ended",
    ]  # fmt: skip
    abandoned = next(state for state in told if isinstance(state, RunState) and state.state == "abandoned")
    assert "its trainer first has died or stopped: its lease ended 10s ago" in abandoned.sentence


def test_there_is_no_such_run(runs: RunStore) -> None:
    with pytest.raises(KeyError):
        next(follow(runs, "unknown"))


def test_a_late_renewal_is_no_death(runs: RunStore) -> None:
    run = runs.lease(_command(), "one", 30, now=1000.0)
    assert run is not None
    assert state_of(run, 1031.0).state == "running"
    assert state_of(run, 1033.0).state == "abandoned"
    assert "1h 0m ago" in state_of(run, 1030.0 + 3600).sentence
