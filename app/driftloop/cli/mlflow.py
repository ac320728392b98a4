"""``driftloop mlflow status|sync``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from driftloop.cli._database import call, opened
from driftloop.mlflow_mirror.follower import follower_of, positions_of
from driftloop.registry import ArtifactStore, Registry, RegistryError
from driftloop.registry.database import Access
from driftloop.settings import Settings

__all__ = ["app"]

app = typer.Typer(help="The MLflow registry that versions go to as well.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def status(as_json: AsJson = False) -> None:
    """How many changes MLflow has not been told of yet, by model. Changes nothing, asks no server."""

    def look() -> None:
        with _registry("read") as (settings, registry):
            behind = positions_of(settings, registry).behind()
        if as_json:
            typer.echo(json.dumps({"server": settings.mlflow_tracking_uri, "behind": behind}, indent=2))
            return
        typer.echo(f"{settings.mlflow_tracking_uri}: {'behind' if behind else 'has been told everything'}")
        for model_id, rows in behind.items():
            typer.echo(f"  {model_id}: {rows:,} changes to be told")

    call(look)


@app.command()
def sync(as_json: AsJson = False) -> None:
    """Tell MLflow now what it has not been told yet; the trainer does it by itself. Exit code 1 if something is
    left."""

    def tell() -> None:
        with _registry("change") as (settings, registry):
            told = follower_of(settings, registry).follow()
        if as_json:
            fields = {"rows": told.rows, "problems": told.problems, "elsewhere": told.elsewhere}
            typer.echo(json.dumps(fields, indent=2))
        elif told.elsewhere:
            typer.echo("another process is telling MLflow right now", err=True)
        else:
            if told.rows or not told.problems:
                typer.echo(f"{told.rows:,} changes told")
            if told.away is not None:
                typer.echo(told.away, err=True)
            for model_id, problem in told.problems.items():
                if problem != told.away:
                    typer.echo(f"{model_id}: {problem}", err=True)
        if told.problems or told.elsewhere:
            raise typer.Exit(1)

    call(tell)


@contextmanager
def _registry(access: Access) -> Iterator[tuple[Settings, Registry]]:
    settings = Settings()
    if settings.mlflow_tracking_uri is None:
        raise RegistryError("no MLflow server is named: set DRIFTLOOP_MLFLOW_TRACKING_URI")
    with opened(settings, access) as engine:
        yield settings, Registry(engine, ArtifactStore(settings.resolved_artifacts))
