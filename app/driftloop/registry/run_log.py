"""What training runs say while they go on: phases and lines, in the database, so that anyone can follow from anywhere.

Bounded: of each run the last :data:`KEPT_PHASES` phases (at most :data:`MOST_PHASES` an attempt) and the last
:data:`KEPT_LINES` lines, each cut at :data:`LONGEST` characters; of each model the lines of its last
:data:`RUNS_WITH_LINES` runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Engine, Row, delete, insert, select, update

from driftloop.registry.database import reading, storable, writing
from driftloop.registry.tables import handovers, run_log, runs

__all__ = ["KEPT_LINES", "LONGEST", "MOST_PHASES", "RUNS_WITH_LINES", "RunEntry", "RunLog"]

KEPT_LINES = 1_000
LONGEST = 1_000
MOST_PHASES = 500
#: Attempts that an outage broke off are not counted, so that there may be any number of them.
KEPT_PHASES = 2_500
RUNS_WITH_LINES = 50

EntryKind = Literal["phase", "line"]


@dataclass(frozen=True, kw_only=True)
class RunEntry:
    """A phase that began, or a line of the log. ``at``: wall time in seconds since 1970. ``number`` grows within a run;
    0: not written yet."""

    attempt: int
    kind: EntryKind
    at: float
    text: str
    number: int = 0


class RunLog:
    """The entries of all runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, command_id: str, entries: Sequence[RunEntry]) -> None:
        """Append entries to a run, in this order."""
        if not entries:
            return
        rows = [
            {
                "command_id": command_id,
                "attempt": entry.attempt,
                "kind": entry.kind,
                "at_wall_ms": round(entry.at * 1000),
                "text": storable(entry.text[:LONGEST]),
            }
            for entry in entries
        ]
        with writing(self._engine) as connection:
            connection.execute(insert(run_log), rows)

    def trim(self, command_id: str) -> None:
        """Keep the last :data:`KEPT_LINES` lines and :data:`KEPT_PHASES` phases of the run."""
        with writing(self._engine) as connection:
            for kind, kept in (("line", KEPT_LINES), ("phase", KEPT_PHASES)):
                these = (run_log.c.command_id == command_id) & (run_log.c.kind == kind)
                statement = select(run_log.c.id).where(these).order_by(run_log.c.id.desc()).offset(kept).limit(1)
                last_to_go = connection.execute(statement).scalar()
                if last_to_go is not None:
                    connection.execute(delete(run_log).where(these, run_log.c.id <= last_to_go))

    def forget(self, model_id: str) -> None:
        """Drop the lines of the model's finished runs before its last :data:`RUNS_WITH_LINES`, and let go of files that
        only failed ones among them name, also those of their handovers: a version has its own in its lineage."""
        newest = runs.c.started_wall_ms.desc(), runs.c.command_id
        with writing(self._engine) as connection:
            statement = (
                select(runs.c.command_id)
                .where(runs.c.model_id == model_id, runs.c.outcome.is_not(None))
                .order_by(*newest)
                .offset(RUNS_WITH_LINES)
            )
            # Those before have been forgotten already: there are few with anything left.
            old = list(connection.execute(statement.limit(RUNS_WITH_LINES)).scalars())
            if old:
                lines = run_log.c.command_id.in_(old), run_log.c.kind == "line"
                connection.execute(delete(run_log).where(*lines))
                connection.execute(delete(handovers).where(handovers.c.command_id.in_(old)))
                failed = runs.c.command_id.in_(old), runs.c.outcome == "failed"
                connection.execute(update(runs).where(*failed).values(files=None))

    def entries(self, command_id: str, after: int = 0, limit: int = 5_000) -> list[RunEntry]:
        """The run's entries after the one with the number ``after``, in order."""
        statement = (
            select(run_log)
            .where(run_log.c.command_id == command_id, run_log.c.id > after)
            .order_by(run_log.c.id)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [_entry(row) for row in connection.execute(statement)]

    def last_phases(self, command_ids: Sequence[str]) -> dict[str, RunEntry]:
        """The phase that each of these runs is in, or ended in."""
        if not command_ids:
            return {}
        statement = (
            select(run_log)
            .where(run_log.c.command_id.in_(command_ids), run_log.c.kind == "phase")
            .order_by(run_log.c.id)
        )
        with reading(self._engine) as connection:
            return {row.command_id: _entry(row) for row in connection.execute(statement)}


def _entry(row: Row[Any]) -> RunEntry:
    return RunEntry(attempt=row.attempt, kind=row.kind, at=row.at_wall_ms / 1000, text=row.text, number=row.id)
