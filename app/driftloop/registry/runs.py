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
    (``dataset``, ``manifest``, ``validation``, ``expectations``). ``waiting``: what it waits for, without a lease: a
    training outside of driftloop, or, from ``next_try`` on, being tried again after ``tries`` that failed; None:
    nothing. ``limit``: when the present attempt must be over."""

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
    limit: float | None = None
    tries: int = 0
    next_try: float | None = None


class RunStore:
    """Leases on retrain commands. Wall time ``now`` (seconds since 1970) is handed in with every call.

    A worker that was only slow may lose its lease and go on beside its successor; that does no harm, because the
    registry takes one version for a command, and the first ``finish`` counts.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        #: What the runs say while they go on.
        self.log = RunLog(engine)

    def lease(
        self,
        command: RetrainCommand,
        owner: str,
        lease_seconds: float,
        now: float,
        *,
        limit_ms: int | None = None,
    ) -> Run | None:
        """Take the command for ``lease_seconds``. None: it is finished, put off, or leased by another who still has
        time. ``limit_ms``: how long this attempt may take."""
        now_ms, until_ms = _ms(now), _ms(now + lease_seconds)
        over_ms = None if limit_ms is None else now_ms + limit_ms
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
                "limit_wall_ms": over_ms,
            }
            mine = runs.c.command_id == command.command_id
            if not insert_new(connection, runs, first):
                row = connection.execute(select(runs).where(mine).with_for_update()).one()
                if row.outcome is not None or (row.owner != owner and row.lease_until_wall_ms > now_ms):
                    return None
                values = {"owner": owner, "lease_until_wall_ms": until_ms, "attempts": row.attempts + 1}
                if row.next_try_wall_ms is not None:
                    if row.next_try_wall_ms > now_ms:
                        return None
                    # The time of the next try stays: should this one break off, the run is due again.
                    values["waiting"] = None
                connection.execute(update(runs).where(mine).values(**values, limit_wall_ms=over_ms))
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
        self._let_go(command_id, owner, counted=not known, tries=None, next_try_wall_ms=None)

    def give_back(self, command_id: str, owner: str) -> None:
        """Give lease and attempt back: something broke the run off that is no fault of its own."""
        self._let_go(command_id, owner, counted=False)

    def put_off(self, command_id: str, owner: str, until: float, waiting: str, *, tries: int) -> None:
        """Give lease and attempt back; from ``until`` on the run is :meth:`due`, whoever takes it. ``tries``: so many
        have failed by now."""
        until_ms = _ms(until)
        self._let_go(
            command_id, owner, counted=False, waiting=storable(waiting), tries=tries, next_try_wall_ms=until_ms
        )

    def due(self, now: float, limit: int = 20) -> list[RetrainCommand]:
        """Commands that were put off until now and that nobody works on, the longest due first."""
        now_ms = _ms(now)
        ready = runs.c.outcome.is_(None) & (runs.c.next_try_wall_ms <= now_ms) & (runs.c.lease_until_wall_ms <= now_ms)
        statement = select(runs.c.command).where(ready).order_by(runs.c.next_try_wall_ms, runs.c.command_id)
        with reading(self._engine) as connection:
            return [_decode_command(body) for body in connection.execute(statement.limit(limit)).scalars()]

    def _let_go(self, command_id: str, owner: str, *, counted: bool, **values: Any) -> None:
        mine = (runs.c.command_id == command_id) & (runs.c.owner == owner) & runs.c.outcome.is_(None)
        attempts = runs.c.attempts if counted else runs.c.attempts - 1
        with writing(self._engine) as connection:
            connection.execute(update(runs).where(mine).values(lease_until_wall_ms=0, attempts=attempts, **values))

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
        limit=None if row.limit_wall_ms is None else row.limit_wall_ms / 1000,
        tries=row.tries or 0,
        next_try=None if row.next_try_wall_ms is None else row.next_try_wall_ms / 1000,
    )


def _files(text: str | None) -> dict[str, str]:
    return {} if text is None else msgspec.json.decode(text, type=dict[str, str])
