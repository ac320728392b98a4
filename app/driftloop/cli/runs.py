"""``driftloop runs list|show|report``: what training runs do and did, and how one ended that was handed over."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from driftloop.cli._database import call, fail, opened
from driftloop.cli._rows import Column, print_rows
from driftloop.cli._tables import counted, open_console, printable
from driftloop.events.time import format_time
from driftloop.registry import ArtifactStore, Run, RunEntry, RunStore
from driftloop.registry.by_hand import signed
from driftloop.registry.errors import RegistryError
from driftloop.registry.handovers import HandoverStore
from driftloop.registry.run_follow import NoAnswer, RunState, follow, state_of
from driftloop.settings import Settings

if TYPE_CHECKING:
    from driftloop.training.handover.messages import Result

__all__ = ["app"]

app = typer.Typer(help="Training runs: outcome, reason, phases and log.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_SHORT = 12
_COLUMNS = [
    Column("run", said=""),
    Column("model", said=""),
    Column("started", said=""),
    Column("took", said="", right=True),
    Column("attempts", right=True),
    Column("state", said=""),
    Column("what it says", said="", sentence=True),
]
#: The run's end cannot be told, which is not that it failed.
_UNKNOWN = 3


@app.command("list")
def list_runs(
    model: Annotated[str | None, typer.Option(help="Only this model's.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many of the newest.")] = 20,
    as_json: AsJson = False,
) -> None:
    """The newest training runs."""

    def read() -> list[dict[str, Any]]:
        with _runs() as runs:
            found = runs.runs(model, limit)
            phases = runs.log.last_phases([run.command.command_id for run in found])
            return [_summary(run, phases.get(run.command.command_id)) for run in found]

    rows = call(read)
    if as_json:
        _print_json(rows)
        return
    if not rows:
        typer.echo("no training has run yet" if model is None else f"no training of {model} has run yet")
        return
    cells = []
    for row in rows:
        took = "" if row["seconds"] is None else f"{row['seconds']:.1f} s"
        says = row["reason"] if row["state"] == "ended" else row["phase"] if row["state"] == "running" else row["told"]
        state = row["outcome"] or row["state"]
        started = f"{row['started'][:19]}Z"  # to the second; --json has the rest
        cells.append((row["run"][:_SHORT], row["model"], started, took, str(row["attempts"]), state, says or ""))
    print_rows(open_console(), _COLUMNS, cells)


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="The run: its command's id, or the beginning of it.")],
    follow_it: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Go on until it ends; exit code 1: it failed, 3: that cannot be told."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; with --follow one object a line, as it happens.")
    ] = False,
) -> None:
    """One training run: outcome, reason, phases with their times, attempts and log."""

    def read() -> bool:
        with _runs() as runs:
            found = _find(runs, run)
            if follow_it:
                return _follow(runs, found, as_json)
            entries = runs.log.entries(found.command.command_id)
            if as_json:
                _print_json({**_summary(found, None), **_details(found), "log": [_entry(entry) for entry in entries]})
            else:
                _print_head(found)
                _print_phases(found, entries)
                _print_log(entries)
                typer.echo(printable(state_of(found, time.time()).sentence))
            return False

    try:
        failed = call(read, _UNKNOWN if follow_it else 1)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if failed:
        raise typer.Exit(1)


@app.command()
def report(
    run: Annotated[str, typer.Argument(help="The run: its command's id, or the beginning of it.")],
    artifact: Annotated[
        Path | None, typer.Option(help="The model file: a fitted scikit-learn Pipeline, written with skops.io.dump.")
    ] = None,
    failed: Annotated[str | None, typer.Option(help="There is no model, for this reason.")] = None,
    by: Annotated[str, typer.Option(help="Who says so.")] = "",
) -> None:
    """Say how a training ended that was handed over. driftloop then judges the model like its own."""
    if (artifact is None) == (failed is None):
        fail("give one of --artifact FILE and --failed REASON")

    def take() -> tuple[str, str | None]:
        settings = Settings()
        with opened(settings, "change") as engine:
            runs = RunStore(engine)
            command_id = _find(runs, run).command.command_id
            told = _told(command_id, artifact, failed, signed(by or _account(), _account()))
            files = ArtifactStore(settings.resolved_artifacts)
            taken = take_result(HandoverStore(engine), runs, files, told, time.time())
            if taken == "unknown":
                raise RegistryError(f"the training of run {command_id} was not handed over")
            if taken == "ended":
                raise RegistryError(f"run {command_id} has ended, or has another result; nothing was changed")
            if taken == "same":
                return "the run has this result already", None
            return "the result was taken; a trainer goes on with the run", publish_outbox(engine, settings)

    from driftloop.cli._publishing import publish_outbox
    from driftloop.training.handover.results import take_result

    said, unpublished = call(take)
    typer.echo(said)
    if unpublished is not None:
        typer.echo(f"it waits in the outbox for a trainer: {unpublished}")


def _account() -> str:
    try:
        return getuser()
    except (KeyError, OSError):
        return "unknown"


def _told(command_id: str, artifact: Path | None, failed: str | None, by: str) -> Result:
    from driftloop.training.handover.messages import Artifact, Result

    if artifact is None:
        return Result(command_id=command_id, status="failed", reason=(failed or "")[:4_000], by=by)
    try:
        content = artifact.read_bytes()
    except OSError as error:
        raise RegistryError(f"{artifact} cannot be read: {error.strerror}") from None
    digest = hashlib.sha256(content).hexdigest()
    return Result(command_id=command_id, status="succeeded", artifact=Artifact(sha256=digest, content=content), by=by)


def _follow(runs: RunStore, found: Run, as_json: bool) -> bool:
    """Print what comes until the end. Returns whether the run failed."""
    command_id = found.command.command_id
    if not as_json:
        _print_head(found)
    ended: Run | None = None
    for told in follow(runs, command_id):
        if isinstance(told, NoAnswer):
            # Not on standard output, where JSON is read by a program.
            typer.echo(f"{_clock(time.time())}  {printable(told.sentence)}", err=True)
            continue
        if isinstance(told, RunState):
            ended = told.run
        if as_json:
            typer.echo(msgspec.json.encode(_entry(told) if isinstance(told, RunEntry) else _state(told)).decode())
        elif isinstance(told, RunState):
            typer.echo(f"{_clock(time.time())}  {told.state}: {printable(told.sentence)}")
        else:
            typer.echo(_line(told))
    if as_json and ended is not None:
        typer.echo(msgspec.json.encode({**_summary(ended, None), **_details(ended)}).decode())
    return ended is not None and ended.outcome == "failed"


def _find(runs: RunStore, name: str) -> Run:
    found = runs.find(name) if name else []
    if not found:
        raise RegistryError(f"there is no run {name!r}; `driftloop runs list` shows them")
    exact = [run for run in found if run.command.command_id == name]
    if len(found) > 1 and not exact:
        names = ", ".join(run.command.command_id[:_SHORT] for run in found)
        raise RegistryError(f"several runs begin with {name!r}: {names}; give more of the one that you mean")
    return (exact or found)[0]


def _summary(run: Run, phase: RunEntry | None) -> dict[str, Any]:
    state = state_of(run, time.time())
    return {
        "run": run.command.command_id,
        "model": run.command.model_id,
        "state": state.state,
        "outcome": run.outcome,
        "version": run.version,
        "reason": run.reason,
        "told": state.sentence,
        "phase": None if phase is None else phase.text,
        "attempts": run.attempts,
        "owner": run.owner,
        "started": _time(run.started),
        "ended": None if run.ended is None else _time(run.ended),
        "seconds": None if run.ended is None else round(run.ended - run.started, 3),
    }


def _details(run: Run) -> dict[str, Any]:
    return {"command": msgspec.to_builtins(run.command), "files": dict(run.files)}


def _entry(entry: RunEntry) -> dict[str, Any]:
    return {"attempt": entry.attempt, "kind": entry.kind, "at": _time(entry.at), "text": entry.text}


def _state(state: RunState) -> dict[str, Any]:
    return {"kind": "state", "state": state.state, "text": state.sentence}


def _print_head(run: Run) -> None:
    command = run.command
    typer.echo(f"run {command.command_id} of {command.model_id}, champion {command.champion_version}")
    typer.echo(f"because of {command.trigger}: {command.reason}")
    typer.echo(f"data of {format_time(command.from_ms)} to {format_time(command.to_ms)}")
    for role, uri in run.files.items():
        typer.echo(f"{role}: {uri}")
    ended = "" if run.ended is None else f", ended {_time(run.ended)}"
    typer.echo(f"started {_time(run.started)}{ended}, {counted(run.attempts, 'attempt')}")


def _print_phases(run: Run, entries: list[RunEntry]) -> None:
    phases = [entry for entry in entries if entry.kind == "phase"]
    typer.echo("")
    for number, phase in enumerate(phases):
        until = phases[number + 1].at if number + 1 < len(phases) else run.ended
        took = "" if until is None else f"{max(0.0, until - phase.at):8.1f} s"
        typer.echo(f"{_clock(phase.at)} {took:>10}  {printable(phase.text)}")


def _print_log(entries: list[RunEntry]) -> None:
    typer.echo("")
    for entry in entries:
        if entry.kind == "line":
            typer.echo(_line(entry))


def _line(entry: RunEntry) -> str:
    mark = "== " if entry.kind == "phase" else "   "
    return f"{_clock(entry.at)}  {mark}{printable(entry.text)}"


def _time(seconds: float) -> str:
    return format_time(round(seconds * 1000))


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(seconds))


def _print_json(value: Any) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


@contextmanager
def _runs() -> Iterator[RunStore]:
    with opened(Settings(), "read") as engine:
        yield RunStore(engine)
