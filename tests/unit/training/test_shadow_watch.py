"""Comparisons from labeled rows to verdicts, with a real registry and real model files."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftloop.events.decisions import ModelEvent, RetrainCommand, ShadowLook
from driftloop.events.messages import Labeled, SourceProgress
from driftloop.events.time import NEVER_MS
from driftloop.registry import ArtifactStore, Registry, ShadowRow, ShadowStore, create_schema, open_engine
from driftloop.registry.database import reading
from driftloop.registry.tables import outbox
from driftloop.spec.model import ModelSpec
from driftloop.spec.shadow import CanarySpec, ShadowSpec
from driftloop.training import run as run_module
from driftloop.training.bootstrap import register_first_version
from driftloop.training.child import TrainingProcesses
from driftloop.training.dataset import OffsetRange, from_frame
from driftloop.training.maturity import Maturity
from driftloop.training.registration import register
from driftloop.training.run import CommandRunner
from driftloop.training.shadow_scores import Scorer
from driftloop.training.shadow_scoring import ScoringProcess
from driftloop.training.shadow_watch import ShadowWatcher, first_window_ms
from driftloop.training.train import Trained, train
from support.model_scoring import BROKEN, broken_model, score_here, started
from support.training_rows import DAY_MS, make_labeled, make_rows, make_spec

#: A day's first moment, after everything that any version was trained on.
AT = 100 * DAY_MS
RULES = ShadowSpec(minimum_rows=200, minimum_windows=2)
CANARY = CanarySpec(champion="control", challenger="canary", share=0.5)


class FixedLog:
    """Stands for the topic of labeled rows; rows come back in the order they are given, or shuffled."""

    def __init__(self, rows: list[Labeled]) -> None:
        self.found = rows
        self.reads = 0

    def rows(
        self, model_id: str, from_ms: int, to_ms: int, most_rows: int | None = None
    ) -> tuple[list[Labeled], list[OffsetRange]]:
        self.reads += 1
        return [row for row in self.found if from_ms <= row.predicted_at_ms < to_ms], []


class FixedMaturity:
    def __init__(self, until_ms: int) -> None:
        self.now_ms = until_ms

    def refresh(self) -> None:
        pass

    def until_ms(self, spec: ModelSpec) -> int:
        return self.now_ms


@functools.cache
def _with_champion(task: str, sign: float) -> Path:
    """A registry with a first version, to be copied: making one takes longer than what is tested."""
    folder = Path(tempfile.mkdtemp(prefix="driftloop-shadow-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    engine = open_engine(f"sqlite:///{folder / 'registry.db'}")
    create_schema(engine)
    registry = Registry(engine, ArtifactStore(folder / "artifacts"))
    register_first_version(registry, make_spec(task), *make_rows(task, seed=1, sign=sign), 100)
    engine.dispose()
    return folder


@functools.cache
def _trained(task: str, sign: float) -> Trained:
    spec = make_spec(task)
    return train(spec, from_frame(spec, *make_rows(task, seed=2, sign=sign)), None, seed=1)


class World:
    """A champion v1 that learnt the opposite of what holds now, or ``champion_sign`` of it."""

    def __init__(self, folder: Path, spec: ModelSpec, champion_sign: float = -1.0) -> None:
        shutil.copytree(_with_champion(spec.task, champion_sign), folder, dirs_exist_ok=True)
        engine = open_engine(f"sqlite:///{folder / 'registry.db'}")
        self.spec = spec
        self.registry = Registry(engine, ArtifactStore(folder / "artifacts"))
        self.store = ShadowStore(engine)

    def challenger(self, sign: float = 1.0, *, start: bool = True) -> str:
        trained = _trained(self.spec.task, sign)
        name = register(self.registry, self.spec, trained, lineage={}, event_time_ms=AT, reason="", actor="test")
        if start:
            version = self.registry.version("m", name)
            assert version is not None
            mode: Any = "canary" if self.spec.promotion == "canary" else "shadow"
            self.store.start(
                "m", name, mode, from_ms=first_window_ms(self.spec, version), reason="", event_time_ms=AT, actor="test"
            )
        return name

    def watcher(
        self,
        rows: list[Labeled],
        until_ms: int = AT + 1000 * DAY_MS,
        spec: ModelSpec | None = None,
        scorer: Scorer = score_here,
    ) -> Any:
        self.log, self.maturity = FixedLog(rows), FixedMaturity(until_ms)
        return ShadowWatcher(
            {"m": spec or self.spec},
            self.registry,
            self.store,
            self.log,
            self.maturity,
            scorer,
            owner="test",
            now_s=lambda: 1.0,
        )

    def looks(self, attempt: int = -1) -> list[ShadowLook]:
        return self.store.looks(self.store.of_model("m")[attempt])

    def kinds(self) -> list[str]:
        with reading(self.registry.engine) as connection:
            values = connection.execute(outbox.select().order_by(outbox.c.id)).all()
        return [msgspec.json.decode(row.value, type=ModelEvent).kind for row in values]

    def status(self, version: str = "v2") -> str:
        found = self.registry.version("m", version)
        assert found is not None
        return found.status


def shadow_spec(task: str = "binary", **more: Any) -> ModelSpec:
    return make_spec(task, promotion=more.pop("promotion", "shadow"), shadow=more.pop("shadow", RULES), **more)


def labeled(spec: ModelSpec, days: int = 8, **more: Any) -> list[Labeled]:
    frame, labels, times = make_rows(spec.task, rows=240 * days, seed=3, sign=more.pop("sign", 1.0))
    return make_labeled(spec, frame, labels, times + AT, **more)


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[..., World]:
    return lambda spec, **more: World(tmp_path, spec, **more)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_better_challenger_becomes_champion(make_world: Callable[..., World], task: str) -> None:
    spec = shadow_spec(task)
    world = make_world(spec)
    world.challenger()
    looked = world.watcher(labeled(spec, said=0.5)).turn()
    looks = world.looks()
    assert looked == len(looks) >= 2
    assert [look.verdict for look in looks] == ["watch"] * (looked - 1) + ["promote"]
    champion = world.registry.champion("m")
    assert champion is not None
    assert champion.version == "v2"
    assert looks[-1].recorded_rows == looks[-1].champion_rows == 240 * looked
    assert world.kinds()[-3:] == ["shadow_started", "shadow_passed", "promoted"]
    assert world.registry.history("m")[-1].event_time_ms == looks[-1].window_end_ms + spec.label_horizon_ms


def test_a_worse_challenger_is_stopped(make_world: Callable[..., World]) -> None:
    spec = shadow_spec()
    world = make_world(spec, champion_sign=1.0)
    world.challenger(sign=-1.0)
    world.watcher(labeled(spec, version="somebody")).turn()
    last = world.looks()[-1]
    assert (last.verdict, last.reason) == ("stop", "worse")
    # Nobody had recorded what the champion says: its file was asked, on the recorded features.
    assert (last.recorded_rows, last.rows > 0) == (0, True)
    assert world.status() == "rejected"
    assert world.registry.champion("m").version == "v1"  # type: ignore[union-attr]


def test_shuffled_labels_are_never_promoted(make_world: Callable[..., World]) -> None:
    """A challenger trained on labels that mean nothing, against a champion that knows the relation."""
    spec = shadow_spec()
    world = make_world(spec, champion_sign=1.0)
    frame, labels, times = make_rows(seed=2)
    trained = train(spec, from_frame(spec, frame, np.random.default_rng(0).permutation(labels), times), None, seed=1)
    name = register(world.registry, spec, trained, lineage={}, event_time_ms=AT, reason="", actor="test")
    world.store.start("m", name, "shadow", from_ms=AT, reason="", event_time_ms=AT, actor="test")
    world.watcher(labeled(spec, version="somebody")).turn()
    assert world.looks()[-1].verdict == "stop"
    assert world.status() == "rejected"


def test_the_same_model_twice_is_watched_to_the_end_and_rejected(make_world: Callable[..., World]) -> None:
    spec = shadow_spec(shadow=msgspec.structs.replace(RULES, longest="5d"))
    world = make_world(spec)
    champion = world.registry.champion("m")
    assert champion is not None
    from driftloop.registry import NewVersion

    world.registry.register_version(
        NewVersion(model_id="m", version="copy", artifact=champion.artifact, event_time_ms=AT)
    )
    world.store.start("m", "copy", "shadow", from_ms=AT, reason="", event_time_ms=AT, actor="test")
    world.watcher(labeled(spec, version="somebody")).turn()
    assert [look.verdict for look in world.looks()] == ["watch"] * 4 + ["stop"]
    assert {look.improvement for look in world.looks()} == {0.0}
    assert world.status("copy") == "rejected"


def test_nothing_happens_before_windows_mature_and_only_matured_ones_count(make_world: Callable[..., World]) -> None:
    spec = shadow_spec()
    world = make_world(spec)
    world.challenger()
    watcher = world.watcher(labeled(spec), until_ms=NEVER_MS)
    assert watcher.turn() == 0
    world.maturity.now_ms = AT + DAY_MS
    assert watcher.turn() == 1
    assert watcher.turn() == 0
    assert world.looks()[0].rows == 240
    world.maturity.now_ms = AT + 3 * DAY_MS
    watcher.turn()
    assert [look.rows for look in world.looks()][:2] == [240, 480]


def test_rows_before_the_challengers_own_data_do_not_count(make_world: Callable[..., World]) -> None:
    spec = shadow_spec()
    world = make_world(spec)
    world.challenger()
    version = world.registry.version("m", "v2")
    assert version is not None
    assert first_window_ms(spec, version) == AT
    assert first_window_ms(msgspec.structs.replace(spec, window="7d"), version) == 105 * DAY_MS
    early = [msgspec.structs.replace(row, predicted_at_ms=row.predicted_at_ms - 30 * DAY_MS) for row in labeled(spec)]
    world.watcher(early, until_ms=AT).turn()
    assert world.looks() == []


def test_late_rows_copies_and_corrections(make_world: Callable[..., World]) -> None:
    """What counts is what a final outcome window counts: the highest revision in time, each prediction once."""
    spec = shadow_spec()
    world = make_world(spec)
    world.challenger()
    rows = labeled(spec, days=1)
    wrong = [
        msgspec.structs.replace(row, revision=0, label=msgspec.Raw(b"0" if bytes(row.label) == b"1" else b"1"))
        for row in rows[:50]
    ]
    right = [msgspec.structs.replace(row, revision=1, label_offset=1000 + at) for at, row in enumerate(rows[:50])]
    late = [msgspec.structs.replace(row, revision=2, late=True) for row in wrong]
    only_late = [msgspec.structs.replace(rows[0], prediction_id=f"late{at}", late=True) for at in range(9)]
    world.watcher([*only_late, *wrong, *rows[50:], *late, *right, *right, *rows[50:]], until_ms=AT + DAY_MS).turn()
    mixed = world.looks()[0]
    other = world.registry.version("m", "v2")
    assert other is not None
    state = world.store.of_model("m")[0].state
    assert mixed.rows == 240
    # The same as the plain rows, to the last bit.
    world.store.restart(world.store.open()[0], champion="v1", from_ms=AT, reason="", event_time_ms=AT, actor="test")
    world.watcher(rows, until_ms=AT + DAY_MS).turn()
    assert world.looks() == [mixed]
    assert world.store.of_model("m")[-1].state == state


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 6), max_size=4))
def test_any_order_of_arrival_and_any_pace_give_the_same_trail(
    tmp_path_factory: pytest.TempPathFactory, seed: int, pace: list[int]
) -> None:
    """Rows in any order, looked at in any rhythm, by processes that come and go."""
    spec = shadow_spec(shadow=msgspec.structs.replace(RULES, minimum_rows=900))
    rows = labeled(spec, days=5)
    trails = []
    for shuffled in (False, True):
        world = World(tmp_path_factory.mktemp("world"), spec)
        world.challenger()
        order = list(rows)
        if shuffled:
            random.Random(seed).shuffle(order)
            for day in pace:
                world.watcher(order, until_ms=AT + day * DAY_MS).turn()
        world.watcher(order).turn()
        row = world.store.of_model("m")[-1]
        trails.append((msgspec.json.encode(world.looks()), row.state, row.status, row.reason, world.kinds()))
        world.registry.engine.dispose()
    assert trails[0] == trails[1]
    assert trails[0][2] == "passed"


class Crash(BaseException):
    pass


@pytest.mark.parametrize(
    "step", ["_write_look", "_tell", "_decide", "after advance", "make_champion", "refresh", "rows", "lease"]
)
def test_a_crash_between_any_two_steps_resumes_with_the_same_result(
    make_world: Callable[..., World],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    spec = shadow_spec()
    rows = labeled(spec)
    calm = World(tmp_path_factory.mktemp("calm"), spec)
    calm.challenger()
    calm.watcher(rows).turn()

    world = make_world(spec)
    world.challenger()
    for crash_at in range(1, 4):
        watcher = world.watcher(rows)
        calls = 0

        def crashing(original: Callable[..., Any], after: bool = False, crash_at: int = crash_at) -> Callable[..., Any]:
            def call(*args: Any, **more: Any) -> Any:
                nonlocal calls
                calls += 1
                result = original(*args, **more) if after else None
                if calls >= crash_at:
                    raise Crash
                return result if after else original(*args, **more)

            return call

        with monkeypatch.context() as patch:
            from driftloop.registry import shadows as module

            if step == "make_champion":
                patch.setattr(module, "make_champion", crashing(module.make_champion, after=True))
            elif step == "after advance":
                patch.setattr(ShadowStore, "advance", crashing(ShadowStore.advance, after=True))
            elif step == "refresh":
                patch.setattr(FixedMaturity, "refresh", crashing(FixedMaturity.refresh))
            elif step == "rows":
                patch.setattr(FixedLog, "rows", crashing(FixedLog.rows))
            else:
                patch.setattr(ShadowStore, step, crashing(getattr(ShadowStore, step)))
            try:
                watcher.turn()
            except Crash:
                continue
    world.watcher(rows).turn()
    assert world.looks() == calm.looks()
    assert world.store.of_model("m")[-1].state == calm.store.of_model("m")[-1].state
    assert world.kinds() == calm.kinds()
    assert world.registry.champion("m").version == "v2"  # type: ignore[union-attr]


def test_a_rollback_meanwhile_begins_anew_and_a_newer_champion_stops(make_world: Callable[..., World]) -> None:
    spec = shadow_spec(shadow=msgspec.structs.replace(RULES, minimum_rows=10_000))
    world = make_world(spec)
    world.challenger(start=False)  # v2
    world.registry.promote("m", "v2", "by hand", AT)
    world.challenger()  # v3
    world.watcher(labeled(spec), until_ms=AT + 2 * DAY_MS).turn()
    world.registry.rollback("m", "it was a mistake", AT)
    watcher = world.watcher(labeled(spec), until_ms=AT + 4 * DAY_MS)
    assert watcher.turn() == 0
    assert watcher.turn() == 2
    before, after = world.store.of_model("m")
    assert (before.champion, before.status, after.champion, after.attempt) == ("v2", "restarted", "v1", 2)
    assert after.from_ms == AT + 2 * DAY_MS
    assert "v1 is the champion now in place of v2" in before.reason
    world.challenger(start=False)  # v4
    world.registry.promote("m", "v4", "by hand", AT)
    watcher.turn()
    assert world.status("v3") == "rejected"
    assert "v4, registered after v3" in world.store.of_model("m")[-1].reason


def test_other_settings_begin_anew(make_world: Callable[..., World]) -> None:
    spec = shadow_spec(shadow=msgspec.structs.replace(RULES, minimum_rows=10_000))
    world = make_world(spec)
    world.challenger()
    world.watcher(labeled(spec), until_ms=AT + 2 * DAY_MS).turn()
    # Who decides after the verdict, and what newer challengers may do, is no matter of evidence.
    then = msgspec.structs.replace(spec.shadow, then="approval", supersede=True)
    same = msgspec.structs.replace(spec, shadow=then)
    world.watcher(labeled(spec), until_ms=AT + 3 * DAY_MS, spec=same).turn()
    assert len(world.store.of_model("m")) == 1
    other = msgspec.structs.replace(spec, shadow=msgspec.structs.replace(spec.shadow, margin=-0.5, minimum_rows=200))
    watcher = world.watcher(labeled(spec), until_ms=AT + 5 * DAY_MS, spec=other)
    watcher.turn()
    watcher.turn()
    assert [row.status for row in world.store.of_model("m")] == ["restarted", "passed"]
    assert world.looks()[0].window_start_ms == AT + 3 * DAY_MS


def test_after_shadow_an_approval(make_world: Callable[..., World]) -> None:
    spec = shadow_spec(shadow=msgspec.structs.replace(RULES, then="approval"))
    world = make_world(spec)
    world.challenger()
    world.watcher(labeled(spec)).turn()
    assert world.status() == "awaiting_approval"
    assert world.registry.champion("m").version == "v1"  # type: ignore[union-attr]


def canary_rows(spec: ModelSpec, *, share: float = 0.5, good: float = 0.05, days: int = 10) -> list[Labeled]:
    """Both arms; the challenger's says the truth but for ``good``, the champion nothing (0.5)."""
    rng = np.random.default_rng(9)
    rows = []
    for row in labeled(spec, days=days):
        if rng.random() < share:
            said = abs(float(bytes(row.label)) - good)
            row = msgspec.structs.replace(
                row, variant="canary", model_version="v2", prediction=msgspec.Raw(msgspec.json.encode(said))
            )
        else:
            row = msgspec.structs.replace(row, variant="control")
        rows.append(row)
    return rows


