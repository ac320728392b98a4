"""``driftloop decisions MODEL``: why a model was retrained, and why not."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.text import Text

from driftloop.cli._database import call, fail, opened
from driftloop.cli._span import parse_span
from driftloop.cli._tables import open_console, print_facts
from driftloop.events.decisions import PolicyDecision
from driftloop.events.time import format_time
from driftloop.registry import AssessmentStore
from driftloop.settings import Settings
from driftloop.spec import load_specs

__all__ = ["decisions"]

_STYLES = {"retrain": "bold cyan", "hold": "yellow"}


def decisions(
    model: str,
    start: Annotated[str | None, typer.Option("--from", help="windows that end after, such as 2013-03-01")] = None,
    end: Annotated[str | None, typer.Option("--to", help="end of the last window")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
) -> None:
    """Show every decision of a model's policy, and what people asked for, by window: the command, or why it was held.

    A trigger that was not due has decided nothing and has no line.
    """
    found = call(lambda: _read(Settings(), model, start, end))
    if as_json:
        for decision in found:
            typer.echo(msgspec.json.encode(decision).decode())
        return
    console = open_console()
    if not found:
        console.print(f"{model}: no trigger was due in these windows, and nobody asked for a training")
    for decision in found:
        by = f" by {decision.actor}" if decision.actor else ""
        command = f"  command {decision.command_id}" if decision.command_id else ""
        facts = Text.assemble(
            f"{format_time(decision.window_end_ms)}  ",
            (f"{decision.outcome:<7}", _STYLES.get(decision.outcome, "")),
            f"  {decision.trigger}{by}{command}",
        )
        print_facts(console, facts, decision.reason)


def _read(settings: Settings, model: str, start: str | None, end: str | None) -> list[PolicyDecision]:
    from_ms, to_ms = parse_span(start, end)
    with opened(settings, "read") as engine:
        newest_first = AssessmentStore(engine).decisions(model, None, from_ms=from_ms, to_ms=to_ms)
    if not newest_first and model not in load_specs(settings.specs):
        fail(f"there is no spec of {model!r} in {settings.specs}, and no decision about it in the database")
    newest_first.reverse()  # decisions of one window stay in the order in which they were made
    return sorted(newest_first, key=lambda decision: decision.window_end_ms)
