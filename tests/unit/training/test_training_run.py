from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from sqlalchemy import select

from driftloop.events.decisions import ModelEvent, RetrainCommand
from driftloop.events.messages import Labeled
from driftloop.events.time import format_time
from driftloop.registry import NewVersion, RegistryError, ShadowStore
from driftloop.registry.artifacts import ArtifactStore
from driftloop.registry.database import create_schema, open_engine, reading
from driftloop.registry.models import Registry
from driftloop.registry.tables import outbox
from driftloop.spec.load import spec_digest
from driftloop.spec.model import ModelSpec
from driftloop.spec.policy import BreakerSpec, PolicySpec
from driftloop.spec.shadow import ShadowSpec
from driftloop.spec.training import CandidateSpec, RiverSpec
from driftloop.training import child
from driftloop.training import run as run_module
from driftloop.training.bootstrap import register_first_version
from driftloop.training.child import ChampionFile, TrainingCancelled
from driftloop.training.dataset import OffsetRange, TrainingSet
from driftloop.training.run import CommandRunner
from driftloop.training.train import Champion, Trained, train
from support.training_rows import make_labeled, make_rows, make_spec

DAY_MS = 86_400_000
COMMAND = RetrainCommand(
    command_id="c" * 32,
    model_id="m",
    champion_version="v1",
    trigger="performance",
    reason="roc_auc fell",
    window_end_ms=10**10,
    from_ms=0,
    to_ms=10**10,
)


class FixedLog:
    """Stands for the labeled topic."""

    def __init__(self, rows: list[Labeled]) -> None:
        self.found = rows
        self.reads = 0

    def rows(
        self, model_id: str, from_ms: int, to_ms: int, most_rows: int | None = None
    ) -> tuple[list[Labeled], list[OffsetRange]]:
        self.reads += 1
        return self.found, [OffsetRange(partition=0, first=0, end=len(self.found))]


def in_this_process(  # type: ignore[no-untyped-def]
    spec: ModelSpec, parquet: bytes, champion: ChampionFile | None, *, seed: int, folder: Path, **more: object
) -> Trained:
    """The child's work without a process; the process itself has tests of its own."""
    assert folder.is_dir()
    from driftloop.training.artifacts import load

    data = TrainingSet.from_parquet(spec, parquet)
    rival = None
    if champion is not None:
        pipeline = None if champion.artifact is None else load(champion.artifact)
        rival = Champion(champion.version, pipeline, champion.trained_to_ms)
    try:
        return train(spec, data, rival, seed=seed, changed_at_ms=more.get("changed_at_ms"))  # type: ignore[arg-type]
    except ValueError as error:
        raise child.TrainingFailed(str(error)) from error


class World:
    def __init__(self, folder: Path) -> None:
        engine = open_engine(f"sqlite:///{folder / 'registry.db'}")
        create_schema(engine)
        self.registry = Registry(engine, ArtifactStore(folder / "artifacts"))
        self.folder = folder / "trainer"
        # The first champion learnt the opposite of what holds now.
        register_first_version(self.registry, make_spec(), *make_rows(seed=1, sign=-1.0), 100)

    def runner(self, rows: list[Labeled], spec: ModelSpec | None = None) -> CommandRunner:
        self.log = FixedLog(rows)
        spec = spec or make_spec()
        return CommandRunner(
            {spec.model: spec},
            self.registry,
            self.log,  # type: ignore[arg-type]
            labeled_topic="t.labeled",
            folder=self.folder,
        )

    def events(self) -> list[ModelEvent]:
        with reading(self.registry.engine) as connection:
            values = [row.value for row in connection.execute(select(outbox).order_by(outbox.c.id))]
        return [msgspec.json.decode(value, type=ModelEvent) for value in values]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(run_module, "train_in_child", in_this_process)
    return World(tmp_path)


def labeled(sign: float = 1.0, rows: int = 400) -> list[Labeled]:
    frame, labels, times = make_rows(rows=rows, sign=sign)
    return make_labeled(make_spec(), frame, labels, times + 10**9)


