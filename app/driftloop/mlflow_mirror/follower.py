"""Tells an MLflow server what the registry's history says, row by row, and keeps how far it has come.

The history (``alias_history``) has every registration, promotion, rollback and rejection in the order in which they
were committed, and nothing is ever removed from it: so an MLflow that was away, or that is set up years later, is told
everything. A position moves after MLflow has taken a row: delivery is at least once, and each call can be repeated
(:mod:`.server`). A row that MLflow refuses holds up its model only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from driftloop.mlflow_mirror.positions import Positions
from driftloop.mlflow_mirror.server import MlflowServer
from driftloop.mlflow_mirror.silence import Silence, silence_of
from driftloop.observability.logs import get_logger
from driftloop.registry.database import what_it_said
from driftloop.registry.lease import Lease
from driftloop.registry.models import Registry
from driftloop.registry.rows import HistoryRow, VersionRow
from driftloop.settings import Settings

__all__ = ["Follower", "Told", "follower_of", "following"]

log = get_logger(__name__)

_EVERY_S = 2.0
_LONGEST_PAUSE_S = 300.0
#: One row takes a dozen requests; the lease is renewed before each.
_LEASE_S = 600.0
_STATUS = {
    "registered": "registered",
    "shadow_started": "watched",
    "canary_started": "watched",
    "awaiting_approval": "awaiting_approval",
    "promoted": "promoted",
    "rolled_back": "promoted",
    "rejected": "rejected",
}


@dataclass
class Told:
    """What one pass did: rows told, and what MLflow said where it could not go on, by model.

    ``away``: it cannot be reached, in a sentence, which is then also the problem of every model that is left.
    ``elsewhere``: another process is at it.
    """

    rows: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    away: str | None = None
    elsewhere: bool = False


class Follower:
    """``stopping()`` ends a pass between two rows."""

    def __init__(
        self,
        registry: Registry,
        server: MlflowServer,
        positions: Positions,
        lease: Lease,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._registry = registry
        self._server = server
        self._positions = positions
        self._lease = lease
        self._stopping = stopping

    def follow(self) -> Told:
        """Tell MLflow what it has not been told yet. What it refuses, or cannot be reached for, is in the result."""
        told = Told()
        behind = self._positions.behind()
        if not behind:
            return told
        if not self._lease.take():
            told.elsewhere = True
            return told
        try:
            for model_id in behind:
                if told.away is None:
                    self._follow_model(model_id, told)
                else:  # each try would take as long as this one did
                    told.problems[model_id] = told.away
        finally:
            self._lease.give_back()
        return told

    def _follow_model(self, model_id: str, told: Told) -> None:
        while rows := self._positions.next_rows(model_id):
            for row in rows:
                if self._stopping() or not self._lease.take():
                    return
                try:
                    self._tell(model_id, row)
                except (self._server.error, OSError) as error:
                    silence = silence_of(error)
                    told.problems[model_id] = _one_line(error) if silence is None else self._sentence(silence)
                    if silence is not None and silence.unreachable:
                        told.away = told.problems[model_id]
                    return
                self._positions.set(model_id, row.sequence)
                told.rows += 1

    def _sentence(self, silence: Silence) -> str:
        return (
            f"the MLflow server {self._server.uri} does not answer ({silence.why}): check that it runs and that "
            "DRIFTLOOP_MLFLOW_TRACKING_URI names it"
        )

    def _tell(self, model_id: str, row: HistoryRow) -> None:
        if row.action not in _STATUS or row.subject is None:
            return  # a command that led to no version; an approval, which its promotion follows
        subject = self._known(model_id, row.subject)
        number = self._server.register(subject) if row.action == "registered" else self._server.number_of(subject)
        tags = {"driftloop.status": _STATUS[row.action], "driftloop.actor": row.actor, "driftloop.reason": row.reason}
        self._server.tag(subject, number, {**tags, "driftloop.history_sha256": row.row_sha256})
        if row.action == "rolled_back" and row.previous_version is not None:
            before = self._known(model_id, row.previous_version)
            self._server.tag(before, self._server.number_of(before), {"driftloop.status": "rolled_back"})
        named = None if row.version is None else self._known(model_id, row.version)
        self._server.alias(model_id, row.alias, None if named is None else self._server.number_of(named))

    def _known(self, model_id: str, version: str) -> VersionRow:
        found = self._registry.version(model_id, version)
        assert found is not None, f"the history names {version} of {model_id}, which is not registered"
        return found


def follower_of(settings: Settings, registry: Registry, stopping: Callable[[], bool] = lambda: False) -> Follower:
    """The follower of the server that the settings name. Raises :class:`RegistryError` if MLflow is not installed."""
    assert settings.mlflow_tracking_uri is not None
    server = MlflowServer(
        settings.mlflow_tracking_uri,
        experiment=settings.mlflow_experiment,
        model=settings.mlflow_model,
        store=registry.store,
    )
    return Follower(
        registry, server, positions_of(settings, registry), Lease(registry.engine, "mlflow", _LEASE_S), stopping
    )


def positions_of(settings: Settings, registry: Registry) -> Positions:
    """How far the server that the settings name is."""
    parts = (settings.mlflow_tracking_uri or "", settings.mlflow_experiment, settings.mlflow_model)
    return Positions(registry.engine, "\n".join(parts))


@contextmanager
def following(settings: Settings, registry: Registry) -> Iterator[None]:
    """Follow in a thread of its own, if the settings name a server. A server that is away is asked again after a while,
    at most five minutes; nobody waits for it."""
    if settings.mlflow_tracking_uri is None:
        yield
        return
    stopping = threading.Event()
    follower = follower_of(settings, registry, stopping.is_set)
    thread = threading.Thread(target=_go_on, args=(follower, stopping), name="mlflow", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        # A request that goes on ends with the process: it is told again.
        thread.join(2.0)


def _go_on(follower: Follower, stopping: threading.Event) -> None:
    pause_s = _EVERY_S
    while not stopping.wait(pause_s):
        try:
            problems = follower.follow().problems
        except SQLAlchemyError as error:
            problems = {"": f"the database did not answer: {what_it_said(error)}"}
        except Exception as error:  # the trainer's work must not end with its mirror
            problems = {"": f"{type(error).__name__}: {error}"}
            log.error("MLflow cannot be told", exc_info=error)
        if problems:
            pause_s = min(max(pause_s * 2, 5.0), _LONGEST_PAUSE_S)
            log.warning("MLflow is behind and will be told later", models=problems, again_in_s=pause_s)
        else:
            pause_s = _EVERY_S


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]
