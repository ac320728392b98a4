"""What an assessor process shows of the models it owns: reports, alerts, commands, versions, aliases."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from driftloop.events.decisions import ModelEvent
from driftloop.events.decoding import UNDECODABLE
from driftloop.kafka.config import client_config
from driftloop.kafka.log_reader import LogReadError
from driftloop.kafka.tail_reader import TailReader
from driftloop.observability.metrics import Metrics
from driftloop.registry import AssessmentStore, Committed, Registry
from driftloop.registry.database import what_it_said
from driftloop.registry.open_commands import OpenCommand
from driftloop.settings import Settings

__all__ = ["ModelsView"]

log = structlog.get_logger(__name__)
_COMMANDS_EVERY_S = 5.0
_decode = msgspec.json.Decoder(ModelEvent).decode


class ModelsView:
    """Keeps metrics in step with the database and the model events, for the models that this process owns alone, so
    that sums over processes are right."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        store: AssessmentStore,
        metrics: Metrics,
        open_commands: Callable[[Collection[str]], Iterable[OpenCommand]] = lambda models: (),
    ) -> None:
        self._registry = registry
        self._store = store
        self._metrics = metrics
        self._settings = settings
        self._open_commands = open_commands
        self._commands_due_s = 0.0
        self._tail: TailReader | None = None
        self._models: set[str] = set()
        self._seen: dict[str, None] = {}
        self._lock = threading.Lock()

    def take_over(self, models: Iterable[str]) -> None:
        """Show the present state of models that are new here."""
        with self._lock:
            for model_id in set(models) - self._models:
                self._models.add(model_id)
                self._metrics.set_open_alerts(model_id, self._store.open_alerts(model_id))
                self._show_aliases(model_id)

    def keep(self, models: Iterable[str]) -> None:
        """Only these models are still owned."""
        with self._lock:
            for model_id in self._models - set(models):
                self._models.discard(model_id)
                self._metrics.forget_model(model_id)

    def show(self, committed: Committed) -> None:
        """What one commit brought."""
        for report in committed.reports:
            self._metrics.observe_report(report)
        for alert in committed.alerts:
            self._metrics.observe_alert(alert)
        for command in committed.commands:
            self._metrics.observe_command(command)

    def refresh(self) -> None:
        """Take in model events that have come since. Without a broker nothing is new, which the next call mends."""
        with self._lock:
            self._show_commands()
            if self._tail is None and not self._follow():
                return
            assert self._tail is not None
            for record in self._tail.poll(0.0):
                if record.value is None:
                    continue
                try:
                    event = _decode(record.value)
                except UNDECODABLE as error:
                    log.warning(
                        "unreadable model event", partition=record.partition, offset=record.offset, error=str(error)
                    )
                    continue
                if event.model_id in self._models and event.event_id not in self._seen:
                    self._seen[event.event_id] = None
                    if len(self._seen) > 10_000:
                        del self._seen[next(iter(self._seen))]
                    self._metrics.observe_model_event(event)
                    self._show_aliases(event.model_id)

    def _show_commands(self) -> None:
        """From the database, since other processes work on them; it may be away for a while."""
        if time.monotonic() < self._commands_due_s:
            return
        self._commands_due_s = time.monotonic() + _COMMANDS_EVERY_S
        try:
            found = list(self._open_commands(self._models))
        except SQLAlchemyError as error:
            log.warning("open retrain commands cannot be told, trying again", reason=what_it_said(error))
            return
        for model_id in self._models:
            mine = [command for command in found if command.model_id == model_id]
            self._metrics.set_open_commands(model_id, [command.command_id for command in mine])
            limits = [command.limit for command in mine if command.limit is not None]
            idle = sum(command.state == "idle" for command in mine)
            self._metrics.show_work(model_id, idle, min(limits, default=None))

    def _follow(self) -> bool:
        try:
            self._tail = TailReader(client_config(self._settings), [self._settings.topics.model_events], "end")
        except LogReadError as error:
            log.warning("model events cannot be followed yet, trying again", reason=str(error))
            return False
        # What happened before is not read: the registry has it.
        for model_id in self._models:
            self._show_aliases(model_id)
        return True

    def _show_aliases(self, model_id: str) -> None:
        champion, challenger = self._registry.champion(model_id), self._registry.challenger(model_id)
        self._metrics.set_aliases(
            model_id,
            champion=champion.version if champion else None,
            challenger=challenger.version if challenger else None,
        )