def test_a_better_challenger_is_promoted_with_its_lineage(world: World) -> None:
    rows = labeled()
    ended = world.runner(rows).run(COMMAND)
    assert (ended.outcome, ended.version) == ("promoted", "v2")
    champion = world.registry.champion("m")
    assert champion is not None
    assert champion.version == "v2"
    lineage = champion.lineage
    assert lineage["compared_with"] == "v1"
    assert lineage["command"]["reason"] == "roc_auc fell"
    assert lineage["dataset"]["sources"] == [{"partition": 0, "first": 0, "end": 400}]
    assert lineage["spec_digest"] == spec_digest(make_spec())
    data = TrainingSet.from_parquet(make_spec(), world.registry.store.read(lineage["dataset"]["uri"]))
    assert data.ids.tolist() == [row.prediction_id for row in rows]
    assert b'"rows":400' in world.registry.store.read(lineage["dataset"]["manifest_uri"])
    assert [event.kind for event in world.events()] == ["registered", "promoted", "registered", "promoted"]
    promoted = world.events()[-1]
    assert promoted.command_id == COMMAND.command_id
    assert promoted.previous_version == "v1"
    assert "challenger" in promoted.reason
    assert list(world.folder.iterdir()) == []


def test_the_same_command_again_changes_nothing(world: World) -> None:
    runner = world.runner(labeled())
    first = runner.run(COMMAND)
    world.registry.rollback("m", "a person knows better", 200)
    before = len(world.events())
    again = runner.run(COMMAND)
    assert (again.outcome, again.version) == (first.outcome, first.version)
    assert world.log.reads == 1
    assert len(world.events()) == before
    champion = world.registry.champion("m")
    assert champion is not None
    assert champion.version == "v1"  # a repeated command does not undo the rollback


def test_a_worse_challenger_is_rejected_and_says_why(world: World) -> None:
    strict = make_spec(gates=[msgspec.structs.replace(make_spec().gates[2], mode="superiority", margin=0.1)])
    ended = world.runner(labeled(sign=-1.0), strict).run(COMMAND)
    assert (ended.outcome, ended.version) == ("rejected", "v2")
    assert "is not above" in ended.reason
    assert world.events()[-1].kind == "rejected"
    assert world.events()[-1].reason == ended.reason


def test_with_manual_promotion_the_challenger_waits(world: World) -> None:
    ended = world.runner(labeled(), make_spec(promotion="manual")).run(COMMAND)
    assert (ended.outcome, ended.version) == ("registered", "v2")
    challenger = world.registry.challenger("m")
    assert challenger is not None
    assert challenger.version == "v2"


def test_with_approval_the_challenger_waits_for_a_person(world: World) -> None:
    runner = world.runner(labeled(), make_spec(promotion="approval"))
    for _ in range(2):  # a run that broke off after the registration comes again
        ended = runner.run(COMMAND)
        assert (ended.outcome, ended.version) == ("registered", "v2")
        assert ended.reason.startswith("waits for approval; ")
    challenger, champion = world.registry.challenger("m"), world.registry.champion("m")
    assert challenger is not None
    assert champion is not None
    assert (challenger.version, challenger.status, champion.version) == ("v2", "awaiting_approval", "v1")
    assert [event.kind for event in world.events()].count("awaiting_approval") == 1
    world.registry.approve("m", "v2", "looks right", 10, "ada")
    assert runner.run(COMMAND).outcome == "promoted"
    champion = world.registry.champion("m")
    assert champion is not None
    assert champion.version == "v2"


def test_a_run_that_comes_again_after_a_person_rejected_its_version(world: World) -> None:
    runner = world.runner(labeled(), make_spec(promotion="approval"))
    runner.run(COMMAND)
    world.registry.reject("m", "v2", "not explainable", 10, "ada")
    ended = runner.run(COMMAND)
    assert (ended.outcome, ended.version) == ("rejected", "v2")


def test_with_approval_a_version_that_fails_its_gates_does_not_wait(world: World) -> None:
    gates = [msgspec.structs.replace(make_spec().gates[2], mode="superiority", margin=0.1)]
    ended = world.runner(labeled(sign=-1.0), make_spec(promotion="approval", gates=gates)).run(COMMAND)
    assert ended.outcome == "rejected"
    with pytest.raises(RegistryError, match="it is rejected"):
        world.registry.approve("m", "v2", "all the same", 10, "ada")


