"""Comparisons with the champion: what is written together, who may write, and what people can still do."""

from __future__ import annotations

import msgspec
import pytest
from sqlalchemy import Engine, select

from driftloop.events.decisions import ModelEvent, ShadowLook
from driftloop.registry import NewVersion, Registry, RegistryError, ShadowRow, ShadowStore, StaleStateError
from driftloop.registry.database import reading
from driftloop.registry.errors import ComparisonOpenError
from driftloop.registry.history_chain import check_history
from driftloop.registry.tables import outbox


@pytest.fixture
def store(registry: Registry) -> ShadowStore:  # type: ignore[override]
    for name in ("v1", "v2"):
        _register(registry, name)
        if name == "v1":
            registry.promote("late", "v1", "first", 1)
    return ShadowStore(registry.engine)


@pytest.fixture
def registry(engine: Engine, tmp_path) -> Registry:  # type: ignore[no-untyped-def]
    from driftloop.registry import ArtifactStore

    registry = Registry(engine, ArtifactStore(tmp_path / "artifacts"))
    registry.ensure_model("late", "binary", "digest-1")
    return registry


def _register(registry: Registry, name: str) -> None:
    registry.register_version(NewVersion(model_id="late", version=name, command_id=f"command-{name}"))


def _start(store: ShadowStore, version: str = "v2", mode: str = "shadow", *, supersede: bool = True) -> bool:
    return store.start(
        "late",
        version,
        mode,  # type: ignore[arg-type]
        from_ms=100,
        reason="passed its gates",
        event_time_ms=50,
        actor="trainer",
        command_id=f"command-{version}",
        supersede=supersede,
    )


def _look(number: int, verdict: str, challenger: str = "v2") -> ShadowLook:
    return ShadowLook(
        model_id="late",
        champion="v1",
        challenger=challenger,
        number=number,
        window_start_ms=100 * number,
        window_end_ms=100 * number + 100,
        verdict=verdict,  # type: ignore[arg-type]
        reason="r",
        sentence=f"look {number} says {verdict}",
        loss="brier",
        margin=0.0,
        alpha=0.05,
        windows=number,
        rows=number,
        champion_rows=number,
        challenger_rows=number,
        champion_loss=0.2,
        challenger_loss=0.1,
        improvement=0.1,
        low=0.05,
        high=0.15,
    )


def _advance(
    store: ShadowStore, row: ShadowRow, *looks: ShadowLook, state: bytes = b"{}", then: str = "promote"
) -> ShadowRow:
    return store.advance(row, state, looks, then=then, event_time_ms=900, actor="shadow")  # type: ignore[arg-type]


def _events(registry: Registry) -> list[ModelEvent]:
    with reading(registry.engine) as connection:
        values = connection.execute(select(outbox.c.value).order_by(outbox.c.id)).scalars()
        return [msgspec.json.decode(value, type=ModelEvent) for value in values]


def _kinds(registry: Registry) -> list[str]:
    return [event.kind for event in _events(registry)[3:]]


def _status(registry: Registry, version: str = "v2") -> str:
    found = registry.version("late", version)
    assert found is not None
    return found.status


def _whole(registry: Registry) -> bool:
    with reading(registry.engine) as connection:
        return check_history(connection).problem is None


def test_a_comparison_begins_once_and_holds_the_alias(registry: Registry, store: ShadowStore) -> None:
    assert _start(store)
    assert not _start(store)
    (row,) = store.open()
    assert (row.version, row.champion, row.mode, row.attempt, row.state) == ("v2", "v1", "shadow", 1, None)
    assert _status(registry) == "watched"
    assert registry.challenger("late").version == "v2"  # type: ignore[union-attr]
    assert _kinds(registry) == ["shadow_started"]
    assert _whole(registry)


