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
    from rich.text import Text
    from sqlalchemy.exc import SQLAlchemyError

    from driftloop.cli._database import did_not_answer, opened
    from driftloop.cli._rows import Column, print_rows
    from driftloop.cli._tables import counted, open_console
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
    cells = []
    for finding in shown:
        stands = finding.found and finding.false_discovery_rate <= alpha
        cells.append(
            (
                f"{finding.model_id} {finding.model_version}",
                finding.subject,
                format_time(finding.window_end_ms),
                f"{finding.e_value:.3g}",
                f"{finding.false_discovery_rate:.3g}",
                Text("yes", "red") if stands else "no",
                finding.sentence,
            )
        )
    if cells:
        columns = [
            *(Column(name, said="") for name in ("model", "subject", "window up to")),
            *(Column(name) for name in ("e-value", "FDR", "stands")),
            Column("what it says", said="", sentence=True),
        ]
        print_rows(console, columns, cells)
    found = [finding for finding in findings if finding.found]
    standing = sum(finding.false_discovery_rate <= alpha for finding in found)
    models = len({report.model_id for report in reports})
    console.print(
        f"{counted(models, 'model')}, {len(findings)} hypotheses, {counted(len(found), 'finding')} in their reports; "
        f"{standing} stand at a false discovery rate of {alpha:g}.",
        highlight=False,
    )
