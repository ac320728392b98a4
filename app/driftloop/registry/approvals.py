"""Which versions the registry has ever let serve, and from when on."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Engine, select

from driftloop.events.time import NEVER_MS
from driftloop.registry.database import reading, storable
from driftloop.registry.rows import CHAMPION
from driftloop.registry.tables import alias_history

__all__ = ["Approval", "approval_of", "promotion_of"]

_SERVES = ("promoted", "rolled_back")


class Approval(NamedTuple):
    """``from_ms``: the event time from which on a version may serve, None: it never was approved. ``for_good``: no
    later entry of the history takes that back."""

    from_ms: int | None
    for_good: bool


def approval_of(engine: Engine, model_id: str, version: str) -> Approval:
    """From when on the version may serve: its first promotion, or its canary's beginning.

    ``NEVER_MS`` (it always may) for a model's first champion, before which nothing was approved, and, until there is
    one, for every version: nobody uses the registry to approve then. Read from the history of aliases, which only
    grows.
    """
    return _approval(engine, model_id, version, arms=True)


def promotion_of(engine: Engine, model_id: str, version: str) -> Approval:
    """From when on the version has been champion, as in :func:`approval_of`; the arm of a canary has not."""
    return _approval(engine, model_id, version, arms=False)


def _approval(engine: Engine, model_id: str, version: str, *, arms: bool) -> Approval:
    columns = (alias_history.c.alias, alias_history.c.action, alias_history.c.version, alias_history.c.subject)
    statement = (
        select(*columns, alias_history.c.event_time_ms)
        .where(alias_history.c.model_id == storable(model_id))
        .where(alias_history.c.action.in_((*_SERVES, "canary_started")))
        .order_by(alias_history.c.sequence)
    )
    with reading(engine) as connection:
        rows = connection.execute(statement).all()
    champions = [row for row in rows if row.alias == CHAMPION and row.action in _SERVES]
    if not champions:
        return Approval(NEVER_MS, for_good=False)
    if champions[0].version == storable(version):
        return Approval(NEVER_MS, for_good=True)
    times = [row.event_time_ms for row in champions if row.version == storable(version)]
    if arms:
        times += [
            row.event_time_ms for row in rows if row.action == "canary_started" and row.subject == storable(version)
        ]
    return Approval(min(times, default=None), for_good=bool(times))
