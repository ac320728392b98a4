"""A promotion holds only against the champion that the version was judged against."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from driftloop.events.decisions import ModelEvent, ShadowLook
from driftloop.registry import NewVersion, Registry, RegistryError, ShadowStore
from driftloop.registry.database import reading
from driftloop.registry.history_chain import check_history
from driftloop.registry.tables import outbox


@pytest.fixture
def models(registry: Registry) -> Registry:
    """Champions v1 and v2, and v3, whose gates compared it with v2."""
    for name, against in (("v1", None), ("v2", "v1"), ("v3", "v2")):
        _register(registry, name, {"compared_with": against})
        if name != "v3":
            registry.promote("late", name, "better", 1)
    return registry


def _register(registry: Registry, name: str, lineage: dict[str, Any]) -> None:
    registry.register_version(NewVersion(model_id="late", version=name, lineage=lineage, command_id=f"of {name}"))


def _told(registry: Registry) -> list[tuple[str, str, str]]:
    with reading(registry.engine) as connection:
        assert check_history(connection).problem is None
        values = [row.value for row in connection.execute(select(outbox).order_by(outbox.c.id))]
    events = [msgspec.json.decode(value, type=ModelEvent) for value in values]
    return [(event.kind, event.model_version, event.reason) for event in events]


def _champion(registry: Registry) -> str:
    champion = registry.champion("late")
    assert champion is not None
    return champion.version


def _status(registry: Registry, version: str) -> str:
    row = registry.version("late", version)
    assert row is not None
    return row.status


def test_against_the_champion_it_is_promoted(models: Registry) -> None:
    assert models.promote("late", "v3", "better", 2, command_id="of v3", compared_with="v2") == ("promoted", "better")
    assert _champion(models) == "v3"


def test_a_rollback_meanwhile_is_not_undone(models: Registry) -> None:
    models.rollback("late", "v2 is wrong", 2)
    status, reason = models.promote("late", "v3", "better by 0.1", 3, command_id="of v3", compared_with="v2")
    assert (status, _status(models, "v3"), _champion(models)) == ("awaiting_approval", "awaiting_approval", "v1")
    assert reason == (
        "'v3' was judged against 'v2', and 'v1' is the champion of 'late' by now: nothing has compared these two; "
        "better by 0.1"
    )
    assert _told(models)[-1] == ("awaiting_approval", "v3", reason)
    with pytest.raises(RegistryError, match=r"judged against 'v2', and 'v1' is the champion.*--force"):
        models.approve("late", "v3", "looks right", 4, "ada")
    models.approve("late", "v3", "better than v1 too", 5, "ada", anyway=True)
    assert _champion(models) == "v3"
    assert _told(models)[-1] == ("promoted", "v3", "approved by ada: better than v1 too")


def test_rolled_back_and_forth_it_is_the_same_champion(models: Registry) -> None:
    models.rollback("late", "v2 is wrong", 2)
    models.promote("late", "v2", "after all", 3)
    assert models.promote("late", "v3", "better", 4, compared_with="v2")[0] == "promoted"


def test_an_older_one_than_the_champion_is_rejected(models: Registry) -> None:
    _register(models, "v4", {})
    models.promote("late", "v4", "by hand", 2)
    status, reason = models.promote("late", "v3", "better", 3, compared_with="v2")
    assert (status, _status(models, "v3"), _champion(models)) == ("rejected", "rejected", "v4")
    assert "'v3' was judged against 'v2', and 'v4' is the champion" in reason
    assert _told(models)[-1] == ("rejected", "v3", reason)


def test_judged_without_a_champion_and_somebody_promoted_one(registry: Registry) -> None:
    _register(registry, "v1", {})
    _register(registry, "v2", {"compared_with": None})
    registry.promote("late", "v1", "by hand", 2)
    status, reason = registry.promote("late", "v2", "sane", 3, compared_with=None)
    assert (status, _champion(registry)) == ("awaiting_approval", "v1")
    assert "was judged without a champion" in reason


def test_without_a_champion_there_is_nothing_to_be_worse_than(registry: Registry) -> None:
    _register(registry, "v1", {"compared_with": "v0"})
    assert registry.promote("late", "v1", "sane", 3, compared_with="v0")[0] == "promoted"


def test_a_promotion_by_hand_and_a_repeated_one_ask_nothing(models: Registry) -> None:
    models.promote("late", "v3", "better", 2, command_id="of v3", compared_with="v2")
    models.rollback("late", "worse", 3)
    models.rollback("late", "worse", 3)
    before = len(_told(models))
    assert models.promote("late", "v3", "better", 4, command_id="of v3", compared_with="v2")[0] == "promoted"
    assert (_champion(models), len(_told(models))) == ("v1", before)
    models.promote("late", "v3", "a person wants it", 5)
    assert _champion(models) == "v3"


def test_an_approval_asks_for_the_champion_of_the_comparison_that_was_passed(models: Registry) -> None:
    """Its gates saw v2; a comparison on new predictions that begins after the rollback sees v1."""
    models.rollback("late", "v2 is wrong", 2)
    store = ShadowStore(models.engine)
    store.start("late", "v3", "shadow", from_ms=0, reason="", event_time_ms=3, actor="trainer")
    look = ShadowLook(
        model_id="late", champion="v1", challenger="v3", number=1, window_start_ms=0, window_end_ms=1,
        verdict="promote", reason="", sentence="better", loss="brier", margin=0.0, alpha=0.05, windows=1, rows=1,
        champion_rows=1, challenger_rows=1, champion_loss=0.2, challenger_loss=0.1, improvement=0.1, low=0.1, high=0.1,
    )  # fmt: skip
    store.advance(store.open()[0], b"{}", [look], then="approval", event_time_ms=4, actor="shadow")
    assert _status(models, "v3") == "awaiting_approval"
    models.approve("late", "v3", "fine", 5, "ada")
    assert _champion(models) == "v3"


def test_a_version_that_says_nothing_of_a_champion_is_approved_as_before(models: Registry) -> None:
    _register(models, "v4", {"source": "elsewhere"})
    models.await_approval("late", "v4", "asked", 2)
    models.approve("late", "v4", "fine", 3, "ada")
    assert _champion(models) == "v4"
