"""Which commands nobody works on, and until when what goes on may take."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, insert

from driftloop.events.decisions import RetrainCommand
from driftloop.registry import RunStore
from driftloop.registry.database import writing
from driftloop.registry.handovers import HandoverStore
from driftloop.registry.open_commands import OpenCommand, open_commands
from driftloop.registry.tables import commands

NOW = 1_000.0


def command(name: str, model: str = "late") -> RetrainCommand:
    return RetrainCommand(
        command_id=name, model_id=model, champion_version="v1", trigger="drift", reason="drift", window_end_ms=2,
        from_ms=0, to_ms=2,
    )  # fmt: skip


class World:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.runs = RunStore(engine)
        self.handovers = HandoverStore(engine)

    def give(self, name: str, model: str = "late") -> RetrainCommand:
        """As the assessor does."""
        given = command(name, model)
        with writing(self.engine) as connection:
            row = {"command_id": name, "model_id": model, "window_end_ms": 2, "body": b"{}"}
            connection.execute(insert(commands).values(**row))
        return given

    def states(self, now: float = NOW) -> dict[str, tuple[str, float | None]]:
        found = open_commands(self.engine, {"late", "delay"}, now)
        return {one.command_id: (one.state, one.limit) for one in found}

    def hand_over(self, name: str, *, retry_for_ms: int = 60_000, timeout_ms: int = 600_000) -> None:
        self.runs.lease(command(name), "t", 10, NOW)
        self.handovers.begin(
            name, request="{}", body=b"{}", timeout_ms=timeout_ms, retry_for_ms=retry_for_ms, waiting="soon", now=NOW
        )
        self.runs.let_wait(name, "t", known=False)


@pytest.fixture
def world(engine: Engine) -> World:
    return World(engine)


def test_a_command_is_idle_until_somebody_takes_it_and_when_that_one_dies(world: World) -> None:
    given = world.give("a")
    assert world.states() == {"a": ("idle", None)}
    world.runs.lease(given, "t", 10, NOW, limit_ms=300_000)
    assert world.states() == {"a": ("running", NOW + 300)}
    world.runs.renew("a", "t", 10, NOW + 5)
    assert world.states(NOW + 12) == {"a": ("running", NOW + 300)}
    assert world.states(NOW + 16) == {"a": ("idle", None)}
    # The next attempt has its limit from its own beginning.
    world.runs.lease(given, "u", 10, NOW + 20, limit_ms=300_000)
    assert world.states(NOW + 20) == {"a": ("running", NOW + 320)}
    world.runs.finish("a", "promoted", "v2", "")
    assert world.states(NOW + 20) == {}


def test_a_handover_is_somebodys_work_with_its_own_limits(world: World) -> None:
    world.give("a")
    world.hand_over("a")
    assert world.states() == {"a": ("handed_over", NOW + 60)}
    world.handovers.confirmed("a", NOW + 10, "waiting")
    # Hours later it is overdue, and not idle.
    assert world.states(NOW + 9_000) == {"a": ("handed_over", NOW + 610)}
    world.handovers.end("a", '{"status":"succeeded"}')
    # There is a result, which a trainer has to take up.
    assert world.states(NOW + 700) == {"a": ("idle", None)}
    world.runs.lease(command("a"), "t", 10, NOW + 700, limit_ms=1_000)
    assert world.states(NOW + 700) == {"a": ("running", NOW + 701)}


def test_a_command_that_is_put_off_is_idle_when_its_time_has_come(world: World) -> None:
    world.runs.lease(world.give("a"), "t", 10, NOW)
    world.runs.put_off("a", "t", NOW + 100, "try 1 failed", tries=1)
    assert world.states(NOW + 99) == {"a": ("put_off", None)}
    assert world.states(NOW + 101) == {"a": ("idle", None)}


def test_a_run_of_a_command_that_the_database_does_not_have_counts(world: World) -> None:
    world.runs.lease(command("a"), "t", 10, NOW)
    assert world.states(NOW + 60) == {"a": ("idle", None)}


def test_a_command_that_was_never_taken_is_forgotten_when_a_later_one_has_ended(world: World) -> None:
    world.give("lost")
    later, other = world.give("later"), world.give("other", "delay")
    world.runs.lease(other, "t", 10, NOW)
    world.runs.finish("other", "failed", None, "")
    world.runs.lease(later, "t", 10, NOW)
    assert sorted(world.states()) == ["later", "lost"]
    world.runs.finish("later", "rejected", "v2", "")
    assert world.states() == {}
    world.give("newest")
    assert world.states() == {"newest": ("idle", None)}


def test_other_processes_models_are_left_to_them(world: World, engine: Engine) -> None:
    world.give("a", "theirs")
    world.give("b")
    assert open_commands(engine, {"late"}, NOW) == [OpenCommand(command_id="b", model_id="late", state="idle")]
    assert open_commands(engine, set(), NOW) == []
