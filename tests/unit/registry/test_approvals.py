"""Versions that wait for a person."""

from __future__ import annotations

import msgspec
import pytest

from driftloop.events.decisions import ModelEvent
from driftloop.registry import NewVersion, Registry, RegistryError, Relay
from driftloop.registry.database import reading
from driftloop.registry.history_chain import check_history
from driftloop.registry.outbox import OutboxRow


@pytest.fixture
def waiting(registry: Registry) -> Registry:
    """A champion v1, and v2 that waits."""
    for _ in range(2):
        registry.register_version(NewVersion(model_id="late"))
        if registry.champion("late") is None:
            registry.promote("late", "v1", "first", 1)
    registry.await_approval("late", "v2", "all gates passed", 5, "trainer", command_id="c")
    _events(registry)
    return registry


def _events(registry: Registry) -> list[tuple[str, str, str | None, str, str]]:
    sent: list[OutboxRow] = []
    Relay(registry.engine, sent.extend).publish_pending()
    events = [msgspec.json.decode(row.value, type=ModelEvent) for row in sent]
    return [(event.kind, event.model_version, event.previous_version, event.reason, event.actor) for event in events]


def _status(registry: Registry, version: str) -> tuple[str, tuple[str, ...]]:
    row = registry.version("late", version)
    assert row is not None
    return row.status, row.aliases


def _changes(registry: Registry) -> list[tuple[str, str, str | None, str | None, str]]:
    with reading(registry.engine) as connection:
        assert check_history(connection).problem is None
    return [(row.alias, row.action, row.subject, row.version, row.actor) for row in registry.history("late")]


def test_asking_leaves_the_champion_and_is_told_once(registry: Registry) -> None:
    registry.register_version(NewVersion(model_id="late"))
    for _ in range(2):
        registry.await_approval("late", "v1", "all gates passed", 5, "trainer", command_id="c")
    assert _status(registry, "v1") == ("awaiting_approval", ("challenger",))
    assert registry.champion("late") is None
    assert _events(registry)[1:] == [("awaiting_approval", "v1", None, "all gates passed", "trainer")]
    assert _changes(registry)[1:] == [("challenger", "awaiting_approval", "v1", "v1", "trainer")]


def test_approving_promotes_and_says_by_whom(waiting: Registry) -> None:
    waiting.approve("late", "v2", "slices are fine", 6, "ada")
    assert _status(waiting, "v2") == ("promoted", ("champion",))
    assert _events(waiting) == [("promoted", "v2", "v1", "approved by ada: slices are fine", "ada")]
    assert _changes(waiting)[-3:] == [
        ("challenger", "approved", "v2", "v2", "ada"),
        ("champion", "promoted", "v2", "v2", "ada"),
        ("challenger", "promoted", "v2", None, "ada"),
    ]
    with pytest.raises(RegistryError, match="does not wait for approval: it is promoted"):
        waiting.approve("late", "v2", "again", 7, "ada")
    assert waiting.rollback("late", "worse", 8) == "v1"


def test_rejecting_says_why_and_by_whom(waiting: Registry) -> None:
    waiting.reject("late", "v2", "not explainable", 6, "ada")
    assert _status(waiting, "v2") == ("rejected", ())
    assert _events(waiting) == [("rejected", "v2", "v1", "not explainable", "ada")]
    assert _changes(waiting)[-1] == ("challenger", "rejected", "v2", None, "ada")
    with pytest.raises(RegistryError, match="it is rejected"):
        waiting.approve("late", "v2", "after all", 7, "ada")
    waiting.await_approval("late", "v2", "again", 8)
    assert _status(waiting, "v2") == ("rejected", ())


def test_only_a_version_that_waits_can_be_approved(waiting: Registry) -> None:
    waiting.register_version(NewVersion(model_id="late"))
    with pytest.raises(RegistryError, match="it is registered"):
        waiting.approve("late", "v3", "quick", 6, "ada")
    with pytest.raises(RegistryError, match="has no version 'v9'"):
        waiting.approve("late", "v9", "x", 6, "ada")
    for reason, actor in (("", "ada"), ("x", "  ")):
        with pytest.raises(RegistryError, match="needs the name of who gives it, and a reason"):
            waiting.approve("late", "v2", reason, 6, actor)


def test_promoting_past_the_approval_needs_force(waiting: Registry) -> None:
    with pytest.raises(RegistryError, match=r"models approve late v2.*--force"):
        waiting.promote("late", "v2", "quick", 6)
    waiting.promote("late", "v2", "an emergency", 6, "ada", allow_rejected=True)
    assert _status(waiting, "v2") == ("promoted", ("champion",))


def test_a_newer_challenger_leaves_the_older_one_waiting(waiting: Registry) -> None:
    waiting.register_version(NewVersion(model_id="late"))
    assert _status(waiting, "v2") == ("awaiting_approval", ())
    waiting.reject("late", "v2", "a newer one is there", 6, "ada")
    assert _changes(waiting)[-1] == ("challenger", "rejected", "v2", "v3", "ada")
    assert _status(waiting, "v3") == ("registered", ("challenger",))


def test_an_older_one_is_approved_beside_the_newer_challenger(waiting: Registry) -> None:
    waiting.register_version(NewVersion(model_id="late"))
    waiting.approve("late", "v2", "good", 6, "ada")
    assert _status(waiting, "v2") == ("promoted", ("champion",))
    assert _status(waiting, "v3") == ("registered", ("challenger",))
    assert _changes(waiting)[-1] == ("champion", "promoted", "v2", "v2", "ada")


def test_nothing_older_than_the_champion_is_approved(waiting: Registry) -> None:
    waiting.register_version(NewVersion(model_id="late"))
    waiting.promote("late", "v3", "by hand", 6, "ada")
    with pytest.raises(RegistryError, match=r"'v3', registered after 'v2', is the champion .*--force"):
        waiting.approve("late", "v2", "good", 7, "ada")
    assert _status(waiting, "v3") == ("promoted", ("champion",))
    waiting.approve("late", "v2", "good all the same", 8, "ada", anyway=True)
    assert _status(waiting, "v2") == ("promoted", ("champion",))