@pytest.mark.parametrize(
    ("rows", "spec", "reason"),
    [
        (labeled(rows=20), make_spec(), "only 20 labeled rows"),
        (labeled(), make_spec(estimator="sklearn.svm.Nothing"), "does not exist"),
        (labeled(), make_spec("regression"), "is registered as a binary model"),
        (labeled(), make_spec(model="other"), "no spec of model 'm'; it has other"),
    ],
)
def test_what_cannot_be_done_ends_as_failed_once(
    world: World, rows: list[Labeled], spec: ModelSpec, reason: str
) -> None:
    runner = world.runner(rows, spec)
    ended = runner.run(COMMAND)
    assert ended.outcome == "failed"
    assert reason in ended.reason
    assert runner.run(COMMAND).outcome == "failed"
    failures = [event for event in world.events() if event.kind == "failed"]
    assert [(event.command_id, event.reason) for event in failures] == [(COMMAND.command_id, ended.reason)]


def test_after_a_failure_was_told_it_stays_one(world: World) -> None:
    """Killed between telling of the failure and ending the run; meanwhile there are rows enough."""
    failed = world.runner(labeled(rows=20)).run(COMMAND)
    assert world.runner(labeled()).run(COMMAND) == failed
    assert len(world.registry.versions("m")) == 1


def test_killed_between_registering_and_promoting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(world.registry, "promote", killed)
        with pytest.raises(KeyboardInterrupt):
            world.runner(labeled()).run(COMMAND)
    runner = world.runner(labeled())
    assert runner.run(COMMAND).outcome == "promoted"
    assert world.log.reads == 0
    assert [version.version for version in world.registry.versions("m")] == ["v1", "v2"]


def three_versions(world: World) -> None:
    """v2 is the champion, v1 the one before."""
    registry = world.registry
    first = registry.champion("m")
    assert first is not None
    registry.register_version(
        NewVersion(model_id="m", version="v2", artifact=first.artifact, profile=registry.profile("m", "v1") or b"")
    )
    registry.promote("m", "v2", "by hand", 150)


def test_a_rollback_during_the_training_is_not_undone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    three_versions(world)

    def slow(*given: Any, **more: Any) -> Trained:
        trained = in_this_process(*given, **more)
        world.registry.rollback("m", "v2 is wrong", 200)
        return trained

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "train_in_child", slow)
        ended = world.runner(labeled()).run(COMMAND)
    assert (ended.outcome, ended.version) == ("registered", "v3")
    assert ended.reason.startswith("waits for approval; 'v3' was judged against 'v2', and 'v1' is the champion")
    champion, waiting = world.registry.champion("m"), world.registry.version("m", "v3")
    assert champion is not None
    assert waiting is not None
    assert (champion.version, waiting.status) == ("v1", "awaiting_approval")
    told = world.events()
    assert (told[-1].kind, told[-1].command_id) == ("awaiting_approval", COMMAND.command_id)
    assert f"waits for approval; {told[-1].reason}" == ended.reason
    assert world.runner(labeled()).run(COMMAND) == ended, "a run that comes again finds it waiting"
    assert len(world.events()) == len(told)


