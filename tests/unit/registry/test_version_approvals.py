"""From when on a version may serve, by the history of the aliases."""

from __future__ import annotations

from driftloop.events.time import NEVER_MS
from driftloop.registry import NewVersion, Registry, ShadowStore
from driftloop.registry.approvals import approval_of, promotion_of
from driftloop.streaming.catalog import RegistryCatalog


def test_who_may_serve_and_from_when_on(registry: Registry) -> None:
    def since(version: str) -> int | None:
        return approval_of(registry.engine, "late", version).from_ms

    for name in ("v1", "v2", "v3", "v4"):
        registry.register_version(NewVersion(model_id="late", version=name))
    # Nobody approves anything here.
    assert since("v1") == since("nobody") == NEVER_MS
    registry.promote("late", "v1", "first", 100)
    assert since("v1") == NEVER_MS
    assert since("v2") is None
    registry.promote("late", "v2", "second", 300)
    assert since("v2") == 300
    # What was approved once stays known, also after a rollback.
    registry.rollback("late", "bad", 400)
    assert (since("v1"), since("v2")) == (NEVER_MS, 300)
    store = ShadowStore(registry.engine)
    store.start("late", "v3", "shadow", from_ms=500, reason="", event_time_ms=500, actor="a")
    assert since("v3") is None  # a shadow serves nobody
    store.start("late", "v4", "canary", from_ms=600, reason="", event_time_ms=600, actor="a")
    assert since("v4") == 600
    assert since("unknown") is None
    # The arm of a canary may serve, and has not been champion.
    promoted = [
        promotion_of(registry.engine, "late", version).from_ms for version in ("v1", "v2", "v3", "v4", "unknown")
    ]
    assert promoted == [NEVER_MS, 300, None, None, None]
    assert approval_of(registry.engine, "another", "v1") == (NEVER_MS, False)


def test_what_a_first_promotion_takes_back_is_not_remembered(registry: Registry) -> None:
    """A process that has been running for long says the same as one that was started a moment ago."""
    for name in ("v1", "v2"):
        registry.register_version(NewVersion(model_id="late", version=name))
    running = RegistryCatalog({}, registry)
    assert running.approved("late", "v1", 200)
    registry.promote("late", "v2", "first", 100)
    for catalog in (running, RegistryCatalog({}, registry)):
        assert not catalog.approved("late", "v1", 200)
        assert catalog.approved("late", "v2", 50)
    registry.promote("late", "v1", "second", 300)
    for _ in range(2):
        assert [running.approved("late", "v1", at_ms) for at_ms in (200, 300)] == [False, True]
