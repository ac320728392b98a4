"""``driftloop doctor``: is everything there that the services need, and what to do if not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from driftloop.cli._doctor_specs import examine_specs
from driftloop.cli._finding import Finding
from driftloop.kafka.admin import BrokerError, check_topics, wait_for_broker
from driftloop.kafka.config import client_config
from driftloop.registry.artifacts import ArtifactStore
from driftloop.registry.database import open_engine, schema_problem, shown_url, what_it_said
from driftloop.registry.errors import RegistryError
from driftloop.settings import Settings

__all__ = ["Finding", "doctor", "examine"]

_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "yellow"}


class _Failed(Exception):
    """A check failed; the message says what to do."""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    trainer: Annotated[
        bool,
        typer.Option(
            "--trainer/--no-trainer",
            help="Whether models are trained on this machine, so that it must have what only trainings need: your "
            "functions that specs name, and credentials of orchestrators.",
        ),
    ] = True,
) -> None:
    """Check settings, broker, topics, database and model specs. Exit code 1 if something fails; warnings fail nothing.

    What specs train is made, without data, in a process of its own.
    """
    try:
        settings = Settings()
    except ValueError as error:
        typer.echo(f"the settings cannot be used: {error}", err=True)
        raise typer.Exit(1) from error
    findings = examine(settings, trains_here=trainer)
    shown = _shown_settings(settings)
    if as_json:
        fields = [{"check": f.check, "result": f.result, "text": f.text} for f in findings]
        typer.echo(json.dumps({"settings": shown, "findings": fields}, indent=2))
    else:
        _print(shown, findings)
    if any(finding.result == "failed" for finding in findings):
        raise typer.Exit(1)


def examine(settings: Settings, timeout_s: float = 5.0, *, trains_here: bool = True) -> list[Finding]:
    """Every check, in the order in which things depend on each other. Changes nothing. ``trains_here``: a trainer runs
    on this machine."""
    broker = _run("broker", lambda: _broker(settings, timeout_s))
    if broker.result == "ok":
        topics = _run("topics", lambda: _topics(settings, timeout_s))
    else:
        topics = Finding("topics", "skipped", "not checked, because the broker does not answer")
    database = _run("database", lambda: _database(settings))
    artifacts = _run("artifacts", lambda: _artifacts(settings))
    return [broker, topics, database, artifacts, *examine_specs(settings, trains_here=trains_here)]


def _run(check: str, step: Callable[[], str]) -> Finding:
    try:
        return Finding(check, "ok", step())
    except (_Failed, BrokerError, RegistryError, ValueError) as error:
        return Finding(check, "failed", str(error))


def _broker(settings: Settings, timeout_s: float) -> str:
    wait_for_broker(client_config(settings), timeout_s)
    return f"{settings.bootstrap} answers"


def _topics(settings: Settings, timeout_s: float) -> str:
    checks = check_topics(settings, timeout_s)
    missing = [check.name for check in checks if check.found is None]
    problems = [check.problem for check in checks if check.problem and check.found is not None]
    if missing:
        problems.append(f"{len(missing)} topics are missing ({', '.join(missing)}): run `driftloop topics create`")
    if problems:
        raise _Failed("; ".join(problems))
    return f"{len(checks)} topics under {settings.topic_prefix!r}, partition counts as set"


def _database(settings: Settings) -> str:
    url = settings.resolved_database_url
    file = url.removeprefix("sqlite:///")
    if file not in {url, "", ":memory:"} and not Path(file).exists():
        return f"{url}: not there yet; the first service makes it"
    engine = open_engine(url, "read")
    shown = shown_url(engine.url)
    try:
        problem = schema_problem(engine)
    except SQLAlchemyError as error:
        raise _Failed(f"{shown}: {what_it_said(error)}; start the database or set DRIFTLOOP_DATABASE_URL") from None
    finally:
        engine.dispose()
    if problem:
        raise _Failed(problem)
    return f"{shown}: tables as needed"


def _artifacts(settings: Settings) -> str:
    files = ArtifactStore(settings.resolved_artifacts).files
    problem = files.problem()
    if problem:
        raise _Failed(problem)
    return files.where


def _shown_settings(settings: Settings) -> dict[str, str]:
    """Settings as text; pydantic masks what is secret."""
    shown = {name: str(value) for name, value in settings.model_dump().items() if value is not None}
    if settings.database_url is not None:
        try:
            shown["database_url"] = shown_url(open_engine(settings.resolved_database_url).url)
        except RegistryError:
            shown["database_url"] = "***"
    return shown


def _print(shown: dict[str, str], findings: list[Finding]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print("settings", style="bold")
    for name, value in shown.items():
        console.print(Text(f"  DRIFTLOOP_{name.upper()} = {value}"))
    console.print("checks", style="bold")
    for finding in findings:
        console.print(
            Text.assemble("  ", (f"{finding.result:<8}", _STYLES[finding.result]), f"{finding.check:<10}{finding.text}")
        )
