"""How far a replay has come: a bar on a terminal, and elsewhere a line every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from driftloop.events.messages import SourceProgress
from driftloop.events.time import NEVER_MS, format_time

__all__ = ["ReplayProgress"]

_LINE_EVERY_S = 5.0


class ReplayProgress:
    """Shown from entering to leaving. ``total``: records of all source partitions, read or not."""

    def __init__(self, console: Console, total: int, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._total = total
        self._clock_s = clock_s
        self._read: dict[int, int] = {}
        self._started_s = self._said_s = clock_s()
        self._bar: Progress | None = None
        if console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:,}/{task.total:,} records"),
                TimeElapsedColumn(),
            )
            self._bar = Progress(*columns, console=console, transient=True)
            self._task = self._bar.add_task("replaying", total=total)

    def update(self, progress: SourceProgress, time_ms: int) -> None:
        """A source partition has come so far; ``time_ms``: in event time."""
        self._read[progress.source_partition] = progress.predictions_offset + progress.labels_offset
        read = sum(self._read.values())
        day = "" if time_ms <= NEVER_MS else f" {format_time(time_ms)[:10]}"
        if self._bar is not None:
            self._bar.update(self._task, completed=read, description=f"replaying{day}")
            return
        now_s = self._clock_s()
        if now_s - self._said_s >= _LINE_EVERY_S:
            self._said_s = now_s
            line = f"replaying{day}: {read:,} of {self._total:,} records, {now_s - self._started_s:.0f} s"
            self._console.print(line, highlight=False, soft_wrap=True)

    def __enter__(self) -> ReplayProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
