"""``driftloop fleet``: which findings stand when the features of all models are counted in."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

__all__ = ["fleet"]


def fleet(
    alpha: Annotated[float, typer.Option(help="Share of false discoveries among those that stand.")] = 0.05,
    everything: Annotated[bool, typer.Option("--all", help="Also what no report calls drift.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show the findings in the latest final reports of all models, and whether they stand over the whole fleet.

    By e-BH over every feature of every model, which bounds the false discovery rate however they depend on each other.
    Reads the database alone.
    """
    import msgspec
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text
    from sqlalchemy.exc import SQLAlchemyError

    from driftloop.cli._database import did_not_answer, opened
    from driftloop.cli._tables import NARROW, counted, open_console, print_facts
    from driftloop.drift.fleet import fleet_findings
    from driftloop.events.time import format_time
    from driftloop.registry import RegistryError
    from driftloop.registry.latest import latest_final_reports
    from driftloop.settings import Settings

    if not 0.0 < alpha < 1.0:
        typer.echo(f"driftloop fleet: expected --alpha between 0 and 1, got {alpha:g}", err=True)
        raise typer.Exit(2)
    try:
        with opened(Settings(), "read") as engine:
            reports = latest_final_reports(engine)
    except (RegistryError, SQLAlchemyError, ValueError) as error:
        said = did_not_answer(error) if isinstance(error, SQLAlchemyError) else error
        typer.echo(f"driftloop fleet: {said}", err=True)
        raise typer.Exit(2) from error
    findings = fleet_findings(reports)
    shown = [finding for finding in findings if finding.found or everything]
    if as_json:
        for finding in shown:
            sys.stdout.write(msgspec.json.encode(finding).decode() + "\n")
        return
    console = open_console()
    table = Table(
        "model", "subject", "window up to", "e-value", "FDR", "stands", "what it says", box=None, pad_edge=False
    )
    for finding in shown:
        stands = finding.found and finding.false_discovery_rate <= alpha
        if console.width < NARROW:
            verdict = Text("stands", style="red") if stands else Text("does not stand")
            facts = (
                f"{finding.model_id} {finding.model_version}  {finding.subject}  "
                f"{format_time(finding.window_end_ms)}  FDR {finding.false_discovery_rate:.3g}  "
            )
            print_facts(console, Text(facts).append_text(verdict), finding.sentence)
            continue
        table.add_row(
            escape(f"{finding.model_id} {finding.model_version}"),
            escape(finding.subject),
            format_time(finding.window_end_ms),
            f"{finding.e_value:.3g}",
            f"{finding.false_discovery_rate:.3g}",
            "[red]yes[/]" if stands else "no",
            escape(finding.sentence),
        )
    if shown and console.width >= NARROW:
        console.print(table)
    found = [finding for finding in findings if finding.found]
    standing = sum(finding.false_discovery_rate <= alpha for finding in found)
    models = len({report.model_id for report in reports})
    console.print(
        f"{counted(models, 'model')}, {len(findings)} hypotheses, {counted(len(found), 'finding')} in their reports; "
        f"{standing} stand at a false discovery rate of {alpha:g}.",
        highlight=False,
    )
