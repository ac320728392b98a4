"""Writes what a training tells into the database. A database that is away loses lines, never a training."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from driftloop.observability.logs import get_logger
from driftloop.registry.database import what_it_said
from driftloop.registry.run_log import KEPT_LINES, MOST_PHASES, RunEntry
from driftloop.registry.runs import RunStore

__all__ = ["RunRecorder"]

log = get_logger(__name__)

#: Lines wait this long for others, so that a chatty library costs few transactions.
_WRITE_EVERY_S = 0.5
#: So many entries at most wait; beyond it the oldest are dropped, and their number said.
_WAITING = 500
_TRIM_EVERY = 200


class RunRecorder:
    """A :class:`~driftloop.training.progress.Listener` for one attempt at one command."""

    def __init__(
        self, runs: RunStore, command_id: str, attempt: int, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._runs = runs
        self._command_id = command_id
        self._attempt = attempt
        self._clock = clock
        self._waiting: list[RunEntry] = []
        self._written_at = 0.0
        self._phases = 0
        self._lines = 0
        self._trimmed = 0
        self._lost = 0
        self._away = False

    def phase(self, text: str) -> None:
        """Written at once: whoever follows sees it begin."""
        self._phases += 1
        if self._phases <= MOST_PHASES:
            self._waiting.append(RunEntry(attempt=self._attempt, kind="phase", at=self._clock(), text=text))
        self.flush()

    def line(self, text: str) -> None:
        """Written within half a second, if anything else is told by then."""
        self._waiting.append(RunEntry(attempt=self._attempt, kind="line", at=self._clock(), text=text))
        self._lines += 1
        waited = self._clock() - self._written_at >= _WRITE_EVERY_S
        if waited or (len(self._waiting) >= _WAITING and not self._away):
            self.flush()
        if len(self._waiting) > _WAITING:
            self._lost += len(self._waiting) - _WAITING
            self._waiting = self._waiting[-_WAITING:]

    def kept(self, role: str, uri: str) -> None:
        """Not left to chance: without this the file could be taken for garbage."""
        self._runs.keep_file(self._command_id, role, uri)

    def flush(self) -> None:
        """Write what waits."""
        self._written_at = self._clock()
        entries = self._waiting
        if self._lost:
            said = f"({self._lost:,} lines left out: the database did not answer)"
            entries = [RunEntry(attempt=self._attempt, kind="line", at=self._clock(), text=said), *entries]
        try:
            self._runs.log.add(self._command_id, entries)
            if self._lines - self._trimmed >= _TRIM_EVERY and self._lines > KEPT_LINES:
                self._runs.log.trim(self._command_id)
                self._trimmed = self._lines
        except SQLAlchemyError as error:
            self._away = True
            log.warning("the progress of a run was not written", command_id=self._command_id, error=what_it_said(error))
            return
        self._waiting = []
        self._lost = 0
        self._away = False

    def close(self) -> None:
        """Write what waits, for good."""
        self.flush()
        if self._lines > KEPT_LINES:
            try:
                self._runs.log.trim(self._command_id)
            except SQLAlchemyError as error:
                log.warning("the log of a run is longer than it should be", error=what_it_said(error))
