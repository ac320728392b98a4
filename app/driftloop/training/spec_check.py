"""Looking at what specs train, in a process of its own: importing scikit-learn and modules of the user's takes
seconds, and may hang, crash, or end the process.

The parent (:func:`check_specs`) hands the specs to ``python -m driftloop.training.spec_check`` and reads one line for
each that is begun or done, so that it knows which one ended or held up the child; the others go to another child.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal

import msgspec
from msgspec import Struct

from driftloop.spec.model import ModelSpec
from driftloop.spec.problems import KeyPath
from driftloop.training.child_output import ended_by, last_lines

__all__ = ["BuildProblem", "CheckLimits", "check_specs"]

_LONGEST_WORDS = 300


class BuildProblem(Struct, frozen=True, kw_only=True):
    """One thing that is wrong with what a spec trains, at a key. Not ``fatal``: a training goes on without it."""

    key: KeyPath
    text: str
    fatal: bool = True


@dataclass(frozen=True)
class CheckLimits:
    """Seconds: until the child has loaded its libraries, for one spec, and for all together."""

    start_s: float = 60.0
    spec_s: float = 20.0
    all_s: float = 120.0


class _Said(Struct, frozen=True):
    """A line of the child: it is ready, or begins or is done with the spec at ``place``."""

    what: Literal["ready", "begun", "done"]
    place: int = -1
    problems: list[BuildProblem] = []


class _Job(Struct, frozen=True):
    specs: list[ModelSpec]
    imports: bool


def check_specs(
    specs: Sequence[ModelSpec], *, imports: bool = True, limits: CheckLimits | None = None
) -> list[list[BuildProblem]]:
    """For each spec what :func:`driftloop.training.buildable.build_problems` says, or why that cannot be told.

    Never raises for what a spec names, and comes back within ``limits`` whatever that does. ``imports``: functions of
    the user's are imported.
    """
    limits = limits or CheckLimits()
    deadline = time.monotonic() + limits.all_s
    found: list[list[BuildProblem]] = [[] for _ in specs]
    # A function of the user's comes last: what its module does must not keep others from being looked at.
    waiting = sorted(range(len(specs)), key=lambda place: ":" in (specs[place].training.estimator or ""))
    while waiting:
        if time.monotonic() >= deadline:
            for place in waiting:
                found[place] = [_problem(specs[place], f"not looked at within the {limits.all_s:g} s for all specs")]
            break
        try:
            waiting = _Child(specs, waiting, imports, limits, deadline).run(found)
        except OSError as error:
            for place in waiting:
                found[place] = [_problem(specs[place], f"not looked at, because no process can be started: {error}")]
            break
    return found


def _problem(spec: ModelSpec, text: str) -> BuildProblem:
    return BuildProblem(key=("training", "estimator" if spec.training.river is None else "river"), text=text)


class _Child:
    """One process, for as many of the specs at ``places`` as it lives to see."""

    def __init__(
        self, specs: Sequence[ModelSpec], places: list[int], imports: bool, limits: CheckLimits, deadline: float
    ) -> None:
        self._specs, self._places, self._imports = specs, places, imports
        self._limits, self._deadline = limits, deadline
        self._lines: queue.Queue[bytes | None] = queue.Queue()

    def run(self, found: list[list[BuildProblem]]) -> list[int]:
        """Fill in ``found``. Returns the places that are left for another process."""
        with tempfile.TemporaryFile() as job, tempfile.TemporaryFile() as words:
            # A file, since nobody may be there to read a pipe.
            job.write(msgspec.json.encode(_Job([self._specs[place] for place in self._places], self._imports)))
            job.seek(0)
            process = subprocess.Popen(
                [sys.executable, "-m", "driftloop.training.spec_check", f"{self._limits.all_s + 60:g}"],
                stdin=job,
                stdout=subprocess.PIPE,
                stderr=words,
                start_new_session=True,
            )
            threading.Thread(target=self._read, args=(process.stdout,), daemon=True).start()
            try:
                return self._follow(process, words, found)
            finally:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)  # with what it has started
                process.wait()

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._lines.put(line)
        self._lines.put(None)

    def _follow(self, process: subprocess.Popen[bytes], words: IO[bytes], found: list[list[BuildProblem]]) -> list[int]:
        left = list(self._places)
        at: int | None = None
        longest = self._limits.start_s
        while left:
            longest = max(0.1, min(longest, self._deadline - time.monotonic()))
            try:
                line = self._lines.get(timeout=longest)
            except queue.Empty:
                line, why = None, f"it took longer than {longest:.3g} s"
            else:
                why = "" if line is not None else self._end(process, words)
            if line is None:
                return self._left_after(at, left, why, found)
            said = msgspec.json.decode(line, type=_Said)
            longest = self._limits.spec_s
            if said.what == "begun":
                at = self._places[said.place]
            elif said.what == "done":
                found[self._places[said.place]] = said.problems
                left.remove(self._places[said.place])
                at = None
        return left

    def _left_after(self, at: int | None, left: list[int], why: str, found: list[list[BuildProblem]]) -> list[int]:
        """The process is over before its time, at the spec ``at`` or between two."""
        if at is not None:
            found[at] = [_problem(self._specs[at], f"looking at what is to be trained: {why}")]
            return [place for place in left if place != at]
        if len(left) < len(self._places):
            return left  # something that an earlier module has left behind
        for place in left:
            found[place] = [_problem(self._specs[place], f"this could not be looked at: {why}")]
        return []

    def _end(self, process: subprocess.Popen[bytes], words: IO[bytes]) -> str:
        try:
            code = process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            return "the process that looked at it closed its output"
        said = " / ".join(last_lines(words)[-2:])[-_LONGEST_WORDS:]
        return f"the process that looked at it {ended_by(code)}" + (f"; the last it said: {said}" if said else "")


def _work() -> None:
    """The child's side."""
    faulthandler.dump_traceback_later(float(sys.argv[1]), exit=True)  # should the parent be gone by then
    report = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what modules print is not for the parent

    def say(said: _Said) -> None:
        report.write(msgspec.json.encode(said) + b"\n")
        report.flush()

    job = msgspec.json.decode(sys.stdin.buffer.read(), type=_Job)
    from driftloop.training.buildable import build_problems

    say(_Said("ready"))
    for place, spec in enumerate(job.specs):
        say(_Said("begun", place))
        problems: list[Any]
        try:
            problems = list(build_problems(spec, imports=job.imports))
        except BaseException as error:  # noqa: BLE001  (a module may even call sys.exit)
            words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            problems = [_problem(spec, f"looking at what is to be trained ended with {words}")]
        say(_Said("done", place, problems))


if __name__ == "__main__":
    _work()
    sys.stderr.flush()
    os._exit(0)  # threads and exit functions of imported modules are not waited for
