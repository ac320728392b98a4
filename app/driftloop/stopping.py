"""How a process ends that was asked to: by itself if it can, within a grace if not, and at once when asked again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

import structlog

__all__ = ["EXIT_ASKED_AGAIN", "EXIT_OVERDUE", "GRACE_S", "StopSignals"]

log = structlog.get_logger(__name__)

#: From the request to the end of the process at the latest; supervisors wait for 30 s as a rule.
GRACE_S = 20.0
EXIT_OVERDUE = 1
EXIT_ASKED_AGAIN = 70
#: One request to end may arrive twice at once: ``timeout`` and many supervisors signal the process and its group.
_SAME_REQUEST_S = 1.0
_NUMBERS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Takes SIGTERM and SIGINT while it is entered, which must be in the main thread.

    The first one calls ``asked``, and ``grace_s`` later the process ends whatever it is doing (exit code 1). Another
    one, a second or more after the first, ends it at once (exit code 70). Both work while the main thread is in a call
    that takes long, as Python's own handlers do not: the signals are read in a thread of their own, where ``asked`` is
    called too.
    """

    def __init__(
        self,
        asked: Callable[[], object],
        *,
        grace_s: float = GRACE_S,
        end: Callable[[int], object] = os._exit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._asked = asked
        self._grace_s = grace_s
        self._end = end
        self._clock = clock
        self._asked_s: float | None = None
        self._watchdog: threading.Timer | None = None

    def __enter__(self) -> Self:
        self._ours, self._theirs = socket.socketpair()
        self._theirs.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        self._before: dict[signal.Signals, Any] = {number: signal.signal(number, _nothing) for number in _NUMBERS}
        self._thread = threading.Thread(target=self._listen, name="signals", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The handlers from before come back, unless a signal came: then the process is about to end, and a copy of
        that signal must not cut it short. Its grace goes on."""
        for number, handler in self._before.items():
            signal.signal(number, handler if self._asked_s is None else signal.SIG_IGN)
        signal.set_wakeup_fd(self._wakeup_before)
        self._theirs.close()
        self._thread.join(5)
        self._ours.close()

    def begin_grace(self) -> None:
        """For an end that nobody asked for. Once begun, it goes on."""
        if self._watchdog is None:
            self._watchdog = threading.Timer(self._grace_s, self._overdue)
            self._watchdog.daemon = True
            self._watchdog.start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while received := self._ours.recv(64):
                # Also other signals that this process handles come here.
                for number in received:
                    if number in _NUMBERS:
                        self._signalled()

    def _signalled(self) -> None:
        now_s = self._clock()
        if self._asked_s is None:
            self._asked_s = now_s
            self.begin_grace()
            self._asked()
        elif now_s - self._asked_s >= _SAME_REQUEST_S:
            self._end(EXIT_ASKED_AGAIN)

    def _overdue(self) -> None:
        # In a thread of its own: a lock that somebody holds for good must not keep the process.
        said = "the end takes longer than its grace period; what was not published or finished will be done again"
        saying = threading.Thread(target=log.warning, args=(said,), kwargs={"grace_s": self._grace_s}, daemon=True)
        saying.start()
        saying.join(1.0)
        self._end(EXIT_OVERDUE)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Without a handler the signal would not reach the thread."""
