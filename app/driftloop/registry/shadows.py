"""Versions that are compared with the champion on new predictions: leases, looks, and what follows from a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from sqlalchemy import ColumnElement, Connection, Engine, and_, func, insert, select, update

from driftloop.events.decisions import ModelEventKind, ShadowLook
from driftloop.registry._aliases import aliases_of, was_promoted_for
from driftloop.registry._decisions import ask_for_approval, make_champion, refuse
from driftloop.registry._shadows import (
    ShadowMode,
    ShadowRow,
    ShadowStatus,
    end,
    end_if_decided,
    note,
    open_rows,
    row_of,
    supersede_others,
    undecided_rows,
    write_new,
)
from driftloop.registry._versions import existing_version, lock_model, set_status
from driftloop.registry.database import reading, writing
from driftloop.registry.errors import ComparisonOpenError, RegistryError, StaleStateError
from driftloop.registry.rows import CHAMPION, VersionRow
from driftloop.registry.tables import shadow_looks, shadows

__all__ = ["ShadowMode", "ShadowRow", "ShadowStatus", "ShadowStore"]

_decode_look = msgspec.json.Decoder(ShadowLook).decode
_STARTED: dict[ShadowMode, ModelEventKind] = {"shadow": "shadow_started", "canary": "canary_started"}
_PASSED: dict[ShadowMode, ModelEventKind] = {"shadow": "shadow_passed", "canary": "canary_advance"}
_STOPPED: dict[ShadowMode, ModelEventKind] = {"shadow": "shadow_stopped", "canary": "canary_abort"}


class ShadowStore:
    """Comparisons in the database. A state, the looks that led to it, and what follows (status, aliases, history, model
    events) are one transaction, so after a crash there is all of it or nothing. Raises
    :class:`~driftloop.registry.errors.RegistryError` with what to do."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # -- begin ---------------------------------------------------------------------------------------------------

    def start(
        self,
        model_id: str,
        version: str,
        mode: ShadowMode,
        *,
        from_ms: int,
        reason: str,
        event_time_ms: int,
        actor: str,
        command_id: str | None = None,
        supersede: bool = True,
    ) -> bool:
        """Let the version be compared with the present champion, on predictions made from ``from_ms`` on.

        Other versions that are being compared are superseded and rejected; without ``supersede``
        :class:`~driftloop.registry.errors.ComparisonOpenError` is raised if there is one. False, and nothing happens,
        if this version was compared before (a repeated command). Raises if the model has no champion, or if the version
        is one, or is decided.
        """
        with writing(self._engine) as connection:
            lock_model(connection, model_id)
            row = existing_version(connection, model_id, version)
            before = select(func.count()).select_from(shadows)
            mine = (shadows.c.model_id == model_id) & (shadows.c.version == version)
            if connection.execute(before.where(mine)).scalar_one():
                return False
            champion = aliases_of(connection, model_id).get(CHAMPION)
            if champion is None:
                raise RegistryError(
                    f"the model {model_id!r} has no champion to compare {version!r} with; use 'driftloop models "
                    f"promote {model_id} {version}'"
                )
            if row.status != "registered":
                raise RegistryError(
                    f"the version {version!r} of {model_id!r} is {row.status}; only one that nothing is decided about "
                    f"can be compared with the champion; see 'driftloop models show {model_id}'"
                )
            others = [] if supersede else undecided_rows(connection, model_id)
            if others:
                raise ComparisonOpenError(
                    f"{others[-1].version} is compared with the champion and has no verdict yet, and shadow.supersede "
                    "is not set"
                )
            supersede_others(connection, row, actor=actor, event_time_ms=event_time_ms)
            write_new(connection, row, mode, champion=champion, attempt=1, from_ms=from_ms, command_id=command_id)
            set_status(connection, model_id, version, "watched")
            note(
                connection,
                row,
                _STARTED[mode],
                reason=reason,
                actor=actor,
                event_time_ms=event_time_ms,
                command_id=command_id,
            )
            return True

    def restart(
        self, row: ShadowRow, *, champion: str, from_ms: int, reason: str, event_time_ms: int, actor: str
    ) -> None:
        """Begin anew, with nothing taken in, against ``champion``. Raises :class:`StaleStateError` if somebody else has
        gone on with the comparison meanwhile."""
        with writing(self._engine) as connection:
            version = self._locked(connection, row)
            end(connection, row, "restarted", reason)
            write_new(
                connection,
                version,
                row.mode,
                champion=champion,
                attempt=row.attempt + 1,
                from_ms=from_ms,
                command_id=row.command_id,
            )
            note(
                connection,
                version,
                _STARTED[row.mode],
                reason=reason,
                actor=actor,
                event_time_ms=event_time_ms,
                command_id=row.command_id,
            )

    # -- look ----------------------------------------------------------------------------------------------------

    def lease(self, row: ShadowRow, owner: str, lease_s: float, now_s: float) -> ShadowRow | None:
        """Take the comparison for ``lease_s`` seconds of wall time, as it is now. None: it has a verdict, or is leased
        by another who still has time."""
        with writing(self._engine) as connection:
            found = connection.execute(select(shadows).where(_is(row)).with_for_update()).first()
            if found is None or found.status != "watching":
                return None
            now_ms = round(now_s * 1000)
            if found.owner != owner and found.lease_until_wall_ms > now_ms:
                return None
            until_ms = now_ms + round(lease_s * 1000)
            connection.execute(update(shadows).where(_is(row)).values(owner=owner, lease_until_wall_ms=until_ms))
            return row_of(connection.execute(select(shadows).where(_is(row))).one())

    def advance(
        self,
        row: ShadowRow,
        state: bytes,
        looks: Sequence[ShadowLook],
        *,
        then: Literal["promote", "approval"],
        event_time_ms: int,
        actor: str,
    ) -> ShadowRow:
        """Write the state after further windows with what was said after each; of a verdict also what follows from it:
        the version becomes champion, waits for approval (``then``), or is rejected.

        Raises :class:`StaleStateError`, and nothing is written, if another process has written meanwhile, if somebody
        has decided about the version, or if another version is the champion by now.
        """
        with writing(self._engine) as connection:
            version = self._locked(connection, row)
            champion = aliases_of(connection, row.model_id).get(CHAMPION)
            if champion != row.champion:
                raise StaleStateError(
                    f"{champion!r} is the champion of {row.model_id!r} by now, and {row.version!r} was compared with "
                    f"{row.champion!r}"
                )
            held = self._last_verdict(connection, row) == "hold"
            connection.execute(update(shadows).where(_is(row)).values(state=state, revision=row.revision + 1))
            for look in looks:
                self._write_look(connection, row, look)
                if look.verdict == "hold" and not held:
                    self._tell(connection, row, version, "canary_hold", look, event_time_ms, actor)
                held = look.verdict == "hold"
            if looks and looks[-1].verdict in ("promote", "stop"):
                self._decide(connection, row, version, looks[-1], then, event_time_ms, actor)
            return row_of(connection.execute(select(shadows).where(_is(row))).one())

    def stop(self, row: ShadowRow, reason: str, *, event_time_ms: int, actor: str) -> None:
        """End the comparison without a verdict of the numbers: the version is rejected for ``reason``."""
        with writing(self._engine) as connection:
            version = self._locked(connection, row)
            end(connection, row, "stopped", reason)
            told = {"reason": reason, "actor": actor, "event_time_ms": event_time_ms, "command_id": row.command_id}
            note(connection, version, _STOPPED[row.mode], **told)  # type: ignore[arg-type]
            refuse(connection, version, **told)  # type: ignore[arg-type]

    def close_decided(self, row: ShadowRow) -> bool:
        """End the comparison of a version about which somebody has decided. False: nobody has."""
        with writing(self._engine) as connection:
            lock_model(connection, row.model_id)
            return end_if_decided(connection, row)

    def _locked(self, connection: Connection, row: ShadowRow) -> VersionRow:
        lock_model(connection, row.model_id)
        found = connection.execute(select(shadows.c.status, shadows.c.revision).where(_is(row))).first()
        if found is None or found.status != "watching" or found.revision != row.revision:
            raise StaleStateError(
                f"another process has gone on with the comparison of {row.model_id!r} {row.version!r} meanwhile"
            )
        version = existing_version(connection, row.model_id, row.version)
        if version.status != "watched":
            raise StaleStateError(f"the version {row.version!r} of {row.model_id!r} is {version.status} by now")
        return version

    def _decide(
        self,
        connection: Connection,
        row: ShadowRow,
        version: VersionRow,
        look: ShadowLook,
        then: Literal["promote", "approval"],
        event_time_ms: int,
        actor: str,
    ) -> None:
        passed = look.verdict == "promote"
        end(connection, row, "passed" if passed else "stopped", look.sentence)
        kind = _PASSED[row.mode] if passed else _STOPPED[row.mode]
        self._tell(connection, row, version, kind, look, event_time_ms, actor)
        told = {
            "reason": look.sentence,
            "actor": actor,
            "event_time_ms": event_time_ms,
            "command_id": row.command_id,
        }
        if not passed:
            refuse(connection, version, **told)  # type: ignore[arg-type]
        elif then == "approval":
            ask_for_approval(connection, version, **told)  # type: ignore[arg-type]
        elif row.command_id is None or not was_promoted_for(connection, row.model_id, row.command_id):
            make_champion(connection, version, **told)  # type: ignore[arg-type]

    def _tell(
        self,
        connection: Connection,
        row: ShadowRow,
        version: VersionRow,
        kind: ModelEventKind,
        look: ShadowLook,
        event_time_ms: int,
        actor: str,
    ) -> None:
        note(
            connection,
            version,
            kind,
            reason=look.sentence,
            actor=actor,
            event_time_ms=event_time_ms,
            command_id=row.command_id,
            look=look,
        )

    def _write_look(self, connection: Connection, row: ShadowRow, look: ShadowLook) -> None:
        connection.execute(
            insert(shadow_looks).values(
                model_id=row.model_id,
                version=row.version,
                attempt=row.attempt,
                number=look.number,
                window_end_ms=look.window_end_ms,
                verdict=look.verdict,
                body=msgspec.json.encode(look),
            )
        )

    def _last_verdict(self, connection: Connection, row: ShadowRow) -> str | None:
        statement = select(shadow_looks.c.verdict).where(_looks_of(row)).order_by(shadow_looks.c.number.desc())
        return connection.execute(statement.limit(1)).scalar()

    # -- read ----------------------------------------------------------------------------------------------------

    def open(self, model_id: str | None = None) -> list[ShadowRow]:
        """Comparisons without a verdict, of one model or all, by model and version."""
        with reading(self._engine) as connection:
            return open_rows(connection, model_id)

    def going_on(self, model_id: str) -> list[ShadowRow]:
        """Comparisons of a model that are without a verdict, and about whose versions nobody has decided meanwhile."""
        with writing(self._engine) as connection:
            lock_model(connection, model_id)
            return undecided_rows(connection, model_id)

    def of_model(self, model_id: str) -> list[ShadowRow]:
        """Every comparison of a model, in the order in which the versions were registered."""
        statement = select(shadows).where(shadows.c.model_id == model_id)
        with reading(self._engine) as connection:
            rows = [row_of(row) for row in connection.execute(statement)]
            order = {row.version: existing_version(connection, model_id, row.version).sequence for row in rows}
        return sorted(rows, key=lambda row: (order[row.version], row.attempt))

    def looks(self, row: ShadowRow, limit: int | None = None) -> list[ShadowLook]:
        """What was said after each window, oldest first; the last ``limit`` of them."""
        statement = select(shadow_looks.c.body).where(_looks_of(row)).order_by(shadow_looks.c.number.desc())
        with reading(self._engine) as connection:
            bodies = connection.execute(statement if limit is None else statement.limit(limit)).scalars().all()
        return [_decode_look(body) for body in reversed(bodies)]


def _is(row: ShadowRow) -> ColumnElement[bool]:
    return and_(
        shadows.c.model_id == row.model_id,
        shadows.c.version == row.version,
        shadows.c.attempt == row.attempt,
    )


def _looks_of(row: ShadowRow) -> ColumnElement[bool]:
    return and_(
        shadow_looks.c.model_id == row.model_id,
        shadow_looks.c.version == row.version,
        shadow_looks.c.attempt == row.attempt,
    )
