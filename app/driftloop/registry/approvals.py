"""Which versions the registry has ever let serve, and from when on."""

from __future__ import annotations

from sqlalchemy import Engine, select

from driftloop.events.time import NEVER_MS
from driftloop.registry.database import reading, storable
from driftloop.registry.rows import CHAMPION
from driftloop.registry.tables import alias_history

__all__ = ["approved_from_ms", "promoted_from_ms"]

_SERVES = ("promoted", "rolled_back")


def approved_from_ms(engine: Engine, model_id: str, version: str) -> int | None:
    """The event time from which on the version may serve: that of its first promotion, or of its canary's beginning.

    ``NEVER_MS`` (it always may) for a model's first champion, before which nothing was approved, and for every version
    of a model that never had a champion: nobody uses the registry to approve then. None: it was never approved. Read
    from the history of aliases, which only grows.
    """
    return _since_ms(engine, model_id, version, arms=True)


def promoted_from_ms(engine: Engine, model_id: str, version: str) -> int | None:
    """The event time of the version's first promotion, as in :func:`approved_from_ms`; the arm of a canary has none."""
    return _since_ms(engine, model_id, version, arms=False)


def _since_ms(engine: Engine, model_id: str, version: str, *, arms: bool) -> int | None:
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
    if not champions or champions[0].version == storable(version):
        return NEVER_MS
    times = [row.event_time_ms for row in champions if row.version == storable(version)]
    if arms:
        times += [
            row.event_time_ms for row in rows if row.action == "canary_started" and row.subject == storable(version)
        ]
    return min(times, default=None)
