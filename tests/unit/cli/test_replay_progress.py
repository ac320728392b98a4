"""A replay shows how far it has come: a bar on a terminal, lines elsewhere, and nothing of it stays on stdout."""

from __future__ import annotations

import contextlib
import io
import os
import pty

from rich.console import Console

from driftloop.cli._progress import ReplayProgress
from driftloop.events.messages import SourceProgress
from driftloop.events.time import NEVER_MS

DAY_MS = 86_400_000


def progress(partition: int, offset: int) -> SourceProgress:
    return SourceProgress(
        source_partition=partition,
        predictions_offset=offset,
        predictions_max_ms=0,
        labels_offset=offset,
        labels_max_ms=0,
        restart_predictions_offset=0,
        restart_predictions_max_ms=0,
        restart_labels_offset=0,
        restart_labels_max_ms=0,
    )


def test_off_a_terminal_a_line_every_few_seconds() -> None:
    now_s = [100.0]
    console = Console(file=io.StringIO(), width=40)
    with ReplayProgress(console, 10_000, clock_s=lambda: now_s[0]) as shown:
        for second in range(14):
            shown.update(progress(second % 2, 200 * (second + 1)), NEVER_MS if second < 8 else 3 * DAY_MS)
            now_s[0] += 1.0
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "replaying: 4,400 of 10,000 records, 5 s",
        "replaying 1970-01-04: 8,400 of 10,000 records, 10 s",
    ]


def test_a_short_replay_says_nothing_off_a_terminal() -> None:
    console = Console(file=io.StringIO())
    with ReplayProgress(console, 10) as shown:
        shown.update(progress(0, 5), DAY_MS)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def everything_from(master: int) -> str:
    """What was written to a pseudo-terminal whose other end is closed."""
    said = b""
    with contextlib.suppress(OSError):  # Linux's word for its end
        while more := os.read(master, 65_536):
            said += more
    return said.decode()


def test_on_a_terminal_a_bar_that_goes_when_it_is_done() -> None:
    master, slave = pty.openpty()
    try:
        with open(slave, "w", closefd=True) as terminal:
            console = Console(file=terminal, width=100, _environ={"TERM": "xterm"})
            assert console.is_terminal
            with ReplayProgress(console, 4_000) as shown:
                shown.update(progress(0, 700), 2 * DAY_MS)
                shown.update(progress(1, 800), 2 * DAY_MS)
                shown._bar.refresh()  # type: ignore[union-attr]  # no waiting for its own clock
        said = everything_from(master)
    finally:
        os.close(master)
    assert "replaying 1970-01-03" in said
    assert "3,000/4,000 records" in said
    assert "━" in said
    assert said.endswith("\x1b[2K") or said.rstrip("\r").endswith("\x1b[2K"), "the bar's line is wiped"
