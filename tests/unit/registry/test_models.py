"""Versions, aliases, their events, and what happens when calls are repeated."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine

from driftloop.events.decisions import GateResult, ModelEvent
from driftloop.registry import ArtifactError, ArtifactRef, ArtifactStore, NewVersion, Registry, RegistryError, Relay
from driftloop.registry.outbox import OutboxRow

GATE = GateResult(gate="sanity", passed=True, value=None, bound=None, sentence="predictions vary")


def _events(engine: Engine) -> list[ModelEvent]:
    """Publishes what is in the outbox and gives the model events in it."""
    sent: list[OutboxRow] = []
    Relay(engine, sent.extend).publish_pending()
    assert {(row.topic, row.key) for row in sent} <= {("model-events", "late")}
    return [msgspec.json.decode(row.value, type=ModelEvent) for row in sent]


def _register(registry: Registry, **options: Any) -> str:
    return registry.register_version(NewVersion(**{"model_id": "late", "event_time_ms": 1, **options}))


def test_a_version_comes_back_as_it_was_registered(registry: Registry, store: ArtifactStore) -> None:
    artifact = store.put_bytes(b"model", ".skops")
    version = _register(
        registry,
        artifact=artifact,
        profile=b"profile",
        lineage={"commit": "abc", "rows": 3},
        metrics={"roc_auc": 0.75},
        gates=[GATE],
        command_id="c1",
        trained_from_ms=10,
        trained_to_ms=20,
        event_time_ms=30,
    )
    row = registry.version("late", version)
    assert row is not None
    assert (row.version, row.sequence, row.status, row.aliases) == ("v1", 1, "registered", ("challenger",))
    assert (row.artifact, row.lineage, row.metrics, row.gates) == (
        artifact,
        {"commit": "abc", "rows": 3},
        {"roc_auc": 0.75},
        [GATE],
    )
    assert (row.command_id, row.trained_from_ms, row.trained_to_ms, row.event_time_ms) == ("c1", 10, 20, 30)
    assert registry.profile("late", version) == b"profile"
    assert registry.challenger("late") == row == registry.version_of_command("c1")
    assert registry.champion("late") is None
    (event,) = _events(registry.engine)
    assert (event.kind, event.model_version, event.artifact, event.artifact_sha256) == (
        "registered",
        "v1",
        artifact.uri,
        artifact.sha256,
    )
    assert (event.command_id, event.gates, event.metrics, event.event_time_ms) == ("c1", [GATE], {"roc_auc": 0.75}, 30)


def test_promotion_moves_the_alias_and_tells_of_it(registry: Registry) -> None:
    for name in ("v1", "v2"):
        assert _register(registry) == name
        registry.promote("late", name, "better", 5, "trainer")
    champion = registry.champion("late")
    assert champion is not None
    assert (champion.version, champion.status, champion.aliases) == ("v2", "promoted", ("champion",))
    assert registry.challenger("late") is None
    events = _events(registry.engine)
    assert [(event.kind, event.model_version, event.previous_version) for event in events] == [
        ("registered", "v1", None),
        ("promoted", "v1", None),
        ("registered", "v2", None),
        ("promoted", "v2", "v1"),
    ]
    assert len({event.event_id for event in events}) == 4
    assert [(change.action, change.version, change.actor) for change in registry.history("late", "champion")] == [
        ("promoted", "v1", "trainer"),
        ("promoted", "v2", "trainer"),
    ]


def test_promoting_the_champion_again_changes_nothing(registry: Registry) -> None:
    _register(registry)
    registry.promote("late", "v1", "first", 5)
    _events(registry.engine)
    registry.promote("late", "v1", "again", 6)
    assert _events(registry.engine) == []


def test_two_rollbacks_go_two_champions_back(registry: Registry) -> None:
    for name in ("v1", "v2", "v3"):
        _register(registry)
        registry.promote("late", name, "better", 5)
    _events(registry.engine)
    assert registry.rollback("late", "worse", 6, "ada") == "v2"
    assert registry.rollback("late", "still worse", 7) == "v1"
    assert [(event.kind, event.model_version, event.previous_version) for event in _events(registry.engine)] == [
        ("rolled_back", "v2", "v3"),
        ("rolled_back", "v1", "v2"),
    ]
    assert [row.status for row in registry.versions("late")] == ["promoted", "rolled_back", "rolled_back"]
    with pytest.raises(RegistryError, match="'v1' is its first champion"):
        registry.rollback("late", "x", 8)
    registry.promote("late", "v3", "after all", 9)
    assert registry.rollback("late", "no", 10) == "v1"


def test_rollback_without_a_champion_says_so(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="it has no champion"):
        registry.rollback("late", "x", 1)


def test_a_repeated_command_registers_once_and_does_not_undo_a_rollback(registry: Registry) -> None:
    _register(registry)
    registry.promote("late", "v1", "first", 5)
    for _ in range(2):
        assert _register(registry, command_id="c", profile=b"p") == "v2"
        registry.promote("late", "v2", "better", 6, command_id="c")
    registry.rollback("late", "worse", 7)
    _events(registry.engine)
    assert _register(registry, command_id="c", profile=b"other bytes of a second run") == "v2"
    registry.promote("late", "v2", "better", 6, command_id="c")
    champion = registry.champion("late")
    assert champion is not None
    assert champion.version == "v1"
    assert _events(registry.engine) == []


def test_rejecting_says_why_once_and_keeps_the_champion(registry: Registry) -> None:
    _register(registry)
    registry.promote("late", "v1", "first", 5)
    _register(registry, command_id="c")
    _events(registry.engine)
    for _ in range(2):
        registry.reject("late", "v2", "not better", 6, command_id="c")
    (event,) = _events(registry.engine)
    assert (event.kind, event.model_version, event.previous_version, event.reason, event.command_id) == (
        "rejected",
        "v2",
        "v1",
        "not better",
        "c",
    )
    assert registry.challenger("late") is None
    with pytest.raises(RegistryError, match="--force"):
        registry.promote("late", "v2", "anyway", 7)
    registry.promote("late", "v2", "anyway", 7, allow_rejected=True)
    with pytest.raises(RegistryError, match="is the champion"):
        registry.reject("late", "v2", "x", 8)


def test_a_failed_command_is_told_once(registry: Registry) -> None:
    _register(registry)
    registry.promote("late", "v1", "first", 5)
    _register(registry)
    _events(registry.engine)
    for _ in range(2):
        registry.fail("late", "c", "12 rows are too few", 6)
    (event,) = _events(registry.engine)
    assert (event.kind, event.command_id, event.model_version, event.previous_version) == ("failed", "c", "", "v1")
    challenger = registry.challenger("late")
    assert challenger is not None
    assert challenger.version == "v2"


def test_names_given_by_hand(registry: Registry) -> None:
    assert _register(registry, version="2026-01", profile=b"a") == "2026-01"
    assert _register(registry, version="2026-01", profile=b"a") == "2026-01"
    with pytest.raises(RegistryError, match="versions never change"):
        _register(registry, version="2026-01", profile=b"b")
    assert _register(registry, version="v2") == "v2"
    assert _register(registry) == "v3"
    assert _register(registry, version="v5") == "v5"
    assert _register(registry) == "v6"
    assert [row.version for row in registry.versions("late")] == ["2026-01", "v2", "v3", "v5", "v6"]
    with pytest.raises(RegistryError, match="1 to 256"):
        _register(registry, version="")


def test_a_version_needs_its_artifact_in_the_store(registry: Registry) -> None:
    with pytest.raises(ArtifactError, match="is not in"):
        _register(registry, artifact=ArtifactRef("00/" + "0" * 64, "0" * 64, 1))
    assert registry.versions("late") == []


def test_unknown_models_and_versions(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="no model 'lates'"):
        registry.promote("lates", "v1", "x", 1)
    with pytest.raises(RegistryError, match="it has none"):
        registry.promote("late", "v1", "x", 1)
    with pytest.raises(RegistryError, match="no model"):
        registry.register_version(NewVersion(model_id="other"))
    assert registry.versions("other") == []
    assert registry.champion("other") is None
    assert registry.profile("late", "v9") is None


def test_a_model_keeps_its_task_and_notes_its_spec(registry: Registry) -> None:
    registry.ensure_model("late", "binary", "digest-2")
    registry.ensure_model("delay", "regression", "digest-3")
    with pytest.raises(RegistryError, match="registered as a binary model"):
        registry.ensure_model("late", "regression", "digest-2")
    _register(registry)
    found = [
        (model.model_id, model.task, model.spec_digest, model.versions, model.champion, model.challenger)
        for model in registry.models()
    ]
    assert found == [
        ("delay", "regression", "digest-3", 0, None, None),
        ("late", "binary", "digest-2", 1, None, "v1"),
    ]


def test_a_command_belongs_to_one_model(registry: Registry) -> None:
    registry.ensure_model("delay", "regression", "d")
    _register(registry, command_id="c")
    with pytest.raises(RegistryError, match="belongs to the model 'late'"):
        registry.register_version(NewVersion(model_id="delay", command_id="c"))


def test_registering_at_once_gives_different_names_and_ordered_events(registry: Registry) -> None:
    failures: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(5):
                registry.promote("late", _register(registry), "x", 1)
        except Exception as error:  # noqa: BLE001  (a thread's failure is asserted on below)
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert [row.version for row in registry.versions("late")] == [f"v{number}" for number in range(1, 16)]
    promoted = [event for event in _events(registry.engine) if event.kind == "promoted"]
    assert [event.previous_version for event in promoted[1:]] == [event.model_version for event in promoted[:-1]]
