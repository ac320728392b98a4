"""Aliases of a model's versions inside a transaction: reading, moving, history."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from driftloop.registry.database import storable
from driftloop.registry.history_chain import append
from driftloop.registry.rows import CHAMPION, HistoryRow
from driftloop.registry.tables import alias_history, aliases

__all__ = ["alias_changes", "aliases_of", "champion_stack", "move_alias", "was_promoted_for"]


def aliases_of(connection: Connection, model_id: str) -> dict[str, str]:
    """Alias -> version."""
    statement = select(aliases.c.alias, aliases.c.version).where(aliases.c.model_id == model_id)
    return {row.alias: row.version for row in connection.execute(statement)}


def move_alias(
    connection: Connection,
    model_id: str,
    alias: str,
    version: str | None,
    *,
    action: str,
    subject: str | None,
    reason: str,
    actor: str,
    event_time_ms: int,
    command_id: str | None = None,
) -> str | None:
    """Let the alias name ``version`` (None: nothing), and write that into the history. Returns the version before.

    ``subject``: the version that the action is about.
    """
    previous = aliases_of(connection, model_id).get(alias)
    connection.execute(delete(aliases).where(aliases.c.model_id == model_id, aliases.c.alias == alias))
    if version is not None:
        connection.execute(insert(aliases).values(model_id=model_id, alias=alias, version=version))
    append(
        connection,
        {
            "model_id": model_id,
            "alias": alias,
            "action": action,
            "subject": subject,
            "version": version,
            "previous_version": previous,
            "command_id": command_id,
            # As the database keeps them: the digest is of what can be read back.
            "reason": storable(reason),
            "actor": storable(actor),
            "event_time_ms": event_time_ms,
        },
    )
    return previous


def alias_changes(connection: Connection, model_id: str, alias: str | None = None) -> list[HistoryRow]:
    """Every change of the model's aliases, oldest first."""
    statement = select(alias_history).where(alias_history.c.model_id == model_id).order_by(alias_history.c.sequence)
    if alias is not None:
        statement = statement.where(alias_history.c.alias == alias)
    return [
        HistoryRow(
            sequence=row.sequence,
            alias=row.alias,
            action=row.action,
            subject=row.subject,
            version=row.version,
            previous_version=row.previous_version,
            command_id=row.command_id,
            reason=row.reason,
            actor=row.actor,
            event_time_ms=row.event_time_ms,
            row_sha256=row.row_sha256,
        )
        for row in connection.execute(statement)
    ]


def was_promoted_for(connection: Connection, model_id: str, command_id: str) -> bool:
    """Whether this command has already led to a promotion (which may have been rolled back since)."""
    statement = select(alias_history.c.id).where(
        alias_history.c.model_id == model_id,
        alias_history.c.alias == CHAMPION,
        alias_history.c.action == "promoted",
        alias_history.c.command_id == command_id,
    )
    return connection.execute(statement.limit(1)).first() is not None


def champion_stack(connection: Connection, model_id: str) -> list[str]:
    """Champions that a rollback can return to, the present one last.

    A promotion puts a version on the stack, a rollback takes one off: two rollbacks go two champions back.
    """
    stack: list[str] = []
    for change in alias_changes(connection, model_id, CHAMPION):
        if change.action == "promoted" and change.version is not None:
            stack.append(change.version)
        elif change.action == "rolled_back" and stack:
            stack.pop()
    return stack
