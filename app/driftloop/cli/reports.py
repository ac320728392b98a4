"""``driftloop reports``: the window reports that the live system has published."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from driftloop.events.reports import WindowReport
    from driftloop.settings import Settings

__all__ = ["reports"]


def reports(
    start: Annotated[str | None, typer.Option("--from", help="first window, such as 2013-03-01")] = None,
    end: Annotated[str | None, typer.Option("--to", help="end of the last window")] = None,
    model: Annotated[str | None, typer.Option(help="only this model")] = None,
    segments: Annotated[bool, typer.Option(help="show segments too")] = False,
    open_windows: Annotated[bool, typer.Option("--open", help="windows that are not final yet instead")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
) -> None:
    """Show the final window reports as published, or with --open those of windows that are not final yet.

    The latter come from the database, with the share of labels that is there (coverage) and will come (maturity).
    """
    import msgspec
    from sqlalchemy.exc import SQLAlchemyError

    from driftloop.cli._database import did_not_answer
    from driftloop.cli._span import parse_span
    from driftloop.cli._tables import open_console, print_reports
    from driftloop.kafka.log_reader import LogReadError
    from driftloop.registry import RegistryError
    from driftloop.replay.published import read_published
    from driftloop.settings import Settings

    try:
        from_ms, until_ms = parse_span(start, end)
        found = _provisional(Settings(), model) if open_windows else list(read_published(Settings()).reports.values())
    except (ValueError, LogReadError, RegistryError, SQLAlchemyError) as error:
        said = did_not_answer(error) if isinstance(error, SQLAlchemyError) else error
        typer.echo(f"driftloop reports: {said}", err=True)
        raise typer.Exit(2) from error
    chosen = [
        report
        for report in found
        if (from_ms is None or report.window_start_ms >= from_ms)
        and (until_ms is None or report.window_end_ms <= until_ms)
        and (model is None or report.model_id == model)
        and (segments or not report.segment)
    ]
    if as_json:
        for report in chosen:
            sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        title = "Open windows" if open_windows else "Window reports"
        print_reports(open_console(), chosen, title)


def _provisional(settings: Settings, model: str | None) -> list[WindowReport]:
    from driftloop.cli._database import opened
    from driftloop.registry import AssessmentStore

    with opened(settings, "read") as engine:
        return AssessmentStore(engine).open_reports(model)
