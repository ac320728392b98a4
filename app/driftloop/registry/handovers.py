"""Trainings that are done elsewhere: what was handed over, what became of it, and that it is known once only.

When a handover has ended, its retrain command goes out again, in the same transaction: whichever trainer takes it finds
the result here and goes on, with the lease and the attempts of any other run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Row, select, update

from driftloop.registry.database import insert_new, reading, storable, writing
from driftloop.registry.files_lock import referring
from driftloop.registry.outbox import RETRAIN_COMMANDS, add
from driftloop.registry.tables import handovers, runs

__all__ = ["Handover", "HandoverState", "HandoverStore", "Taken"]

#: ``sending``: the orchestrator has not confirmed it yet; ``waiting``: it has; ``ended``: there is a result, or
#: the run has ended without one.
HandoverState = Literal["sending", "waiting", "ended"]
#: What became of a result: it is the first; it is there already; the handover has ended otherwise; there is none.
Taken = Literal["taken", "same", "ended", "unknown"]

_LONGEST_LATE = 2_000


@dataclass(frozen=True, kw_only=True)
class Handover:
    """One command's. ``request`` and ``result`` are JSON, ``body`` is what is sent. Wall times in seconds since 1970:
    ``give_up`` ends the tries to hand it over, ``deadline`` the waiting for a result (None: not handed over yet)."""

    command_id: str
    state: HandoverState
    request: str
    body: bytes
    tries: int
    next_try: float
    give_up: float
    timeout_ms: int
    deadline: float | None
    result: str | None
    late: str | None


class HandoverStore:
    """The handovers of all commands. Wall time ``now`` (seconds since 1970) is handed in."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(
        self,
        command_id: str,
        *,
        request: str,
        body: bytes,
        timeout_ms: int,
        retry_for_ms: int,
        waiting: str,
        now: float,
    ) -> None:
        """From now on the command is to be handed over. Nothing happens if it is already."""
        values = {
            "command_id": command_id,
            "state": "sending",
            "request": request,
            "body": body,
            "tries": 0,
            "next_try_wall_ms": _ms(now),
            "give_up_wall_ms": _ms(now) + retry_for_ms,
            "timeout_ms": timeout_ms,
        }
        with referring(self._engine) as connection:
            if insert_new(connection, handovers, values):
                _say(connection, command_id, waiting)

    def get(self, command_id: str) -> Handover | None:
        """The command's handover."""
        with reading(self._engine) as connection:
            row = connection.execute(select(handovers).where(handovers.c.command_id == command_id)).first()
            return None if row is None else _handover(row)

    def due(self, now: float, limit: int = 20) -> list[Handover]:
        """Those to be sent now."""
        open_ones = (handovers.c.state == "sending") & (handovers.c.next_try_wall_ms <= _ms(now))
        return self._read(select(handovers).where(open_ones).order_by(handovers.c.next_try_wall_ms).limit(limit))

    def overdue(self, now: float, limit: int = 20) -> list[Handover]:
        """Those whose result has not come in time."""
        open_ones = (handovers.c.state == "waiting") & (handovers.c.deadline_wall_ms <= _ms(now))
        return self._read(select(handovers).where(open_ones).order_by(handovers.c.deadline_wall_ms).limit(limit))

    def _read(self, statement: Any) -> list[Handover]:
        with reading(self._engine) as connection:
            return [_handover(row) for row in connection.execute(statement)]

    def claim(self, command_id: str, now: float, for_s: float) -> bool:
        """Whether this process is to send it: for so long nobody else does."""
        due = (handovers.c.state == "sending") & (handovers.c.next_try_wall_ms <= _ms(now))
        statement = update(handovers).where(handovers.c.command_id == command_id, due)
        with writing(self._engine) as connection:
            values = {"next_try_wall_ms": _ms(now + for_s), "tries": handovers.c.tries + 1}
            return connection.execute(statement.values(**values)).rowcount == 1

    def try_again(self, command_id: str, at: float, waiting: str) -> None:
        """Sending failed; ``waiting`` says so."""
        mine = (handovers.c.command_id == command_id) & (handovers.c.state == "sending")
        with writing(self._engine) as connection:
            if connection.execute(update(handovers).where(mine).values(next_try_wall_ms=_ms(at))).rowcount:
                _say(connection, command_id, waiting)

    def confirmed(self, command_id: str, now: float, waiting: str) -> bool:
        """The orchestrator has it. False: a result was there before that."""
        mine = (handovers.c.command_id == command_id) & (handovers.c.state == "sending")
        deadline = _ms(now) + handovers.c.timeout_ms
        with writing(self._engine) as connection:
            statement = update(handovers).where(mine).values(state="waiting", deadline_wall_ms=deadline)
            if connection.execute(statement).rowcount != 1:
                return False
            _say(connection, command_id, waiting)
            return True

    def end(self, command_id: str, result: str, *, only: HandoverState | None = None) -> Taken:
        """The result, as JSON that is the same for the same result. The first one counts, and sends the command out
        again. ``only``: unless it is in another state by now. If the run has ended otherwise, or is not there, the
        handover ends without a result."""
        mine = handovers.c.command_id == command_id
        with referring(self._engine) as connection:
            row = connection.execute(select(handovers).where(mine).with_for_update()).first()
            if row is None:
                return "unknown"
            if row.state == "ended":
                return "same" if row.result == result else "ended"
            if only is not None and row.state != only:
                return "ended"
            run = connection.execute(select(runs).where(runs.c.command_id == command_id)).first()
            if run is None or run.outcome is not None:
                # Else it would be found overdue again and again.
                connection.execute(update(handovers).where(mine).values(state="ended"))
                return "unknown" if run is None else "ended"
            connection.execute(update(handovers).where(mine).values(state="ended", result=storable(result)))
            _say(connection, command_id, None)
            add(
                connection,
                event_key=f"handover/{command_id}",
                topic=RETRAIN_COMMANDS,
                key=run.model_id,
                value=bytes(run.command),
            )
            return "taken"

    def came_late(self, command_id: str, what: str) -> bool:
        """Keep what came after the end. False: something had come before that, which stays."""
        mine = (handovers.c.command_id == command_id) & handovers.c.late.is_(None)
        with writing(self._engine) as connection:
            statement = update(handovers).where(mine).values(late=storable(what[:_LONGEST_LATE]))
            return connection.execute(statement).rowcount == 1


def _say(connection: Connection, command_id: str, waiting: str | None) -> None:
    text = None if waiting is None else storable(waiting)
    connection.execute(update(runs).where(runs.c.command_id == command_id).values(waiting=text))


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _handover(row: Row[Any]) -> Handover:
    return Handover(
        command_id=row.command_id,
        state=row.state,
        request=row.request,
        body=bytes(row.body),
        tries=row.tries,
        next_try=row.next_try_wall_ms / 1000,
        give_up=row.give_up_wall_ms / 1000,
        timeout_ms=row.timeout_ms,
        deadline=None if row.deadline_wall_ms is None else row.deadline_wall_ms / 1000,
        result=row.result,
        late=row.late,
    )
