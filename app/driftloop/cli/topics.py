"""``driftloop topics create|check``."""

from __future__ import annotations

import json
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from driftloop.kafka.admin import BrokerError, TopicCheck, check_topics, create_topics
from driftloop.settings import Settings

__all__ = ["app"]

app = typer.Typer(help="Create or check the topics.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def create(as_json: AsJson = False) -> None:
    """Create the topics that are not there. Running it again changes nothing."""
    try:
        result = create_topics(Settings())
    except (BrokerError, ValueError) as error:
        _fail(error)
    if as_json:
        typer.echo(json.dumps({"created": result.created, "existing": result.existing}))
        return
    for name in result.created:
        typer.echo(f"created  {name}")
    for name in result.existing:
        typer.echo(f"existing {name}")


@app.command()
def check(as_json: AsJson = False) -> None:
    """Compare the topics with the settings. Exit code 1 if one is missing or has another number of partitions."""
    settings = Settings()
    try:
        checks = check_topics(settings)
    except (BrokerError, ValueError) as error:
        _fail(error)
    if as_json:
        fields = [{"topic": c.name, "wanted": c.wanted, "found": c.found, "problem": c.problem} for c in checks]
        typer.echo(json.dumps(fields))
    else:
        _show(settings, checks)
    if any(check.problem for check in checks):
        raise typer.Exit(1)


def _show(settings: Settings, checks: list[TopicCheck]) -> None:
    plans = {plan.name: plan for plan in settings.topics.plans()}
    table = Table("topic", "partitions", "keyed by", "holds", box=None, pad_edge=False)
    for found in checks:
        plan = plans[found.name]
        table.add_row(found.name, "missing" if found.found is None else str(found.found), plan.key, plan.holds)
    Console().print(table)
    for found in checks:
        if found.problem:
            typer.echo(found.problem, err=True)


def _fail(error: Exception) -> NoReturn:
    typer.echo(str(error), err=True)
    raise typer.Exit(1) from error
