"""Training runs: one retrain command, one run, whoever crashes in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from sqlalchemy import Engine, Row, select, update

from driftloop.events.decisions import RetrainCommand
from driftloop.registry.database import insert_new, reading, storable, writing
from driftloop.registry.files_lock import referring
from driftloop.registry.run_log import RunLog
from driftloop.registry.tables import runs

__all__ = ["Run", "RunOutcome", "RunStore"]

RunOutcome = Literal["registered", "promoted", "rejected", "failed", "held"]
_decode_command = msgspec.json.Decoder(RetrainCommand).decode


@dataclass(frozen=True, kw_only=True)
class Run:
    """The run of one command. ``outcome`` None: not finished. ``attempts`` counts how often it was leased, but for
    what was given back; times are
    wall time in seconds since 1970, as handed in. ``files``: names in the artifact store of what the run has put there
    (``dataset``, ``manifest``, ``validation``, ``expectations``). ``waiting``: what it waits for outside of driftloop,
    without a lease; None: nothing."""

    command: RetrainCommand
    owner: str
    lease_until: float
    attempts: int
    started: float
    outcome: RunOutcome | None
    version: str | None
    reason: str
    ended: float | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    waiting: str | None = None


class RunStore:
    """Leases on retrain commands. Wall time ``now`` (seconds since 1970) is handed in with every call.

    A worker that was only slow may lose its lease and go on beside its successor; that does no harm, because the
    registry takes one version for a command, and the first ``finish`` counts.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        #: What the runs say while they go on.
        self.log = RunLog(engine)

    def lease(self, command: RetrainCommand, owner: str, lease_seconds: float, now: float) -> Run | None:
        """Take the command for ``lease_seconds``. None: it is finished, or leased by another who still has time."""
        now_ms, until_ms = _ms(now), _ms(now + lease_seconds)
        with referring(self._engine) as connection:
            first = {
                "command_id": command.command_id,
                "model_id": command.model_id,
                "command": msgspec.json.encode(command),
                "owner": owner,
                "lease_until_wall_ms": until_ms,
                "attempts": 1,
                "started_wall_ms": now_ms,
                "reason": "",
            }
            mine = runs.c.command_id == command.command_id
            if not insert_new(connection, runs, first):
                row = connection.execute(select(runs).where(mine).with_for_update()).one()
                if row.outcome is not None or (row.owner != owner and row.lease_until_wall_ms > now_ms):
                    return None
                connection.execute(
                    update(runs)
                    .where(mine)
                    .values(owner=owner, lease_until_wall_ms=until_ms, attempts=row.attempts + 1)
                )
            return _run(connection.execute(select(runs).where(mine)).one())

    def renew(self, command_id: str, owner: str, lease_seconds: float, now: float) -> bool:
        """Lengthen the lease. False: it is another's by now, or the run is finished."""
        statement = (
            update(runs)
            .where(runs.c.command_id == command_id, runs.c.owner == owner, runs.c.outcome.is_(None))
            .values(lease_until_wall_ms=_ms(now + lease_seconds))
        )
        with writing(self._engine) as connection:
            return connection.execute(statement).rowcount == 1

    def finish(
        self, command_id: str, outcome: RunOutcome, version: str | None, reason: str, now: float | None = None
    ) -> bool:
        """End the run for good. False: it had ended before, and stays as it was."""
        ended_ms = None if now is None else _ms(now)
        statement = (
            update(runs)
            .where(runs.c.command_id == command_id, runs.c.outcome.is_(None))
            .values(outcome=outcome, version=version, reason=storable(reason), ended_wall_ms=ended_ms)
        )
        with writing(self._engine) as connection:
            return connection.execute(statement).rowcount == 1

    def let_wait(self, command_id: str, owner: str, *, known: bool) -> None:
        """Give the lease back: the run waits for somebody else. ``known``: it had waited before, and this attempt at it
        was none, but a copy of its command."""
        mine = (runs.c.command_id == command_id) & (runs.c.owner == owner) & runs.c.outcome.is_(None)
        attempts = runs.c.attempts - 1 if known else runs.c.attempts
        with writing(self._engine) as connection:
            connection.execute(update(runs).where(mine).values(lease_until_wall_ms=0, attempts=attempts))

    def give_back(self, command_id: str, owner: str) -> None:
        """Give lease and attempt back: something broke the run off that is no fault of its own."""
        self.let_wait(command_id, owner, known=True)

    def keep_file(self, command_id: str, role: str, uri: str) -> None:
        """The run has put a file into the artifact store: it stays there as long as the run names it."""
        mine = runs.c.command_id == command_id
        with writing(self._engine) as connection:
            row = connection.execute(select(runs.c.files).where(mine).with_for_update()).first()
            if row is not None:
                files = {**_files(row.files), role: uri}
                connection.execute(update(runs).where(mine).values(files=msgspec.json.encode(files).decode()))

    def find(self, name: str) -> list[Run]:
        """The runs whose command id begins with ``name``, at most ten."""
        statement = select(runs).where(runs.c.command_id.startswith(name, autoescape=True))
        with reading(self._engine) as connection:
            return [_run(row) for row in connection.execute(statement.order_by(runs.c.command_id).limit(10))]

    def get(self, command_id: str) -> Run | None:
        """The run of a command, or None if nobody has taken it."""
        with reading(self._engine) as connection:
            row = connection.execute(select(runs).where(runs.c.command_id == command_id)).first()
            return None if row is None else _run(row)

    def runs(self, model_id: str | None = None, limit: int = 100) -> list[Run]:
        """The latest runs, newest first."""
        statement = select(runs).order_by(runs.c.started_wall_ms.desc(), runs.c.command_id).limit(limit)
        if model_id is not None:
            statement = statement.where(runs.c.model_id == model_id)
        with reading(self._engine) as connection:
            return [_run(row) for row in connection.execute(statement)]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _run(row: Row[Any]) -> Run:
    return Run(
        command=_decode_command(row.command),
        owner=row.owner,
        lease_until=row.lease_until_wall_ms / 1000,
        attempts=row.attempts,
        started=row.started_wall_ms / 1000,
        outcome=row.outcome,
        version=row.version,
        reason=row.reason,
        ended=None if row.ended_wall_ms is None else row.ended_wall_ms / 1000,
        files=_files(row.files),
        waiting=row.waiting,
    )


def _files(text: str | None) -> dict[str, str]:
    return {} if text is None else msgspec.json.decode(text, type=dict[str, str])