def test_a_canary_advances_aborts_and_holds(tmp_path_factory: pytest.TempPathFactory) -> None:
    spec = shadow_spec(promotion="canary", shadow=msgspec.structs.replace(RULES, canary=CANARY))
    ended = {}
    for name, more in (("better", {}), ("worse", {"good": 0.9}), ("split", {"share": 0.3})):
        world = World(tmp_path_factory.mktemp(name), spec)
        world.challenger()
        world.watcher(canary_rows(spec, **more), until_ms=AT + 10 * DAY_MS).turn()
        ended[name] = (world.looks()[-1].verdict, world.status(), world.kinds()[-1])
    assert ended == {
        "better": ("promote", "promoted", "promoted"),
        "worse": ("stop", "rejected", "rejected"),
        "split": ("hold", "watched", "canary_hold"),
    }


def test_rows_of_no_arm_or_of_another_version_are_counted_and_left_out(make_world: Callable[..., World]) -> None:
    spec = shadow_spec(promotion="canary", shadow=msgspec.structs.replace(RULES, minimum_rows=5000, canary=CANARY))
    world = make_world(spec)
    world.challenger()
    rows = canary_rows(spec, days=3)
    second_day = [row for row in rows if row.predicted_at_ms >= AT + DAY_MS]
    strays = [
        msgspec.structs.replace(row, prediction_id=f"a{row.prediction_id}", variant=None) for row in second_day[:7]
    ]
    old = [
        msgspec.structs.replace(row, prediction_id=f"b{row.prediction_id}", model_version="v0")
        for row in second_day[:5]
    ]
    world.watcher([*rows, *strays, *old], until_ms=AT + 2 * DAY_MS).turn()
    first, second = world.looks()
    assert (first.champion_rows, first.challenger_rows) == (0, 0)  # the window in which the canary began
    assert second.left_out == {"no arm": 7, "another version in the arm": 5}
    assert second.champion_rows + second.challenger_rows == 240
    assert second.challenger_share is not None


