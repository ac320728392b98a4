"""Comparisons of versions with the champion inside a transaction that has locked the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, insert, select, update

from driftloop.events.decisions import ModelEventKind, ShadowLook
from driftloop.registry._aliases import aliases_of, move_alias
from driftloop.registry._decisions import refuse
from driftloop.registry._versions import announce, existing_version
from driftloop.registry.database import storable
from driftloop.registry.rows import CHALLENGER, CHAMPION, VersionRow
from driftloop.registry.tables import shadows

__all__ = [
    "ShadowMode",
    "ShadowRow",
    "ShadowStatus",
    "end",
    "end_if_decided",
    "note",
    "open_rows",
    "row_of",
    "supersede_others",
    "undecided_rows",
    "write_new",
]

ShadowMode = Literal["shadow", "canary"]
#: ``watching``: no verdict yet; ``passed``, ``stopped``: the verdict; ``superseded``: a newer challenger is compared;
#: ``restarted``: another attempt follows, against another champion or by other settings; ``decided``: somebody promoted
#: or rejected the version meanwhile.
ShadowStatus = Literal["watching", "passed", "stopped", "superseded", "restarted", "decided"]


@dataclass(frozen=True, kw_only=True)
class ShadowRow:
    """One comparison. ``from_ms``: predictions made before do not count. ``state`` None: nothing was looked at yet;
    ``revision`` counts what was committed. ``lease_until``: wall time in seconds since 1970."""

    model_id: str
    version: str
    attempt: int
    mode: ShadowMode
    champion: str
    status: ShadowStatus
    reason: str
    from_ms: int
    command_id: str | None
    revision: int
    state: bytes | None
    owner: str
    lease_until: float


def row_of(row: Row[Any]) -> ShadowRow:
    return ShadowRow(
        model_id=row.model_id,
        version=row.version,
        attempt=row.attempt,
        mode=row.mode,
        champion=row.champion,
        status=row.status,
        reason=row.reason,
        from_ms=row.from_ms,
        command_id=row.command_id,
        revision=row.revision,
        state=None if row.state is None else bytes(row.state),
        owner=row.owner,
        lease_until=row.lease_until_wall_ms / 1000,
    )


def open_rows(connection: Connection, model_id: str | None = None) -> list[ShadowRow]:
    """Comparisons without a verdict, by model and version."""
    statement = select(shadows).where(shadows.c.status == "watching")
    if model_id is not None:
        statement = statement.where(shadows.c.model_id == model_id)
    ordered = statement.order_by(shadows.c.model_id, shadows.c.version, shadows.c.attempt)
    return [row_of(row) for row in connection.execute(ordered)]


def write_new(
    connection: Connection,
    version: VersionRow,
    mode: ShadowMode,
    *,
    champion: str,
    attempt: int,
    from_ms: int,
    command_id: str | None,
) -> None:
    connection.execute(
        insert(shadows).values(
            model_id=version.model_id,
            version=version.version,
            attempt=attempt,
            mode=mode,
            champion=champion,
            status="watching",
            reason="",
            from_ms=from_ms,
            command_id=command_id,
            revision=0,
            state=None,
            owner="",
            lease_until_wall_ms=0,
        )
    )


def end(connection: Connection, row: ShadowRow, status: ShadowStatus, reason: str) -> None:
    """The comparison is over; what becomes of the version is the caller's to write."""
    connection.execute(
        update(shadows)
        .where(
            shadows.c.model_id == row.model_id,
            shadows.c.version == row.version,
            shadows.c.attempt == row.attempt,
        )
        .values(status=status, reason=storable(reason), revision=shadows.c.revision + 1)
    )


def note(
    connection: Connection,
    version: VersionRow,
    kind: ModelEventKind,
    *,
    reason: str,
    actor: str,
    event_time_ms: int,
    command_id: str | None,
    look: ShadowLook | None = None,
) -> None:
    """Write what a comparison says about the version into the history and tell of it; the aliases stay."""
    names = aliases_of(connection, version.model_id)
    move_alias(
        connection,
        version.model_id,
        CHALLENGER,
        names.get(CHALLENGER),
        action=kind,
        subject=version.version,
        reason=reason,
        actor=actor,
        event_time_ms=event_time_ms,
        command_id=command_id,
    )
    announce(
        connection,
        kind,
        version.model_id,
        version,
        event_time_ms=event_time_ms,
        previous_version=names.get(CHAMPION),
        command_id=command_id,
        reason=reason,
        actor=actor,
        look=look,
    )


def undecided_rows(connection: Connection, model_id: str) -> list[ShadowRow]:
    """Comparisons that go on, by version. Those of versions about which somebody has decided meanwhile are ended."""
    return [row for row in open_rows(connection, model_id) if not end_if_decided(connection, row)]


def end_if_decided(connection: Connection, row: ShadowRow) -> bool:
    """Whether somebody has decided about the version; the comparison, if it is open, is ended then."""
    version = existing_version(connection, row.model_id, row.version)
    if version.status == "watched" and CHAMPION not in version.aliases:
        return False
    mine = (shadows.c.model_id == row.model_id) & (shadows.c.version == row.version)
    found = connection.execute(select(shadows.c.status).where(mine & (shadows.c.attempt == row.attempt))).scalar()
    if found == "watching":
        end(connection, row, "decided", f"the version is {version.status}: somebody has decided")
    return True


def supersede_others(connection: Connection, version: VersionRow, *, actor: str, event_time_ms: int) -> None:
    """A newer challenger is compared from now on: those before it are rejected."""
    for row in undecided_rows(connection, version.model_id):
        if row.version == version.version:
            continue
        reason = f"superseded by {version.version}, a newer challenger, before there was a verdict"
        end(connection, row, "superseded", reason)
        older = existing_version(connection, row.model_id, row.version)
        kind: ModelEventKind = "shadow_stopped" if row.mode == "shadow" else "canary_abort"
        told = {"reason": reason, "actor": actor, "event_time_ms": event_time_ms, "command_id": row.command_id}
        note(connection, older, kind, **told)  # type: ignore[arg-type]
        refuse(connection, older, **told)  # type: ignore[arg-type]
