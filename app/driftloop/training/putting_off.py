"""Puts a command off whose files are in trouble, ends it after too many tries, and waits out everybody's trouble."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from driftloop.events.decisions import RetrainCommand
from driftloop.events.time import format_time
from driftloop.observability.logs import get_logger
from driftloop.registry.runs import Run, RunStore
from driftloop.training.child import TrainingCancelled
from driftloop.training.file_trouble import SharedFiles, Tries, told
from driftloop.training.run_recorder import RunRecorder

__all__ = ["PuttingOff", "is_put_off"]

log = get_logger(__name__)

#: While nothing can be trained, it is looked so often whether it can again: at first, and at last.
_FIRST_LOOK_S, _LAST_LOOK_S = 1.0, 60.0


def is_put_off(run: Run) -> bool:
    """Whether it is in the database's hands: it is taken from there when it is due."""
    return run.next_try is not None and run.next_try > time.time()


class PuttingOff:
    """For one trainer, in its training thread. ``blocked`` is told when nothing can be trained, and when it can again.

    How often a command was tried and when it is due is in its run, so a restart goes on counting, and another trainer
    may take it.
    """

    def __init__(
        self,
        runs: RunStore,
        files: SharedFiles,
        tries: Tries,
        stopping: threading.Event,
        blocked: Callable[[bool], None] = lambda blocked: None,
    ) -> None:
        self._runs = runs
        self._files = files
        self._tries = tries
        self._stopping = stopping
        self._blocked = blocked
        self._pause_s, self._ended_s = _FIRST_LOOK_S, -math.inf
        #: For readiness: why nothing can be trained at present; None: something can.
        self.trouble: str | None = None

    def put_off(self, command: RetrainCommand, owner: str, error: OSError, recorder: RunRecorder) -> str | None:
        """Let the command be tried again later. Returns why it must end as failed instead, if it was tried often
        enough; None: it is put off.

        If it is everybody's trouble, no try is used up, and this returns when it has passed: until then any command
        would meet it. Raises :class:`~driftloop.training.child.TrainingCancelled` if the trainer is to end meanwhile.
        """
        run = self._runs.get(command.command_id)
        failed = 0 if run is None else run.tries
        shared = self._files.everybodys(error)
        if shared is not None:
            pause_s = self._shared_pause_s()
            said = f"no command can be carried out: {shared}"
        else:
            failed += 1
            if failed >= self._tries.most:
                return f"its files could not be read or written in {failed} tries, the last time: {told(error)}"
            pause_s = self._tries.pause_s(failed)
            at = format_time(round((time.time() + pause_s) * 1000))
            said = f"try {failed} of {self._tries.most} failed, the next is at {at}: {told(error)}"
        recorder.line(said)
        recorder.close()
        self._runs.put_off(command.command_id, owner, time.time() + pause_s, said, tries=failed)
        with contextlib.suppress(SQLAlchemyError):  # there may be any number of such attempts
            self._runs.log.trim(command.command_id)
        log.warning("a command is put off", model=command.model_id, command_id=command.command_id, reason=said)
        if shared is not None:
            self._wait(shared, pause_s)
        return None

    def _shared_pause_s(self) -> float:
        """Longer each time that everybody's trouble is met again soon, though a small file could be written."""
        since_s = time.monotonic() - self._ended_s
        self._pause_s = min(_LAST_LOOK_S, 2.0 * self._pause_s) if since_s < 2.0 * self._pause_s else _FIRST_LOOK_S
        return self._pause_s

    def _wait(self, trouble: str, pause_s: float) -> None:
        self.trouble = trouble
        self._blocked(True)
        log.error("nothing can be trained, and no run is failed for it", reason=trouble)
        while not self._stopping.wait(pause_s):
            found = self._files.problem()
            if found is None:
                self._ended_s = time.monotonic()
                log.info("trainings can go on", was=self.trouble)
                self.trouble = None
                self._blocked(False)
                return
            if found != self.trouble:
                log.error("nothing can be trained yet", reason=found)
            self.trouble = found
            pause_s = min(_LAST_LOOK_S, 2.0 * pause_s)
        raise TrainingCancelled