def test_what_cannot_be_compared_ends_with_the_reason(make_world: Callable[..., World]) -> None:
    from driftloop.registry import NewVersion

    spec = shadow_spec()
    world = make_world(spec)
    world.registry.register_version(NewVersion(model_id="m", version="remote", event_time_ms=AT))
    world.store.start("m", "remote", "shadow", from_ms=AT, reason="", event_time_ms=AT, actor="test")
    world.watcher(labeled(spec)).turn()
    assert world.status("remote") == "rejected"
    assert "remote has no model file" in world.store.of_model("m")[0].reason
    damaged = world.registry.store.put_bytes(b"no model at all", ".skops")
    world.registry.register_version(NewVersion(model_id="m", version="odd", artifact=damaged, event_time_ms=AT))
    world.store.start("m", "odd", "shadow", from_ms=AT, reason="", event_time_ms=AT, actor="test")
    world.watcher(labeled(spec)).turn()
    assert "not a skops archive" in world.store.of_model("m")[-1].reason


@pytest.mark.parametrize("how", BROKEN)
def test_a_model_that_crashes_hangs_or_takes_too_much_ends_its_comparison_alone(
    make_world: Callable[..., World], tmp_path: Path, how: str
) -> None:
    """With processes as in service. The windows before, in which it said something, count."""
    from driftloop.registry import NewVersion

    limits = {"memory_limit": "700MiB"} if how == "takes too much" else {}
    limits = {"time_limit": "3s"} if how == "hangs" else limits
    spec = shadow_spec(training=limits, shadow=msgspec.structs.replace(RULES, minimum_rows=10_000))
    world = make_world(spec)
    broken = world.registry.store.put_bytes(broken_model(how), ".skops")
    world.registry.register_version(NewVersion(model_id="m", version="v2", artifact=broken, event_time_ms=AT))
    world.store.start("m", "v2", "shadow", from_ms=AT, reason="", event_time_ms=AT, actor="test")
    rows = labeled(spec, days=3)
    if how == "crashes":  # only on a row of the third day: what tells the first two days is kept
        fine = [row for row in rows if row.predicted_at_ms < AT + 2 * DAY_MS]
        fine = [msgspec.structs.replace(row, features=msgspec.Raw(b'{"x": -9.0}')) for row in fine]
        rows = fine + [row for row in rows if row.predicted_at_ms >= AT + 2 * DAY_MS]
    with TrainingProcesses() as processes:
        started(processes)  # its imports must not take the time that the limit allows
        scorer = ScoringProcess(tmp_path / "work", processes)
        watcher = world.watcher(rows, until_ms=AT + 3 * DAY_MS, scorer=scorer)
        assert watcher.turn() == (2 if how == "crashes" else 0)
    (ended,) = world.store.of_model("m")
    assert (ended.status, world.status()) == ("stopped", "rejected")
    assert "the challenger's model file was asked for the scores of 240 rows: the scoring" in ended.reason
    assert BROKEN[how] in ended.reason
    assert world.kinds()[-2:] == ["shadow_stopped", "rejected"]
    assert len(world.looks()) == (2 if how == "crashes" else 0)
    assert list((tmp_path / "work").iterdir()) == []
    assert watcher.turn() == 0
    assert world.registry.champion("m").version == "v1"  # type: ignore[union-attr]


