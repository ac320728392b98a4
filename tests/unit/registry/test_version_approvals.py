"""From when on a version may serve, by the history of the aliases."""

from __future__ import annotations

from driftloop.events.time import NEVER_MS
from driftloop.registry import NewVersion, Registry, ShadowStore
from driftloop.registry.approvals import approved_from_ms, promoted_from_ms


def test_who_may_serve_and_from_when_on(registry: Registry) -> None:
    def since(version: str) -> int | None:
        return approved_from_ms(registry.engine, "late", version)

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
    promoted = [promoted_from_ms(registry.engine, "late", version) for version in ("v1", "v2", "v3", "v4", "unknown")]
    assert promoted == [NEVER_MS, 300, None, None, None]
    assert approved_from_ms(registry.engine, "another", "v1") == NEVER_MS
