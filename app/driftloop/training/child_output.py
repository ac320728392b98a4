"""What a training's process writes while it works: its phases and its log, in two files that the worker reads."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from driftloop.training import progress

__all__ = ["LOG", "PROGRESS", "ChildOutput", "FileListener", "ended_by", "last_lines"]

LOG, PROGRESS = "child.log", "progress.jsonl"

#: So much is read of a file at a time; of a log that grows faster the middle is left out.
_CHUNK_BYTES = 65_536
_MOST_BEHIND_BYTES = 1_048_576
_LAST_LINES = 3
#: How :mod:`faulthandler` begins.
_CRASH = "Fatal Python error"
_CRASH_LINES = 6
_EARLY_BYTES = 8_192
_LONGEST_REASON = 600


class FileListener:
    """In the child: phases and lines as JSON texts, one a line."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PROGRESS

    def phase(self, text: str) -> None:
        self._tell("phase", text)

    def line(self, text: str) -> None:
        self._tell("line", text)

    def kept(self, role: str, uri: str) -> None:
        """The child has no artifact store."""

    def _tell(self, kind: str, text: str) -> None:
        # What cannot be told, for want of room for one, is no reason to break the work off.
        with contextlib.suppress(OSError), self._path.open("ab") as stream:
            stream.write(msgspec.json.encode([kind, text]) + b"\n")


class ChildOutput:
    """In the worker: :meth:`forward` tells :mod:`driftloop.training.progress` what is new in the files."""

    def __init__(self, folder: Path) -> None:
        self._progress = _Tail(folder / PROGRESS)
        self._log = _Tail(folder / LOG)
        self._last: list[str] = []
        self._crash: list[str] = []

    def forward(self, *, to_end: bool = False) -> None:
        """Tell what has come since. ``to_end``: the process is over, also the last line without its end."""
        for raw in self._progress.lines(to_end=to_end):
            try:
                kind, text = msgspec.json.decode(raw, type=tuple[str, str])
            except msgspec.DecodeError:
                continue  # cut off by the process's end
            (progress.phase if kind == "phase" else progress.line)(text)
        for text in self._log.lines(to_end=to_end):
            if text.strip():
                self._note(text.strip())
                progress.line(text.rstrip())

    def _note(self, line: str) -> None:
        """Of a crash in native code the line that names it and those around it say more than the end of the dump."""
        if self._crash:
            self._crash = [*self._crash, line][:_CRASH_LINES]
        elif line.startswith(_CRASH):
            self._crash = [*self._last[-1:], line]
        self._last = [*self._last[1 - _LAST_LINES :], line]

    def last_words(self) -> str:
        """The last lines of the log, as one; "" if there is none."""
        return " / ".join(self._crash or self._last)[-_LONGEST_REASON:]


class _Tail:
    """The lines that are added to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._rest = b""

    def lines(self, *, to_end: bool) -> Iterator[str]:
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return
        if size - self._at > _MOST_BEHIND_BYTES:
            skipped = size - self._at - _CHUNK_BYTES
            self._at += skipped
            self._rest = b""
            yield f"({skipped:,} bytes of the log left out)"
        with self._path.open("rb") as stream:
            while size > self._at:
                stream.seek(self._at)
                read = stream.read(min(_CHUNK_BYTES, size - self._at))
                if not read:
                    break
                self._at += len(read)
                *whole, self._rest = (self._rest + read).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in whole)
                if len(self._rest) > _CHUNK_BYTES:  # a line without end is cut into several
                    yield self._rest.decode("utf-8", "replace")
                    self._rest = b""
        if to_end and self._rest:
            yield self._rest.decode("utf-8", "replace")
            self._rest = b""


def last_lines(stream: IO[bytes] | None) -> list[str]:
    """The lines at the end of what a process wrote into a file before it had a job."""
    if stream is None:
        return []
    stream.seek(0, os.SEEK_END)
    stream.seek(max(0, stream.tell() - _EARLY_BYTES))
    return [line for line in stream.read().decode("utf-8", "replace").splitlines() if line.strip()]


def ended_by(returncode: int) -> str:
    """How a process ended that was not to end so, in words.

    >>> ended_by(-9)
    'was ended by signal 9 (SIGKILL: out of memory?)'
    >>> ended_by(3)
    'ended with code 3'
    """
    if returncode >= 0:
        return f"ended with code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = "unknown"
    hint = ": out of memory?" if name == "SIGKILL" else ": a crash in native code" if name == "SIGSEGV" else ""
    return f"was ended by signal {-returncode} ({name}{hint})"
