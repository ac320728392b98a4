"""What assessors found: reports, alerts, decisions, commands and detector state, written in one transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Table, delete, func, insert, select, update

from driftloop.events.decisions import PolicyDecision, RetrainCommand
from driftloop.events.messages import Alert
from driftloop.events.reports import WindowReport
from driftloop.registry import outbox
from driftloop.registry.database import in_chunks, insert_new, reading, storable, writing
from driftloop.registry.errors import StaleStateError
from driftloop.registry.tables import (
    alert_events,
    commands,
    model_states,
    partition_progress,
    policy_decisions,
    window_reports,
)

__all__ = ["AssessmentStore", "Committed"]

_decode_report = msgspec.json.Decoder(WindowReport).decode
_decode_alert = msgspec.json.Decoder(Alert).decode
_decode_decision = msgspec.json.Decoder(PolicyDecision).decode
_decode_command = msgspec.json.Decoder(RetrainCommand).decode


@dataclass(frozen=True)
class Committed:
    """What was new to the database in one commit; the rest had been written before."""

    reports: list[WindowReport] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    decisions: list[PolicyDecision] = field(default_factory=list)
    commands: list[RetrainCommand] = field(default_factory=list)


class AssessmentStore:
    """Reports, alerts, decisions, commands and state of models.

    An instance remembers which revision of a model's state it loaded or wrote, and a commit that would overwrite a
    newer one raises :class:`StaleStateError`: after a rebalance the former owner of a model cannot undo what the new
    one wrote.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._revisions: dict[str, int] = {}

    def load_state(self, model_id: str) -> bytes | None:
        """The model's state as committed last, or None. From here on this instance may commit the model's state."""
        statement = select(model_states.c.state, model_states.c.revision).where(model_states.c.model_id == model_id)
        with reading(self._engine) as connection:
            row = connection.execute(statement).first()
        self._revisions[model_id] = 0 if row is None else row.revision
        return None if row is None else bytes(row.state)

    def restart_offset(self, partition: int) -> int | None:
        """From which offset of window-partials the partition's open windows can be rebuilt; None if never committed."""
        statement = select(partition_progress.c.restart_offset).where(partition_progress.c.partition == partition)
        with reading(self._engine) as connection:
            offset = connection.execute(statement).scalar()
        return None if offset is None else int(offset)

    def reported(self, report_ids: Iterable[str]) -> set[str]:
        """Those of the reports that are final (or restated since)."""
        found: set[str] = set()
        with reading(self._engine) as connection:
            for chunk in in_chunks(sorted(set(report_ids))):
                statement = select(window_reports.c.report_id).where(
                    window_reports.c.report_id.in_(chunk), window_reports.c.status != "provisional"
                )
                found.update(connection.execute(statement).scalars())
        return found

    def commit(
        self,
        *,
        partition: int | None = None,
        restart_offset: int | None = None,
        states: Mapping[str, bytes] | None = None,
        reports: Sequence[tuple[WindowReport, bytes]] = (),
        alerts: Sequence[Alert] = (),
        decisions: Sequence[PolicyDecision] = (),
        commands: Sequence[RetrainCommand] = (),
    ) -> Committed:
        """Write everything in one transaction, and the outbox rows of what is new. Returns what was new.

        ``reports`` come with their encoded statistics. A provisional report takes the place of the provisional one
        before it, and is dropped if the window is final; a final one removes it; a restated one is kept beside it.
        Raises :class:`StaleStateError` and writes nothing if a model's state has a newer revision than was loaded here.
        """
        states = states or {}
        with writing(self._engine) as connection:
            revisions = {model_id: self._write_state(connection, model_id, state) for model_id, state in states.items()}
            if partition is not None and restart_offset is not None:
                _write_offset(connection, partition, restart_offset)
            committed = Committed(
                [report for report, stats in reports if _write_report(connection, report, stats)],
                [alert for alert in alerts if _write_alert(connection, alert)],
                [decision for decision in decisions if _write_decision(connection, decision)],
                [command for command in commands if _write_command(connection, command)],
            )
        self._revisions.update(revisions)
        return committed

    def _write_state(self, connection: Connection, model_id: str, state: bytes) -> int:
        revision = self._revisions.get(model_id, 0)
        if revision == 0:
            first = {"model_id": model_id, "revision": 1, "state": state}
            written = insert_new(connection, model_states, first)
        else:
            mine = (model_states.c.model_id == model_id) & (model_states.c.revision == revision)
            statement = update(model_states).where(mine).values(revision=revision + 1, state=state)
            written = connection.execute(statement).rowcount == 1
        if not written:
            raise StaleStateError(
                f"the state of the model {model_id!r} was written by another process since it was loaded here; this "
                "process no longer owns the model, or must load the state again"
            )
        return revision + 1

    def reports(
        self,
        model_id: str | None = None,
        *,
        kind: str | None = None,
        version: str | None = None,
        segment: str | None = None,
        from_ms: int | None = None,
        to_ms: int | None = None,
        provisional: bool = False,
        limit: int | None = 100,
    ) -> list[WindowReport]:
        """Reports, the latest window first; of several of one window the one written last. Windows that end in
        (from_ms, to_ms]. ``limit`` None: all."""
        conditions = [] if provisional else [window_reports.c.status != "provisional"]
        wanted = {"model_id": model_id, "kind": kind, "model_version": version, "segment": segment}
        wanted = {name: None if value is None else storable(value) for name, value in wanted.items()}
        conditions += [window_reports.c[name] == value for name, value in wanted.items() if value is not None]
        if from_ms is not None:
            conditions.append(window_reports.c.window_end_ms > from_ms)
        if to_ms is not None:
            conditions.append(window_reports.c.window_end_ms <= to_ms)
        latest = select(func.max(window_reports.c.id)).where(*conditions).group_by(window_reports.c.report_id)
        statement = (
            select(window_reports.c.body)
            .where(window_reports.c.id.in_(latest))
            .order_by(window_reports.c.window_end_ms.desc(), window_reports.c.model_id, window_reports.c.id.desc())
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [_decode_report(body) for body in connection.execute(statement).scalars()]

    def open_reports(self, model_id: str | None = None) -> list[WindowReport]:
        """Provisional reports of windows that are still open, the latest window first."""
        statement = select(window_reports.c.body).where(window_reports.c.status == "provisional")
        if model_id is not None:
            statement = statement.where(window_reports.c.model_id == model_id)
        ordered = statement.order_by(window_reports.c.window_end_ms.desc(), window_reports.c.report_id)
        with reading(self._engine) as connection:
            return [_decode_report(body) for body in connection.execute(ordered).scalars()]

    def report(self, report_id: str) -> list[WindowReport]:
        """Everything written about one window, oldest first: final report and restatements, or a provisional one."""
        statement = (
            select(window_reports.c.body).where(window_reports.c.report_id == report_id).order_by(window_reports.c.id)
        )
        with reading(self._engine) as connection:
            return [_decode_report(body) for body in connection.execute(statement).scalars()]

    def final_report(self, report_id: str) -> tuple[WindowReport, bytes] | None:
        """The final report of one window with its encoded statistics; None if it is not final yet."""
        statement = select(window_reports.c.body, window_reports.c.stats).where(
            window_reports.c.report_id == report_id, window_reports.c.status == "final"
        )
        with reading(self._engine) as connection:
            row = connection.execute(statement).first()
        return None if row is None else (_decode_report(row.body), bytes(row.stats))

    def final_stats(
        self, model_id: str, version: str, kind: str, segment: str, *, before_ms: int, limit: int
    ) -> list[bytes]:
        """Encoded statistics of the last ``limit`` final windows that end at ``before_ms`` or earlier, oldest first."""
        statement = (
            select(window_reports.c.stats)
            .where(
                window_reports.c.model_id == model_id,
                window_reports.c.model_version == storable(version),
                window_reports.c.kind == kind,
                window_reports.c.segment == storable(segment),
                window_reports.c.status == "final",
                window_reports.c.window_end_ms <= before_ms,
            )
            .order_by(window_reports.c.window_end_ms.desc(), window_reports.c.id.desc())
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [bytes(stats) for stats in connection.execute(statement).scalars()][::-1]

    def alert_log(self, model_id: str | None = None, limit: int = 100) -> list[Alert]:
        """Changes of alerts, newest first."""
        return [_decode_alert(body) for body in self._bodies(alert_events, model_id, limit)]

    def open_alerts(self, model_id: str | None = None) -> list[Alert]:
        """The last event of each alert that is not resolved, oldest first."""
        latest = select(func.max(alert_events.c.id)).group_by(alert_events.c.alert_id)
        statement = select(alert_events.c.body).where(alert_events.c.id.in_(latest), alert_events.c.state != "resolved")
        if model_id is not None:
            statement = statement.where(alert_events.c.model_id == model_id)
        with reading(self._engine) as connection:
            return [_decode_alert(body) for body in connection.execute(statement.order_by(alert_events.c.id)).scalars()]

    def decisions(
        self,
        model_id: str | None = None,
        limit: int | None = 100,
        *,
        from_ms: int | None = None,
        to_ms: int | None = None,
    ) -> list[PolicyDecision]:
        """What the policy said, and what people asked for, newest first; of windows that end in (from_ms, to_ms].
        ``limit`` None: all."""
        bodies = self._bodies(policy_decisions, model_id, limit, from_ms, to_ms)
        return [_decode_decision(body) for body in bodies]

    def commands(self, model_id: str | None = None, limit: int = 100) -> list[RetrainCommand]:
        """Retrain commands, newest first."""
        return [_decode_command(body) for body in self._bodies(commands, model_id, limit)]

    def _bodies(
        self,
        table: Any,
        model_id: str | None,
        limit: int | None,
        from_ms: int | None = None,
        to_ms: int | None = None,
    ) -> list[bytes]:
        statement = select(table.c.body).order_by(table.c.id.desc()).limit(limit)
        if model_id is not None:
            statement = statement.where(table.c.model_id == model_id)
        if from_ms is not None:
            statement = statement.where(table.c.window_end_ms > from_ms)
        if to_ms is not None:
            statement = statement.where(table.c.window_end_ms <= to_ms)
        with reading(self._engine) as connection:
            return [bytes(body) for body in connection.execute(statement).scalars()]


def _write_offset(connection: Connection, partition: int, restart_offset: int) -> None:
    statement = update(partition_progress).where(partition_progress.c.partition == partition)
    if connection.execute(statement.values(restart_offset=restart_offset)).rowcount == 0:
        connection.execute(insert(partition_progress).values(partition=partition, restart_offset=restart_offset))


def _write_report(connection: Connection, report: WindowReport, stats: bytes) -> bool:
    same = window_reports.c.report_id == report.report_id
    if report.status == "provisional":
        final = select(window_reports.c.id).where(same, window_reports.c.status != "provisional")
        if connection.execute(final.limit(1)).first() is not None:
            return False
        unchanged = select(window_reports.c.id).where(same, window_reports.c.content_digest == report.content_digest)
        if connection.execute(unchanged).first() is not None:
            return False
    connection.execute(delete(window_reports).where(same, window_reports.c.status == "provisional"))
    body = msgspec.json.encode(report)
    row = {
        "report_id": report.report_id,
        "status": report.status,
        "content_digest": report.content_digest,
        "model_id": report.model_id,
        "model_version": storable(report.model_version),
        "kind": report.kind,
        "segment": storable(report.segment),
        "window_start_ms": report.window_start_ms,
        "window_end_ms": report.window_end_ms,
        "decision": report.decision,
        "body": body,
        "stats": stats,
    }
    if not insert_new(connection, window_reports, row):
        return False
    if report.status == "provisional":  # shown here, and in no log: what follows it would be said of the final one
        return True
    key = f"report:{report.report_id}:{report.status}:{report.content_digest}"
    outbox.add(connection, event_key=key, topic=outbox.WINDOW_REPORTS, key=report.model_id, value=body)
    return True


def _write_alert(connection: Connection, alert: Alert) -> bool:
    body = msgspec.json.encode(alert)
    row = {
        "event_id": alert.event_id,
        "alert_id": alert.alert_id,
        "model_id": alert.model_id,
        "state": alert.state,
        "window_end_ms": alert.window_end_ms,
        "body": body,
    }
    return _insert_and_send(connection, alert_events, row, outbox.ALERTS, f"alert:{alert.event_id}")


def _write_decision(connection: Connection, decision: PolicyDecision) -> bool:
    body = msgspec.json.encode(decision)
    row = {
        "model_id": decision.model_id,
        "window_end_ms": decision.window_end_ms,
        "trigger": decision.trigger,
        "body": body,
        "body_sha256": hashlib.sha256(body).hexdigest(),
    }
    key = f"decision:{decision.model_id}:{decision.window_end_ms}:{decision.trigger}:{row['body_sha256']}"
    return _insert_and_send(connection, policy_decisions, row, outbox.POLICY_DECISIONS, key)


def _write_command(connection: Connection, command: RetrainCommand) -> bool:
    body = msgspec.json.encode(command)
    row = {
        "command_id": command.command_id,
        "model_id": command.model_id,
        "window_end_ms": command.window_end_ms,
        "body": body,
    }
    return _insert_and_send(connection, commands, row, outbox.RETRAIN_COMMANDS, f"command:{command.command_id}")


def _insert_and_send(connection: Connection, table: Table, row: Mapping[str, Any], topic: str, event_key: str) -> bool:
    """Insert a row unless it is there already, with its body as an event of its model. True if it was inserted."""
    if not insert_new(connection, table, row):
        return False
    outbox.add(connection, event_key=event_key, topic=topic, key=row["model_id"], value=row["body"])
    return True