def test_looks_and_states_are_kept_and_a_promotion_follows_in_the_same_transaction(
    registry: Registry, store: ShadowStore
) -> None:
    _start(store)
    row = _advance(store, store.open()[0], _look(1, "watch"), state=b"one")
    assert (row.status, row.state, row.revision) == ("watching", b"one", 1)
    row = _advance(store, row, _look(2, "watch"), _look(3, "promote"), state=b"two")
    assert row.status == "passed"
    assert registry.champion("late").version == "v2"  # type: ignore[union-attr]
    assert [look.number for look in store.looks(row)] == [1, 2, 3]
    assert [look.number for look in store.looks(row, limit=1)] == [3]
    assert _kinds(registry) == ["shadow_started", "shadow_passed", "promoted"]
    passed, promoted = _events(registry)[-2:]
    assert passed.look == _look(3, "promote")
    assert promoted.reason == "look 3 says promote"
    assert promoted.event_time_ms == 900
    assert store.open() == []
    assert _whole(registry)


def test_after_shadow_a_person_may_have_to_approve(registry: Registry, store: ShadowStore) -> None:
    _start(store)
    _advance(store, store.open()[0], _look(1, "promote"), then="approval")
    assert _status(registry) == "awaiting_approval"
    assert _kinds(registry) == ["shadow_started", "shadow_passed", "awaiting_approval"]
    registry.approve("late", "v2", "good", 1000, "Ada")
    assert registry.champion("late").version == "v2"  # type: ignore[union-attr]


def test_a_stopped_challenger_is_rejected(registry: Registry, store: ShadowStore) -> None:
    _start(store)
    row = _advance(store, store.open()[0], _look(1, "stop"))
    assert (row.status, row.reason) == ("stopped", "look 1 says stop")
    assert _status(registry) == "rejected"
    assert registry.challenger("late") is None
    assert _kinds(registry) == ["shadow_started", "shadow_stopped", "rejected"]


def test_a_canary_tells_of_a_hold_once_until_it_is_over(registry: Registry, store: ShadowStore) -> None:
    _start(store, mode="canary")
    row = _advance(store, store.open()[0], _look(1, "hold"), _look(2, "hold"))
    row = _advance(store, row, _look(3, "hold"))
    row = _advance(store, row, _look(4, "watch"), _look(5, "hold"))
    _advance(store, row, _look(6, "stop"))
    expected = ["canary_started", "canary_hold", "canary_hold", "canary_abort", "rejected"]
    assert _kinds(registry) == expected
    assert [event.look.number for event in _events(registry)[3:] if event.look is not None] == [1, 5, 6]


def test_two_processes_never_write_the_same_look(registry: Registry, store: ShadowStore) -> None:
    _start(store)
    row = store.open()[0]
    first = store.lease(row, "one", 60.0, 1000.0)
    assert first is not None
    assert store.lease(row, "two", 60.0, 1059.0) is None
    second = store.lease(row, "two", 60.0, 1061.0)  # the first was only slow, and goes on
    assert second is not None
    _advance(store, first, _look(1, "watch"))
    with pytest.raises(StaleStateError, match="another process"):
        _advance(store, second, _look(1, "promote"))
    assert registry.champion("late").version == "v1"  # type: ignore[union-attr]
    assert len(store.looks(row)) == 1


def test_a_verdict_against_a_champion_of_before_is_not_carried_out(registry: Registry, store: ShadowStore) -> None:
    _start(store)
    row = store.open()[0]
    _register(registry, "v3")
    registry.promote("late", "v3", "by hand", 60)
    with pytest.raises(StaleStateError, match="'v3' is the champion"):
        _advance(store, row, _look(1, "promote"))
    assert registry.champion("late").version == "v3"  # type: ignore[union-attr]
    assert store.looks(row) == []
    store.restart(row, champion="v3", from_ms=500, reason="v3 serves now", event_time_ms=500, actor="shadow")
    assert [(found.attempt, found.champion, found.status) for found in store.of_model("late")] == [
        (1, "v1", "restarted"),
        (2, "v3", "watching"),
    ]
    with pytest.raises(StaleStateError):
        store.restart(row, champion="v3", from_ms=500, reason="again", event_time_ms=500, actor="shadow")


