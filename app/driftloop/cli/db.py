"""``driftloop db current|upgrade``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from driftloop.cli._database import call
from driftloop.registry import open_engine, schema_state, shown_url, upgrade_schema
from driftloop.registry.migrations import head
from driftloop.settings import Settings

__all__ = ["app"]

app = typer.Typer(help="The registry's database: at which revision its tables are, and upgrading them.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def current(as_json: AsJson = False) -> None:
    """Say at which revision the database is. Exit code 1 if the services would not start with it."""

    def read() -> None:
        engine = open_engine(Settings().resolved_database_url, "read")
        try:
            where = schema_state(engine)
        finally:
            engine.dispose()
        if as_json:
            pending = [{"revision": step.revision, "does": step.message} for step in where.pending]
            fields = {"state": where.state, "revision": where.revision, "needed": head(), "pending": pending}
            typer.echo(json.dumps(fields, indent=2))
        else:
            state = "not there yet" if where.state == "absent" else where.state
            typer.echo(f"{shown_url(engine.url)}: {state}, revision {where.revision or 'none'} of {head()}")
            for step in where.pending:
                typer.echo(f"  pending {step.revision}: {step.message}")
        if where.state not in ("current", "empty", "absent"):
            raise typer.Exit(1)

    call(read)


@app.command()
def upgrade(as_json: AsJson = False) -> None:
    """Bring the tables to this driftloop's revision, all steps or none. Stop the services and back up first."""

    def run() -> None:
        engine = open_engine(Settings().resolved_database_url, "create")
        try:
            steps = upgrade_schema(engine)
        finally:
            engine.dispose()
        if as_json:
            typer.echo(json.dumps({"revision": head(), "run": [step.revision for step in steps]}, indent=2))
            return
        for step in steps:
            typer.echo(f"{step.revision}: {step.message}")
        done = "is at" if not steps else "is now at"
        typer.echo(f"{shown_url(engine.url)} {done} revision {head()}")

    call(run)
