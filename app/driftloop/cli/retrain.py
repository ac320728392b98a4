"""``driftloop retrain MODEL``: a person asks for a training."""

from __future__ import annotations

import getpass
from typing import Annotated

import msgspec
import typer

from driftloop.cli._database import call, opened
from driftloop.cli._publishing import publish_outbox
from driftloop.cli._span import parse_span
from driftloop.events.decisions import PolicyDecision, RetrainCommand
from driftloop.events.time import format_time
from driftloop.registry import AssessmentStore, RegistryError
from driftloop.settings import Settings
from driftloop.spec import load_specs
from driftloop.training.by_hand import give_command, prepare_command

__all__ = ["retrain"]


#: How long the command waits for a broker before it leaves publishing to the worker.
_BROKER_TIMEOUT_S = 2.0


def retrain(
    model: str,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept, and told to subscribers.")],
    start: Annotated[str | None, typer.Option("--from", help="train on predictions from then on")] = None,
    end: Annotated[str | None, typer.Option("--to", help="... up to then; default: the last mature window")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the command as JSON.")] = False,
) -> None:
    """Have a challenger trained now, whatever cooldown, breaker and other guards say; gates judge it as any other.

    By default on as much data as training.last (or the widest candidate) says, up to the last window whose labels are
    all there.
    """
    settings = Settings()
    command, decision, rows = call(lambda: _prepare(settings, model, reason, start, end))
    span = f"{format_time(command.from_ms)} to {format_time(command.to_ms)}"
    if not yes and not typer.confirm(f"retrain {model} on {span}, {rows:,} labeled rows?", err=True):
        raise typer.Exit(1)
    unpublished = call(lambda: _give(settings, command, decision))
    if as_json:
        typer.echo(msgspec.json.encode(command).decode())
    else:
        typer.echo(f"{model}: command {command.command_id} to train on {span}, {rows:,} labeled rows")
    if unpublished is not None:
        typer.echo(f"the trainer gets it when a worker or trainer publishes it: {unpublished}", err=True)


def _prepare(
    settings: Settings, model: str, reason: str, start: str | None, end: str | None
) -> tuple[RetrainCommand, PolicyDecision, int]:
    specs = load_specs(settings.specs)
    if model not in specs:
        raise RegistryError(f"{settings.specs} holds no spec of {model!r}; it has {', '.join(specs)}")
    from_ms, to_ms = parse_span(start, end)
    with opened(settings, "read") as engine:
        return prepare_command(
            AssessmentStore(engine), specs[model], reason=reason, actor=_account(), from_ms=from_ms, to_ms=to_ms
        )


def _give(settings: Settings, command: RetrainCommand, decision: PolicyDecision) -> str | None:
    with opened(settings, "change") as engine:
        give_command(AssessmentStore(engine), command, decision)
        return publish_outbox(engine, settings, _BROKER_TIMEOUT_S)


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
