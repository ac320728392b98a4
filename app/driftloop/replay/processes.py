"""Source partitions in processes of their own, each with a bounded way to this one."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any

import msgspec

from driftloop.replay import child
from driftloop.replay.job import ReplayJob
from driftloop.replay.source import ReplayStep

__all__ = ["PartitionProcesses", "ReplayProcessDied", "default_processes"]

#: Where the system lets a pipe be that large; a process is ahead of this one by so much and the step in its hands.
_PIPE_BYTES = 1 << 20
_GRACE_S = 5.0

_decode = msgspec.json.Decoder(child.Frame).decode


class ReplayProcessDied(RuntimeError):
    """A process of the replay failed. ``mendable``: the message says what to do; else the program is at fault."""

    def __init__(self, message: str, *, mendable: bool = False) -> None:
        super().__init__(message)
        self.mendable = mendable


@dataclass
class _Member:
    partitions: tuple[int, ...]
    process: SpawnProcess
    channel: Connection

    @property
    def name(self) -> str:
        return f"the process of source {_listed('partition', self.partitions)}"


def default_processes(partitions: int) -> int:
    """One for each source partition, as far as there are processors that this process may use."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, partitions)


class PartitionProcesses:
    """``count`` processes, among which the job's partitions are dealt out in turn. None of them outlives this object,
    nor, since what they write to breaks, this process."""

    def __init__(self, job: ReplayJob, count: int) -> None:
        context = multiprocessing.get_context("spawn")  # clients of Kafka have threads, which a fork would lose
        self._members: list[_Member] = []
        self._of: dict[int, _Member] = {}
        try:
            for number in range(count):
                partitions = job.partitions[number::count]
                listen, speak = context.Pipe(duplex=False)
                _widen(listen)
                own = ReplayJob(job.settings, job.specs, partitions)
                process = context.Process(target=child.run, args=(own, speak), daemon=True)
                # Ctrl-C reaches the whole group of a terminal: this process alone hears it and ends the others, also
                # the one that is being started.
                # Starting its tracker, the library unblocks both signals; so it must run before they are blocked.
                resource_tracker.ensure_running()
                with _interrupts_blocked():
                    process.start()
                    speak.close()
                    member = _Member(partitions, process, listen)
                    self._members.append(member)
                    self._of.update(dict.fromkeys(partitions, member))
        except BaseException:
            self.close()
            raise

    @property
    def pids(self) -> list[int]:
        """Process ids, in the order of the processes."""
        return [member.process.pid or 0 for member in self._members]

    def sources(self) -> dict[int, Iterator[ReplayStep]]:
        """The steps of each partition. They must be asked for in the order of
        :func:`~driftloop.replay.order.in_time_order`. Raises :class:`ReplayProcessDied`."""
        return {partition: self._steps(partition) for partition in sorted(self._of)}

    def _steps(self, partition: int) -> Iterator[ReplayStep]:
        while (step := self._next(partition)) is not None:
            yield step

    def _next(self, partition: int) -> ReplayStep | None:
        member = self._of[partition]
        try:
            frame: child.Frame = _decode(member.channel.recv_bytes())
        except EOFError:
            raise ReplayProcessDied(f"{member.name} {_how_it_ended(member.process)}") from None
        if isinstance(frame, child.Failed):
            raise ReplayProcessDied(f"{member.name}: {frame.reason}", mendable=frame.mendable)
        assert frame.partition == partition, f"{member.name} is at {frame.partition}, {partition} was expected"
        return frame.step

    def close(self) -> None:
        """End what still runs."""
        for member in self._members:
            member.channel.close()
            member.process.kill()  # it holds nothing that would have to be put in order
        for member in self._members:
            member.process.join()
            member.process.close()
        self._members, self._of = [], {}

    def __enter__(self) -> PartitionProcesses:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _widen(listen: Connection) -> None:
    """Let the pipe hold some days of steps, so that neither side waits for the other one at every step."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # the system allows less: then it stays as it is
            fcntl.fcntl(listen.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A process started within never sees SIGINT, and SIGTERM once it has come up (:func:`child.run`). One that comes
    meanwhile reaches this process afterwards.

    The mask is this thread's alone, and what the process started inherits. Any other thread, such as those of a linear
    algebra library, takes the signal all the same, and Python then runs the handler here, amid the start: so handlers
    only take note.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)
    came: list[int] = []
    handlers: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():  # handlers run in no other
        handlers = {number: signal.signal(number, lambda number, _: came.append(number)) for number in numbers}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if came:
            signal.raise_signal(came[0])


def _how_it_ended(process: SpawnProcess) -> str:
    process.join(_GRACE_S)
    code = process.exitcode
    if code is not None and code < 0:
        hint = "; it may have been short of memory" if code == -signal.SIGKILL else ""
        return f"was ended by {signal.Signals(-code).name}{hint}"
    return f"ended with exit code {code} before it was done"


def _listed(noun: str, numbers: tuple[int, ...]) -> str:
    return f"{noun}{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers))}"