def test_after_a_crash_the_trainer_trains_the_next_command(make_world: Callable[..., World], tmp_path: Path) -> None:
    from driftloop.registry import NewVersion

    spec = shadow_spec()
    world = make_world(spec)
    broken = world.registry.store.put_bytes(broken_model("crashes"), ".skops")
    world.registry.register_version(NewVersion(model_id="m", version="v2", artifact=broken, event_time_ms=AT))
    world.store.start("m", "v2", "shadow", from_ms=AT, reason="", event_time_ms=AT, actor="test")
    watcher = world.watcher(labeled(spec), scorer=ScoringProcess(tmp_path / "work"))
    watcher.turn()
    assert world.status() == "rejected"
    log: Any = FixedLog(labeled(spec))
    runner = CommandRunner({"m": spec}, world.registry, log, labeled_topic="t", folder=tmp_path / "work")
    command = RetrainCommand(
        command_id="d" * 32, model_id="m", champion_version="v1", trigger="drift", reason="r", from_ms=0,
        window_end_ms=AT + 10 * DAY_MS, to_ms=AT + 10 * DAY_MS,
    )  # fmt: skip
    ended = runner.run(command)
    assert ended.outcome == "registered", ended.reason
    assert world.store.open()[0].version == ended.version


def test_a_shutdown_leaves_the_comparison_for_the_next_trainer(
    make_world: Callable[..., World], tmp_path: Path
) -> None:
    spec = shadow_spec()
    world = make_world(spec)
    world.challenger()
    watcher = world.watcher(labeled(spec), scorer=ScoringProcess(tmp_path / "work"))
    asked = iter([False])  # by the look; whoever asks then is told to end
    watcher._cancelled = lambda: next(asked, True)
    assert watcher.turn() == 0
    assert (world.status(), world.looks()) == ("watched", [])
    world.watcher(labeled(spec)).turn()
    assert world.status() == "promoted"


