"""``driftloop replay``: history again, under the same configuration or another one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["replay"]


def replay(
    start: Annotated[str | None, typer.Option("--from", help="first window, such as 2013-03-01")] = None,
    end: Annotated[str | None, typer.Option("--to", help="end of the last window")] = None,
    spec: Annotated[
        Path | None, typer.Option(help="a spec file or folder to judge history with, instead of the live one")
    ] = None,
    model: Annotated[str | None, typer.Option(help="only this model")] = None,
    segments: Annotated[bool, typer.Option(help="show segments too")] = False,
    verify: Annotated[bool, typer.Option(help="compare with what the live system published, field by field")] = False,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="processes for the source partitions; without it one each, up to the processors"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
) -> None:
    """Read the topics again through the same core and show the window reports; nothing is written.

    With --spec: what would have alerted, and when, under another configuration. With --verify: exit code 1 if the
    replay differs from the live run anywhere.
    """
    from driftloop.cli._replay import ReplayRequest, run_replay
    from driftloop.settings import Settings

    raise typer.Exit(
        run_replay(Settings(), ReplayRequest(start, end, spec, model, segments, verify, as_json, processes))
    )
