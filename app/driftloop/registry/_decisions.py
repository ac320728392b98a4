"""What may be decided about a version, inside a transaction that has locked the model.

Each writes status, alias, a row of the history and the model event. Whether it may happen is the caller's to check.
"""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Connection

from driftloop.registry._aliases import aliases_of, champion_stack, move_alias
from driftloop.registry._versions import announce, existing_version, set_status, watched_version
from driftloop.registry.errors import RegistryError
from driftloop.registry.rows import CHALLENGER, CHAMPION, VersionRow

__all__ = ["approve", "ask_for_approval", "make_champion", "refuse", "roll_back"]


def make_champion(
    connection: Connection,
    row: VersionRow,
    *,
    reason: str,
    actor: str,
    event_time_ms: int,
    command_id: str | None = None,
) -> None:
    """Let the alias champion name the version; it is no challenger any more."""
    model_id, version = row.model_id, row.version
    previous = move_alias(
        connection,
        model_id,
        CHAMPION,
        version,
        action="promoted",
        subject=version,
        reason=reason,
        actor=actor,
        event_time_ms=event_time_ms,
        command_id=command_id,
    )
    if CHALLENGER in row.aliases:
        move_alias(
            connection,
            model_id,
            CHALLENGER,
            None,
            action="promoted",
            subject=version,
            reason=reason,
            actor=actor,
            event_time_ms=event_time_ms,
            command_id=command_id,
        )
    set_status(connection, model_id, version, "promoted")
    announce(
        connection,
        "promoted",
        model_id,
        row,
        event_time_ms=event_time_ms,
        previous_version=previous,
        command_id=command_id,
        reason=reason,
        actor=actor,
    )


def roll_back(connection: Connection, model_id: str, *, reason: str, actor: str, event_time_ms: int) -> str:
    """Let champion name the one before. Returns its name; raises :class:`RegistryError` if there is none."""
    stack = champion_stack(connection, model_id)
    if len(stack) < 2:
        had = f"{stack[-1]!r} is its first champion" if stack else "it has no champion"
        raise RegistryError(f"the model {model_id!r} has nothing to roll back to: {had}")
    version = stack[-2]
    previous = move_alias(
        connection,
        model_id,
        CHAMPION,
        version,
        action="rolled_back",
        subject=version,
        reason=reason,
        actor=actor,
        event_time_ms=event_time_ms,
    )
    if previous is not None:
        set_status(connection, model_id, previous, "rolled_back")
    set_status(connection, model_id, version, "promoted")
    announce(
        connection,
        "rolled_back",
        model_id,
        existing_version(connection, model_id, version),
        event_time_ms=event_time_ms,
        previous_version=previous,
        reason=reason,
        actor=actor,
    )
    return version


def refuse(
    connection: Connection,
    row: VersionRow,
    *,
    reason: str,
    actor: str,
    event_time_ms: int,
    command_id: str | None = None,
) -> None:
    """The version does not become champion. If a newer one is the challenger by now, that one stays it; if an older one
    is still compared with the champion, that one is the challenger again."""
    challenger = aliases_of(connection, row.model_id).get(CHALLENGER)
    if challenger in (row.version, None):
        challenger = watched_version(connection, row.model_id, but=row.version)
    _not_champion(
        connection,
        "rejected",
        row,
        challenger,
        reason=reason,
        actor=actor,
        event_time_ms=event_time_ms,
        command_id=command_id,
    )


def ask_for_approval(
    connection: Connection,
    row: VersionRow,
    *,
    reason: str,
    actor: str,
    event_time_ms: int,
    command_id: str | None = None,
) -> None:
    """The version waits for a person; the aliases stay as they are."""
    _not_champion(
        connection,
        "awaiting_approval",
        row,
        aliases_of(connection, row.model_id).get(CHALLENGER),
        reason=reason,
        actor=actor,
        event_time_ms=event_time_ms,
        command_id=command_id,
    )


def _not_champion(
    connection: Connection,
    what: Literal["rejected", "awaiting_approval"],
    row: VersionRow,
    challenger: str | None,
    *,
    reason: str,
    actor: str,
    event_time_ms: int,
    command_id: str | None,
) -> None:
    """Write down why the champion stays as it is, and which version is the challenger now."""
    move_alias(
        connection,
        row.model_id,
        CHALLENGER,
        challenger,
        action=what,
        subject=row.version,
        reason=reason,
        actor=actor,
        event_time_ms=event_time_ms,
        command_id=command_id,
    )
    set_status(connection, row.model_id, row.version, what)
    announce(
        connection,
        what,
        row.model_id,
        row,
        event_time_ms=event_time_ms,
        previous_version=aliases_of(connection, row.model_id).get(CHAMPION),
        command_id=command_id,
        reason=reason,
        actor=actor,
    )


def approve(connection: Connection, row: VersionRow, *, reason: str, actor: str, event_time_ms: int) -> None:
    """Write the approval down, then promote."""
    move_alias(
        connection,
        row.model_id,
        CHALLENGER,
        aliases_of(connection, row.model_id).get(CHALLENGER),
        action="approved",
        subject=row.version,
        reason=reason,
        actor=actor,
        event_time_ms=event_time_ms,
    )
    make_champion(connection, row, reason=f"approved by {actor}: {reason}", actor=actor, event_time_ms=event_time_ms)