def test_the_lease_is_kept_while_a_process_scores(make_world: Callable[..., World]) -> None:
    spec = shadow_spec()
    world = make_world(spec)
    world.challenger()
    now, others = 0.0, []

    def slow(*given: Any, cancelled: Callable[[], bool], **more: Any) -> Any:
        nonlocal now
        for _ in range(10):
            now += 20.0
            assert not cancelled()
            others.append(world.store.lease(world.store.open()[0], "another", 60.0, now))
        return score_here(*given, cancelled=cancelled, **more)

    watcher = world.watcher(labeled(spec), scorer=slow)
    watcher._now_s = lambda: now
    watcher.turn()
    assert others == [None] * 10
    assert world.status() == "promoted"


def test_a_window_that_fails_after_others_is_tried_again_by_itself(make_world: Callable[..., World]) -> None:
    """A limit of time is one of a process: the windows that it had no time for get another."""
    spec = shadow_spec(shadow=msgspec.structs.replace(RULES, minimum_rows=10_000))
    world = make_world(spec)
    world.challenger()
    handed: list[int] = []

    def limited(spec: ModelSpec, windows: Any, **more: Any) -> Any:
        handed.append(len(windows))
        scored = score_here(spec, windows[:3], **more)
        return dataclasses.replace(scored, problem=None if len(windows) <= 3 else "no more time")

    world.watcher(labeled(spec), until_ms=AT + 8 * DAY_MS, scorer=limited).turn()
    assert handed == [8, 5, 2]
    assert [look.window_start_ms for look in world.looks()] == [AT + day * DAY_MS for day in range(8)]