@pytest.mark.parametrize("newer", [False, True])
def test_another_champion_between_a_crash_and_the_run_that_comes_again(
    world: World, monkeypatch: pytest.MonkeyPatch, newer: bool
) -> None:
    def killed(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    three_versions(world)
    with monkeypatch.context() as patch:
        patch.setattr(world.registry, "promote", killed)
        with pytest.raises(KeyboardInterrupt):
            world.runner(labeled()).run(COMMAND)
    if newer:
        world.registry.register_version(NewVersion(model_id="m", version="v4", profile=b""))
        world.registry.promote("m", "v4", "by hand", 200)
    else:
        world.registry.rollback("m", "v2 is wrong", 200)
    for _ in range(2):
        ended = world.runner(labeled()).run(COMMAND)
        assert (ended.outcome, ended.version) == ("rejected" if newer else "registered", "v3")
        assert f"and {'v4' if newer else 'v1'!r} is the champion of 'm' by now" in ended.reason
    champion = world.registry.champion("m")
    assert champion is not None
    assert champion.version == ("v4" if newer else "v1")


def test_cancelling_decides_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def cancelled(*args: object, **more: object) -> None:
        raise TrainingCancelled

    monkeypatch.setattr(run_module, "train_in_child", cancelled)
    with pytest.raises(TrainingCancelled):
        world.runner(labeled()).run(COMMAND)
    assert len(world.registry.versions("m")) == 1
    assert len(world.events()) == 2


def test_files_of_a_killed_attempt_are_cleared_away(world: World) -> None:
    left = world.folder / f"{COMMAND.command_id}-killed"
    left.mkdir(parents=True)
    (left / "data.parquet").write_bytes(b"x")
    world.runner(labeled()).run(COMMAND)
    assert list(world.folder.iterdir()) == []


def test_a_missing_champion_file_fails_the_command(world: World) -> None:
    champion = world.registry.champion("m")
    assert champion is not None
    assert champion.artifact is not None
    world.registry.store.path(champion.artifact).unlink()
    ended = world.runner(labeled()).run(COMMAND)
    assert ended.outcome == "failed"
    assert "is not in" in ended.reason


def test_rows_outside_of_the_commands_time_are_not_used(world: World) -> None:
    narrow = msgspec.structs.replace(COMMAND, to_ms=10**9 + int(np.median(make_rows()[2])))
    world.runner(labeled()).run(narrow)
    version = world.registry.version_of_command(COMMAND.command_id)
    assert version is not None
    assert version.lineage["dataset"]["rows"] == 200


def failing(number: int, **options: str) -> RetrainCommand:
    return msgspec.structs.replace(COMMAND, command_id=f"{number:032}", **options)


def test_the_breaker_holds_until_a_person_asks(world: World) -> None:
    gates = [msgspec.structs.replace(make_spec().gates[2], mode="superiority", margin=0.1)]
    runner = world.runner(
        labeled(sign=-1.0), make_spec(gates=gates, policy=PolicySpec(breaker=BreakerSpec(failures=2)))
    )
    assert [runner.run(failing(number)).outcome for number in (1, 2)] == ["rejected", "rejected"]
    for _ in range(2):  # told once, also if the command comes again
        ended = runner.run(failing(3))
        assert (ended.outcome, ended.version) == ("held", None)
        assert "the last 2 challengers (v2, v3) failed the gate metric:" in ended.reason
    assert world.log.reads == 2, "nothing was read to train on"
    held = [event for event in world.events() if event.kind == "held"]
    assert [(event.command_id, event.reason) for event in held] == [(f"{3:032}", ended.reason)]
    assert world.registry.history("m")[-1].action == "held"
    # The first challenger of a new row: one more failure is not enough.
    asked = runner.run(failing(4, trigger="manual", actor="ann", reason="prices"))
    assert (asked.outcome, asked.version) == ("rejected", "v4")
    registered = [change for change in world.registry.history("m") if change.action == "registered"]
    assert registered[-1].reason == "manual (asked by ann): prices"
    assert [runner.run(failing(number)).outcome for number in (5, 6)] == ["rejected", "held"]
    without = world.runner(labeled(sign=-1.0), make_spec(gates=gates, policy=PolicySpec(breaker=None)))
    assert without.run(failing(7)).outcome == "rejected"


def shadowed(**shadow: Any) -> ModelSpec:
    return make_spec(promotion="shadow", shadow=ShadowSpec(longest="49d", **shadow))


def watched(world: World) -> list[tuple[str, str]]:
    return [(row.version, row.status) for row in ShadowStore(world.registry.engine).of_model("m")]


def test_a_weekly_retraining_does_not_starve_a_comparison_that_takes_longer(world: World) -> None:
    runner = world.runner(labeled(), shadowed())
    assert runner.run(failing(1)).version == "v2"
    for number in (2, 3):
        for _ in range(2):  # told once, also if the command comes again
            ended = runner.run(failing(number, trigger="schedule"))
            assert (ended.outcome, ended.version) == ("held", None)
    # From the first whole day that its training has not seen, 49 days.
    first_ms = -(-(10**10) // DAY_MS) * DAY_MS
    assert ended.reason == (
        f"not now, because v2 is compared with v1 (shadow), on predictions up to {format_time(first_ms + 49 * DAY_MS)} "
        "at the latest; see 'driftloop models shadow m', and 'driftloop models reject' to end it"
    )
    assert world.log.reads == 1, "nothing was read to train on"
    held = [(event.command_id, event.reason) for event in world.events() if event.kind == "held"]
    assert held == [(f"{number:032}", ended.reason) for number in (2, 3)]
    assert watched(world) == [("v2", "watching")]
    store = ShadowStore(world.registry.engine)
    store.stop(store.open("m")[0], "undecided", event_time_ms=10**10, actor="shadow")
    assert runner.run(failing(4, trigger="schedule")).version == "v3"
    assert watched(world) == [("v2", "stopped"), ("v3", "watching")]


@pytest.mark.parametrize(("supersede", "trigger"), [(False, "manual"), (True, "schedule")])
def test_a_person_and_the_spec_may_let_a_newer_one_take_the_place(world: World, supersede: bool, trigger: str) -> None:
    runner = world.runner(labeled(), shadowed(supersede=supersede))
    runner.run(failing(1))
    ended = runner.run(failing(2, trigger=trigger))
    assert (ended.outcome, ended.version) == ("registered", "v3")
    assert watched(world) == [("v2", "superseded"), ("v3", "watching")]


def test_a_comparison_that_begins_during_the_training_is_not_superseded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*given: Any, **more: Any) -> Trained:
        trained = in_this_process(*given, **more)
        world.registry.register_version(NewVersion(model_id="m", version="v2"))
        ShadowStore(world.registry.engine).start(
            "m", "v2", "shadow", from_ms=10**10, reason="", event_time_ms=10**10, actor="another trainer"
        )
        return trained

    monkeypatch.setattr(run_module, "train_in_child", slow)
    runner = world.runner(labeled(), shadowed())
    for _ in range(2):
        ended = runner.run(failing(1))
        assert (ended.outcome, ended.version) == ("rejected", "v3")
        assert ended.reason.startswith("v2 is compared with the champion and has no verdict yet")
    assert watched(world) == [("v2", "watching")]


def test_without_comparisons_nothing_is_held(world: World) -> None:
    assert world.runner(labeled(), shadowed()).run(failing(1)).version == "v2"
    assert world.runner(labeled(), make_spec(promotion="manual")).run(failing(2)).version == "v3"
    assert watched(world) == [("v2", "watching")]


def test_candidates_of_a_command_are_told_in_the_lineage(world: World) -> None:
    candidates = [CandidateSpec(candidate="everything"), CandidateSpec(candidate="since_change")]
    old, new = labeled(sign=-1.0), labeled()
    command = msgspec.structs.replace(COMMAND, changed_at_ms=new[150].predicted_at_ms)
    ended = world.runner(old[:150] + new[150:], make_spec(training={"candidates": candidates})).run(command)
    assert ended.outcome == "promoted"
    version = world.registry.version_of_command(command.command_id)
    assert version is not None
    assert version.lineage["choice"]["chosen"] == "since the change"
    assert version.lineage["choice"]["changed_at_ms"] == command.changed_at_ms
    assert version.lineage["dataset"]["rows"] == 400, "the kept rows are those of the widest candidate"
    assert version.lineage["choice"]["selected_rows"] == 250
    assert version.trained_from_ms == command.changed_at_ms


def test_a_river_model_learns_on_from_command_to_command(world: World) -> None:
    river = RiverSpec(model="river.linear_model.LogisticRegression")
    spec = make_spec(training={"river": river}, gates=[], model="m")
    spec = msgspec.structs.replace(spec, training=msgspec.structs.replace(spec.training, estimator=None))
    rows = labeled(rows=800)
    runner = world.runner(rows[:400], spec)
    assert runner.run(COMMAND).version == "v2"
    world.log.found = rows
    assert runner.run(msgspec.structs.replace(COMMAND, command_id="d" * 32)).version == "v3"
    starts = [
        world.registry.version("m", version).lineage["learned_on"]  # type: ignore[union-attr]
        for version in ("v2", "v3")
    ]
    assert [start["version"] for start in starts] == [None, "v2"]
    assert [(start["rows_before"], start["new_rows"]) for start in starts] == [(0, 400), (400, 400)]
    # Nothing is later than what v3 has learned: the run fails and says why.
    again = runner.run(msgspec.structs.replace(COMMAND, command_id="e" * 32))
    assert again.outcome == "failed"
    assert "0 rows are later than" in again.reason