def test_a_newer_challenger_supersedes(registry: Registry, store: ShadowStore) -> None:
    _start(store)
    _register(registry, "v3")
    assert _start(store, "v3")
    assert [(row.version, row.status) for row in store.of_model("late")] == [("v2", "superseded"), ("v3", "watching")]
    assert _status(registry) == "rejected"
    assert registry.challenger("late").version == "v3"  # type: ignore[union-attr]
    assert _kinds(registry) == ["shadow_started", "registered", "shadow_stopped", "rejected", "shadow_started"]
    assert "superseded by v3" in _events(registry)[-2].reason
    assert _whole(registry)


def test_a_newer_challenger_that_must_not_supersede_is_refused(registry: Registry, store: ShadowStore) -> None:
    assert _start(store, supersede=False)
    assert not _start(store, supersede=False), "itself is no other one"
    _register(registry, "v3")
    with pytest.raises(ComparisonOpenError, match="v2 is compared with the champion and has no verdict yet"):
        _start(store, "v3", supersede=False)
    assert [(row.version, row.status) for row in store.of_model("late")] == [("v2", "watching")]
    assert _kinds(registry) == ["shadow_started", "registered"]
    store.stop(store.open("late")[0], "enough", event_time_ms=60, actor="shadow")
    assert store.open("late") == []
    assert _start(store, "v3", supersede=False)
    assert [row.version for row in store.open("late")] == ["v3"]
    assert store.open("another") == []


def test_a_comparison_about_which_somebody_has_decided_holds_nobody_up(registry: Registry, store: ShadowStore) -> None:
    """Also before the watcher has seen that."""
    _start(store)
    registry.reject("late", "v2", "no", 60)
    assert [row.version for row in store.open("late")] == ["v2"]
    assert store.going_on("late") == []
    assert store.open("late") == []
    _register(registry, "v3")
    assert _start(store, "v3", supersede=False)
    assert [row.version for row in store.going_on("late")] == ["v3"]
    registry.promote("late", "v3", "at once", 70, allow_rejected=True)
    _register(registry, "v4")
    assert _start(store, "v4")
    champion = registry.champion("late")
    assert champion is not None
    assert (champion.version, champion.status) == ("v3", "promoted"), "superseding it would have rejected it"
    assert _whole(registry)


def test_a_newer_challenger_that_fails_its_gates_gives_the_alias_back(registry: Registry, store: ShadowStore) -> None:
    _start(store)
    _register(registry, "v3")
    assert registry.challenger("late").version == "v3"  # type: ignore[union-attr]
    registry.reject("late", "v3", "gate metric", 70)
    assert registry.challenger("late").version == "v2"  # type: ignore[union-attr]
    assert _whole(registry)


def test_people_can_decide_meanwhile(registry: Registry, store: ShadowStore) -> None:
    _start(store)
    row = store.open()[0]
    with pytest.raises(RegistryError, match="has no verdict"):
        registry.promote("late", "v2", "now", 60)
    assert not store.close_decided(row)
    registry.reject("late", "v2", "not wanted", 60, "Ada")
    with pytest.raises(StaleStateError, match="rejected by now"):
        _advance(store, row, _look(1, "promote"))
    assert store.close_decided(row)
    assert store.of_model("late")[0].status == "decided"
    assert store.open() == []


def test_a_forced_promotion_ends_the_comparison(registry: Registry, store: ShadowStore) -> None:
    _start(store)
    row = store.open()[0]
    registry.promote("late", "v2", "now", 60, allow_rejected=True)
    assert store.close_decided(row)
    assert registry.challenger("late") is None


def test_what_cannot_be_compared_is_refused(registry: Registry, store: ShadowStore) -> None:
    with pytest.raises(RegistryError, match="is promoted; only one that nothing is decided about"):
        _start(store, "v1")
    registry.ensure_model("new", "binary", "digest")
    registry.register_version(NewVersion(model_id="new", version="v1"))
    with pytest.raises(RegistryError, match="no champion to compare"):
        store.start("new", "v1", "shadow", from_ms=0, reason="", event_time_ms=0, actor="a")


def test_a_comparison_that_is_impossible_ends_with_its_reason(registry: Registry, store: ShadowStore) -> None:
    _start(store)
    store.stop(store.open()[0], "it has no model file", event_time_ms=100, actor="shadow")
    assert _status(registry) == "rejected"
    assert _kinds(registry) == ["shadow_started", "shadow_stopped", "rejected"]
