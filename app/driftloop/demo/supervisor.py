"""Child processes that live and die together: what ``driftloop demo`` and ``driftloop up`` start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO

__all__ = ["Child", "ChildDied", "Supervisor", "interrupt_on_sigterm", "tail"]

_POLL_S = 0.05


class ChildDied(RuntimeError):
    """A process ended that should not have. The message holds the end of its log."""


@dataclass
class Child:
    """One process, its log, and its standard output where somebody reads it."""

    name: str
    process: subprocess.Popen[bytes]
    log_file: Path
    output: IO[bytes] | None = None


class Supervisor:
    """Starts processes, notices when one ends, and stops all of them, hard if need be.

    Each child has a session of its own, so that Ctrl-C reaches this process only, which then stops them in order.
    """

    def __init__(self, log_folder: Path, grace_s: float = 10.0) -> None:
        self._log_folder = log_folder
        self._grace_s = grace_s
        self._children: list[Child] = []

    def start(
        self,
        name: str,
        arguments: list[str],
        environment: Mapping[str, str] | None = None,
        *,
        read_output: bool = False,
    ) -> Child:
        """Start ``python ARGUMENTS`` with ``environment`` on top of ours.

        Standard error goes to ``name.log``; so does standard output, unless ``read_output`` asks for a pipe.
        """
        self._log_folder.mkdir(parents=True, exist_ok=True)
        log_file = self._log_folder / f"{name}.log"
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if read_output else log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        child = Child(name, process, log_file, process.stdout)
        self._children.append(child)
        return child

    def check(self, *, may_end: Child | None = None) -> None:
        """Raises :class:`ChildDied` if a process ended; ``may_end`` may have done so, with exit code 0."""
        for child in self._children:
            code = child.process.poll()
            if code is None or (child is may_end and code == 0):
                continue
            how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise ChildDied(f"the {child.name} {how}; its log {child.log_file} ends:\n{tail(child.log_file)}")

    def stop(self) -> list[str]:
        """End every process, the one started last first; returns the names of those that had to be killed."""
        children, self._children = self._children, []
        for child in reversed(children):
            if child.process.poll() is None:
                child.process.terminate()
        deadline_s = time.monotonic() + self._grace_s
        while any(child.process.poll() is None for child in children) and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
        killed = []
        for child in children:
            if child.process.poll() is None:
                killed.append(child.name)
                # Its whole session: a trainer may have a child that trains.
                os.killpg(child.process.pid, signal.SIGKILL)
                child.process.wait()
            if child.output is not None:
                child.output.close()
        return killed

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log."""
    text = path.read_text("utf-8", "replace").strip() if path.exists() else ""
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:]) or "  (empty)"


@contextmanager
def interrupt_on_sigterm() -> Iterator[None]:
    """Within, SIGTERM raises KeyboardInterrupt as Ctrl-C does. Once: while things are being stopped, both are ignored
    for as long as the stopping takes, which is bounded by the supervisor's grace."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
