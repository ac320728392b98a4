"""``driftloop topics create|check|rights``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from driftloop.kafka.acl import COMPONENTS, create_acls, rights_of
from driftloop.kafka.admin import BrokerError, TopicCheck, check_topics, create_topics
from driftloop.settings import Settings

__all__ = ["app"]

app = typer.Typer(help="Create or check the topics, and who may use them.", no_args_is_help=True)

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


@app.command()
def rights(
    component: Annotated[str, typer.Argument(help=f"One of {', '.join(COMPONENTS)}.")],
    principal: Annotated[
        str | None, typer.Option("--allow", metavar="User:NAME", help="Allow this principal all of it at the broker.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What a part of driftloop needs to be allowed at the broker (Kafka's access lists)."""
    settings = Settings()
    if component not in COMPONENTS:
        _fail(ValueError(f"there is no component {component!r}; there are {', '.join(COMPONENTS)}"))
    if principal is not None and not principal.partition(":")[2]:
        _fail(ValueError(f"{principal!r} is no principal; write User:NAME"))
    try:
        needed = rights_of(component, settings) if principal is None else create_acls(settings, component, principal)
    except (BrokerError, ValueError) as error:
        _fail(error)
    if as_json:
        typer.echo(json.dumps([asdict(right) for right in needed]))
        return
    for right in needed:
        typer.echo(f"{right.operation:<9} {right.resource:<5} {right.name}{'*' if right.prefixed else ''}")
    if principal is not None:
        typer.echo(f"{principal} is allowed all of this.")


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
