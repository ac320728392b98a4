"""Retrain commands without an outcome: whether anybody works on them, and until when that may take.

Made from the database alone, so that a process that works on none of them can tell, also after a restart of either.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Engine, func, select

from driftloop.registry.database import reading
from driftloop.registry.tables import commands, handovers, runs

__all__ = ["CommandState", "OpenCommand", "open_commands"]

#: ``idle``: nobody works on it. ``running``: a trainer has the lease. ``handed_over``: a training elsewhere is to be
#: sent or is waited for. ``put_off``: it is tried again later.
CommandState = Literal["idle", "running", "handed_over", "put_off"]


@dataclass(frozen=True, kw_only=True)
class OpenCommand:
    """One command. ``limit``: wall time (seconds since 1970) by which what goes on with it must be over, by the limits
    of its model's spec; None: nothing goes on, or without a limit."""

    command_id: str
    model_id: str
    state: CommandState
    limit: float | None = None


def open_commands(engine: Engine, model_ids: Collection[str], now: float) -> list[OpenCommand]:
    """The commands of these models that have no outcome, by model and id. ``now``: wall time, seconds since 1970.

    A command that no trainer has ever taken counts unless a later one of its model has ended: trainers take a model's
    commands in order, so that one is lost (a topic that was deleted), and no trainer will ever answer it.
    """
    if not model_ids:
        return []
    with reading(engine) as connection:
        found = [*_begun(connection, model_ids, round(now * 1000)), *_never_taken(connection, model_ids)]
    return sorted(found, key=lambda command: (command.model_id, command.command_id))


def _begun(connection: Connection, model_ids: Collection[str], now_ms: int) -> list[OpenCommand]:
    statement = (
        select(
            runs.c.command_id,
            runs.c.model_id,
            runs.c.lease_until_wall_ms,
            runs.c.limit_wall_ms,
            runs.c.next_try_wall_ms,
            handovers.c.state,
            handovers.c.give_up_wall_ms,
            handovers.c.deadline_wall_ms,
        )
        .join_from(runs, handovers, runs.c.command_id == handovers.c.command_id, isouter=True)
        .where(runs.c.outcome.is_(None), runs.c.model_id.in_(model_ids))
    )
    return [_command(row, now_ms) for row in connection.execute(statement)]


def _command(row: Any, now_ms: int) -> OpenCommand:
    state: CommandState = "idle"
    limit_ms: int | None = None
    if row.lease_until_wall_ms > now_ms:
        state, limit_ms = "running", row.limit_wall_ms
    elif row.state in ("sending", "waiting"):
        state = "handed_over"
        limit_ms = row.deadline_wall_ms if row.state == "waiting" else row.give_up_wall_ms
    elif row.next_try_wall_ms is not None and row.next_try_wall_ms > now_ms:
        state = "put_off"
    limit = None if limit_ms is None else limit_ms / 1000
    return OpenCommand(command_id=row.command_id, model_id=row.model_id, state=state, limit=limit)


def _never_taken(connection: Connection, model_ids: Collection[str]) -> list[OpenCommand]:
    run_of = commands.c.command_id == runs.c.command_id
    ended = (
        select(commands.c.model_id, func.max(commands.c.id).label("newest"))
        .join_from(commands, runs, run_of)
        .where(runs.c.outcome.is_not(None))
        .group_by(commands.c.model_id)
        .subquery()
    )
    statement = (
        select(commands.c.command_id, commands.c.model_id)
        .join_from(commands, runs, run_of, isouter=True)
        .join(ended, ended.c.model_id == commands.c.model_id, isouter=True)
        .where(
            commands.c.model_id.in_(model_ids),
            runs.c.command_id.is_(None),
            commands.c.id > func.coalesce(ended.c.newest, 0),
        )
    )
    return [
        OpenCommand(command_id=row.command_id, model_id=row.model_id, state="idle")
        for row in connection.execute(statement)
    ]