def test_many_small_windows_share_a_process(make_world: Callable[..., World]) -> None:
    spec = shadow_spec(window="1h", shadow=msgspec.structs.replace(RULES, minimum_rows=10_000))
    world = make_world(spec)
    world.challenger()
    handed: list[int] = []

    def counted(spec: ModelSpec, windows: Any, **more: Any) -> Any:
        handed.append(len(windows))
        return score_here(spec, windows, **more)

    world.watcher(labeled(spec), until_ms=AT + 3 * DAY_MS, scorer=counted).turn()
    assert handed == [16, 32, 24]
    assert len(world.looks()) == 3 * 24


def test_a_model_file_that_is_away_is_waited_for(make_world: Callable[..., World], tmp_path: Path) -> None:
    spec = shadow_spec()
    world = make_world(spec)
    world.challenger()
    (tmp_path / "artifacts").rename(tmp_path / "away")
    assert world.watcher(labeled(spec)).turn() == 0
    assert world.status() == "watched"
    (tmp_path / "away").rename(tmp_path / "artifacts")
    world.watcher(labeled(spec)).turn()
    assert world.status() == "promoted"


def test_what_fails_for_one_model_leaves_no_other_waiting(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = shadow_spec()
    world = make_world(spec)
    world.challenger()
    watcher = world.watcher(labeled(spec))
    real = world.store.open()
    monkeypatch.setattr(world.store, "open", lambda: [dataclasses.replace(real[0], version="gone"), *real])
    original = watcher._at

    def failing(row: ShadowRow) -> int:
        if row.version == "gone":
            raise OSError("the disk is full")
        return int(original(row))

    monkeypatch.setattr(watcher, "_at", failing)
    with pytest.raises(OSError, match="disk"):
        watcher.turn()
    assert world.status() == "promoted"


def test_a_quiet_model_ends_with_its_time(make_world: Callable[..., World]) -> None:
    spec = shadow_spec()
    world = make_world(spec)
    world.challenger()
    world.watcher([]).turn()
    (only,) = world.looks()
    assert (only.verdict, only.reason, only.window_end_ms) == ("stop", "longest", AT + 30 * DAY_MS)


class _Record:
    def __init__(self, offset: int, progress: SourceProgress) -> None:
        self.offset, self.value = offset, msgspec.json.encode(progress)


def test_maturity_follows_every_source(tmp_path: Path) -> None:
    spec = shadow_spec(label_horizon="2d", allowed_lateness="1h")
    records: list[_Record] = []
    maturity = Maturity({"m": spec}, 2, lambda start: iter([records[start:]]))

    def progress(partition: int, predictions_ms: int, labels_ms: int, **more: Any) -> None:
        records.append(
            _Record(
                len(records),
                SourceProgress(
                    source_partition=partition,
                    predictions_offset=len(records),
                    predictions_max_ms=predictions_ms,
                    labels_offset=len(records),
                    labels_max_ms=labels_ms,
                    restart_predictions_offset=0,
                    restart_predictions_max_ms=0,
                    restart_labels_offset=0,
                    restart_labels_max_ms=0,
                    **more,
                ),
            )
        )
        maturity.refresh()

    assert maturity.until_ms(spec) == NEVER_MS
    progress(0, 10 * DAY_MS, 12 * DAY_MS + 3_600_000)
    assert maturity.until_ms(spec) == NEVER_MS
    progress(1, 9 * DAY_MS, 9 * DAY_MS + 3_599_999)
    assert maturity.until_ms(spec) == 6 * DAY_MS
    progress(1, 12 * DAY_MS, 9 * DAY_MS + 3_600_000)
    assert maturity.until_ms(spec) == 7 * DAY_MS
    progress(1, 12 * DAY_MS, 9 * DAY_MS + 3_600_000, labels_idle=True)
    assert maturity.until_ms(spec) == 9 * DAY_MS


def test_a_command_leads_into_the_comparison(
    make_world: Callable[..., World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trainer's run ends with a watched version, and a repeated one changes nothing."""
    spec = shadow_spec()
    world = make_world(spec)

    def in_this_process(spec: ModelSpec, parquet: bytes, champion: Any, *, seed: int, **more: Any) -> Any:
        from driftloop.training.dataset import TrainingSet

        return train(spec, TrainingSet.from_parquet(spec, parquet), None, seed=seed)

    monkeypatch.setattr(run_module, "train_in_child", in_this_process)
    command = RetrainCommand(
        command_id="c" * 32,
        model_id="m",
        champion_version="v1",
        trigger="drift",
        reason="r",
        window_end_ms=AT + 10 * DAY_MS,
        from_ms=0,
        to_ms=AT + 10 * DAY_MS,
    )
    runner = CommandRunner(
        {"m": spec},
        world.registry,
        FixedLog(labeled(spec)),
        labeled_topic="t",
        folder=tmp_path / "work",  # type: ignore[arg-type]
    )
    ended = runner.run(command)
    assert (ended.outcome, ended.version) == ("registered", "v2")
    assert "compared with the champion (shadow)" in ended.reason
    assert world.status() == "watched"
    assert runner.run(command).outcome == "registered"
    (row,) = world.store.of_model("m")
    assert (row.from_ms, row.command_id) == (AT + 10 * DAY_MS, "c" * 32)
    assert world.kinds()[-2:] == ["registered", "shadow_started"]
