"""The console script: every command in one place, each imported only when it runs."""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Annotated

import typer

__all__ = ["app", "main"]

app = typer.Typer(
    name="driftloop",
    no_args_is_help=True,
    help="Watches machine-learning models in production over Kafka and closes the loop.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_show_locals=False,
)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"driftloop {version('driftloop')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


#: Command name to "module:attribute" of a function, in the order of the help page.
_COMMANDS = {
    "demo": "demo:demo",
    "up": "up:up",
    "worker": "worker:worker",
    "trainer": "trainer:trainer",
    "publish": "publish:publish",
    "reports": "reports:reports",
    "explain": "explain:explain",
    "decisions": "decisions:decisions",
    "retrain": "retrain:retrain",
    "reproduce": "reproduce:reproduce",
    "audit": "audit:audit",
    "fleet": "fleet:fleet",
    "replay": "replay:replay",
    "doctor": "doctor:doctor",
}
#: Sub-command groups: name to "module:attribute" of a Typer app.
_GROUPS = {
    "topics": "topics:app",
    "models": "models:app",
    "runs": "runs:app",
    "datasets": "datasets:app",
    "alerts": "alerts:app",
    "registry": "registry:app",
    "db": "db:app",
    "mlflow": "mlflow:app",
}


def _resolve(target: str) -> object:
    module, attribute = target.split(":")
    return getattr(importlib.import_module(f"driftloop.cli.{module}"), attribute)


def _asked() -> str | None:
    return next((argument for argument in sys.argv[1:] if not argument.startswith("-")), None)


def _register() -> None:
    """Only the command that was asked for is imported, or all of them for the help page."""
    asked = _asked()
    wanted = {asked} if asked in _COMMANDS or asked in _GROUPS else _COMMANDS.keys() | _GROUPS.keys()
    for name, target in _COMMANDS.items():
        if name in wanted:
            app.command(name)(_resolve(target))  # type: ignore[type-var]
    for name, target in _GROUPS.items():
        if name in wanted:
            app.add_typer(_resolve(target), name=name)  # type: ignore[arg-type]


def main() -> None:
    """Entry point. Errors that a person can mend are one sentence and exit code 2, not a traceback."""
    try:
        _register()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("driftloop"):
            raise
        sys.exit(f"driftloop: {error.name} is not installed; install driftloop[service] for the command line")
    if _asked() not in ("worker", "trainer"):
        _quieten_kafka()
    from driftloop.settings import SettingsError

    try:
        app()
    except SettingsError as error:
        print(f"driftloop: {error}", file=sys.stderr)
        sys.exit(2)


def _quieten_kafka() -> None:
    """While a broker is away its client says the same many times a second: each of its sentences is shown once."""
    said: set[str] = set()

    def first(record: logging.LogRecord) -> bool:
        text = record.getMessage().split(" (after ")[0]
        new = text not in said
        said.add(text)
        return new

    logging.getLogger("driftloop.kafka.client").addFilter(first)
