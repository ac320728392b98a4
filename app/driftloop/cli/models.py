"""``driftloop models list|show|shadow|approve|reject|promote|rollback|register``."""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from driftloop.cli._database import call
from driftloop.cli._gates import print_gates
from driftloop.cli._how_trained import how_trained
from driftloop.cli._publishing import publish_outbox
from driftloop.events.time import format_time
from driftloop.registry import (
    ArtifactStore,
    NewVersion,
    Registry,
    RegistryError,
    VersionRow,
    create_schema,
    open_engine,
)
from driftloop.registry.by_hand import reject_undecided, said, signed
from driftloop.settings import Settings

__all__ = ["app"]

app = typer.Typer(help="Models, their versions, promotion and rollback.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the history and told to subscribers.")]

By = Annotated[str, typer.Option("--by", help="Who decides: the name that the history keeps.")]
Why = Annotated[str, typer.Option("--reason", help="Why; it is kept in the history and told to subscribers.")]

#: So many of the newest versions are compared metric by metric.
_METRICS_OF_VERSIONS = 5

#: How long a command waits for a broker before it leaves publishing to the worker.
_BROKER_TIMEOUT_S = 2.0


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """Every model with its champion and challenger."""
    rows = call(lambda: _registry(Settings()).models())
    if as_json:
        _print_json(rows)
        return
    if not rows:
        typer.echo("no model is registered yet; 'driftloop models register' adds one")
        return
    table = Table("model", "task", "champion", "challenger", "versions", box=None, pad_edge=False)
    for row in rows:
        table.add_row(escape(row.model_id), row.task, row.champion or "-", row.challenger or "-", str(row.versions))
    Console().print(table)


@app.command()
def show(
    model: str,
    version: Annotated[
        str | None, typer.Option("--gates", help="The version whose gates are told in full. Default: the newest.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """One model: its versions with metrics and gates, and the history of its aliases."""

    def read() -> dict[str, Any]:
        registry = _registry(Settings())
        found = next((row for row in registry.models() if row.model_id == model), None)
        if found is None:
            raise RegistryError(f"the registry holds no model {model!r}; see 'driftloop models list'")
        if version is not None and registry.version(model, version) is None:
            raise RegistryError(f"the model {model!r} has no version {version!r}")
        return {"model": found, "versions": registry.versions(model), "history": registry.history(model)}

    content = call(read)
    if as_json:
        _print_json(content)
        return
    console = Console()
    found = content["model"]
    console.print(f"{escape(model)}: {found.task}, champion {found.champion or 'none yet'}", highlight=False)
    table = Table("version", "status", "alias", "trained on", "registered", box=None, pad_edge=False)
    for row in content["versions"]:
        table.add_row(*map(escape, _version_cells(row)))
    console.print(table)
    if any(row.metrics for row in content["versions"]):
        console.print()
        console.print(_metrics_table(content["versions"][-_METRICS_OF_VERSIONS:]))
    console.print()
    said = [f"{row.version} {line}" for row in content["versions"] for line in how_trained(row.lineage)]
    said += [f"{row.version} {sentence}" for row in content["versions"] for sentence in _validation_sentences(row)]
    for line in said:
        console.print(line, markup=False, highlight=False)
    if said:
        console.print()
    print_gates(console, content["versions"], version)
    for change in content["history"]:
        moved = f"{change.previous_version or 'nothing'} -> {change.version or 'nothing'}"
        text = f"{format_time(change.event_time_ms)} {change.alias} {change.action}: {moved}, by {change.actor}"
        console.print(f"{text}{': ' if change.reason else ''}{change.reason}", markup=False, highlight=False)


def _validation_sentences(row: VersionRow) -> list[str]:
    """What the checks of the training data found; `driftloop datasets show` has all of it."""
    validation = row.lineage.get("validation")
    if not validation:
        return []
    head = f"validation {validation['verdict']}: {validation['checks']} checks of the training data"
    return [head, *(f"validation {found}" for found in validation["found"])]


def _version_cells(row: VersionRow) -> list[str]:
    span = "-"
    if row.trained_from_ms is not None and row.trained_to_ms is not None:
        span = f"{_minute(row.trained_from_ms)} to {_minute(row.trained_to_ms)}"
    return [row.version, row.status, ", ".join(row.aliases), span, _minute(row.event_time_ms)]


def _minute(time_ms: int) -> str:
    return format_time(time_ms - time_ms % 60_000).replace(":00Z", "Z")


def _metrics_table(versions: list[VersionRow]) -> Table:
    """A line for each metric that any of the versions was registered with, a column for each version."""
    table = Table("metric", box=None, pad_edge=False)
    for row in versions:
        table.add_column(escape(row.version), justify="right")
    for name in sorted({name for row in versions for name in row.metrics}):
        table.add_row(name, *(f"{row.metrics[name]:.4g}" if name in row.metrics else "" for row in versions))
    return table


@app.command()
def shadow(
    model: str,
    start: Annotated[
        str | None, typer.Option("--start", help="Begin to compare this version, which nothing is decided about.")
    ] = None,
    reason: Reason = "compared by hand",
    as_json: AsJson = False,
) -> None:
    """How challengers stand against the champion, in shadow or as a canary, with every look."""
    from driftloop.cli._shadow_view import comparisons_of, print_comparisons, shown
    from driftloop.registry.shadows import ShadowStore

    if start is not None:
        _change(lambda registry: _start_shadow(registry, model, start, reason), model, as_json)
        return

    def read() -> list[Any]:
        registry = _registry(Settings())
        return comparisons_of(ShadowStore(registry.engine), model, {row.model_id for row in registry.models()})

    found = call(read)
    if as_json:
        _print_json(shown(found))
    else:
        print_comparisons(model, found, Console())


def _start_shadow(registry: Registry, model: str, version: str, reason: str) -> str:
    from driftloop.registry.shadows import ShadowStore
    from driftloop.spec import load_specs
    from driftloop.training.shadow_watch import first_window_ms

    spec = load_specs(Settings().specs).get(model)
    if spec is None or spec.promotion not in ("shadow", "canary"):
        raise RegistryError(f"{Settings().specs} must hold a spec of {model!r} with promotion: shadow or canary")
    row = registry.version(model, version)
    if row is None:
        raise RegistryError(f"the model {model!r} has no version {version!r}; see 'driftloop models show {model}'")
    ShadowStore(registry.engine).start(
        model,
        version,
        "canary" if spec.promotion == "canary" else "shadow",
        from_ms=first_window_ms(spec, row),
        reason=reason,
        event_time_ms=_now_ms(),
        actor=_actor(),
    )
    return version


@app.command()
def promote(
    model: str,
    version: str,
    reason: Reason = "promoted by hand",
    force: Annotated[
        bool, typer.Option("--force", help="Also one that was rejected, is compared, or waits for approval.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a version the champion, and tell subscribers."""

    def act(registry: Registry) -> str:
        registry.promote(model, version, reason, _now_ms(), _actor(), allow_rejected=force)
        return version

    _change(act, model, as_json)


@app.command()
def approve(
    model: str,
    version: str,
    by: By,
    reason: Why,
    force: Annotated[
        bool, typer.Option("--force", help="Also if it was judged against another champion than the present one.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let a version that passed its gates and waits for approval become the champion, and tell subscribers."""

    def act(registry: Registry) -> str:
        registry.approve(model, version, said(reason), _now_ms(), signed(by, _actor()), anyway=force)
        return version

    _change(act, model, as_json)


@app.command()
def reject(model: str, version: str, by: By, reason: Why, as_json: AsJson = False) -> None:
    """Say that a version which is not decided yet does not become the champion, and tell subscribers."""

    def act(registry: Registry) -> str:
        reject_undecided(registry, model, version, reason, _now_ms(), signed(by, _actor()))
        return version

    _change(act, model, as_json)


@app.command()
def rollback(model: str, reason: Reason = "rolled back by hand", as_json: AsJson = False) -> None:
    """Make the champion before the present one the champion again, and tell subscribers."""
    _change(lambda registry: registry.rollback(model, reason, _now_ms(), _actor()), model, as_json)


@app.command()
def register(
    model: str,
    reference: Annotated[Path, typer.Option(help="Rows the version was trained or validated on (.parquet, .csv).")],
    artifact: Annotated[Path | None, typer.Option(help="The model file, kept in the artifact folder.")] = None,
    version: Annotated[str | None, typer.Option(help="Its name, as in prediction events. Default: v1, v2, ...")] = None,
    prediction_column: Annotated[
        str | None, typer.Option(help="Column of the model's output, so that it is watched too.")
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(help="Column of the truth; with predictions it gives the reference performance.")
    ] = None,
    time_column: Annotated[
        str | None,
        typer.Option(help="Column of the event time, so that thresholds by spread and quantile know its windows."),
    ] = None,
    reason: Reason = "registered by hand",
    as_json: AsJson = False,
) -> None:
    """Register a version that was trained elsewhere. The first one of a model becomes its champion."""

    def act(registry: Registry) -> str:
        from driftloop.cli._reference_file import read_reference
        from driftloop.spec import load_specs, spec_digest

        specs = load_specs(Settings().specs)
        if model not in specs:
            raise RegistryError(f"{Settings().specs} holds no spec of {model!r}; it has {', '.join(specs)}")
        spec = specs[model]
        if label_column is not None and prediction_column is None:
            raise RegistryError("labels alone give no performance; name the --prediction-column too")
        data = read_reference(reference, spec, prediction=prediction_column, label=label_column, time=time_column)
        registry.ensure_model(model, spec.task, spec_digest(spec))
        name = version or registry.next_version(model)
        profile = data.profile(spec, name)
        stored = None
        if artifact is not None:
            try:
                stored = registry.store.put_bytes(artifact.read_bytes(), artifact.suffix)
            except OSError as error:
                raise RegistryError(f"cannot store {artifact}: {error.strerror}") from None
        registry.register_version(
            NewVersion(
                model_id=model,
                version=name,
                artifact=stored,
                profile=profile.encode(),
                lineage={"source": "driftloop models register", "reference_rows": profile.rows},
                metrics={metric: found.value for metric, found in data.metrics.items()},
                event_time_ms=_now_ms(),
                reason=reason,
                actor=_actor(),
            )
        )
        if registry.champion(model) is None:
            registry.promote(model, name, "the model's first version", _now_ms(), _actor())
        return name

    _change(act, model, as_json)


def _change(act: Any, model: str, as_json: bool) -> None:
    """Do something to a model, publish the events of it, and say how the model stands now."""

    def change() -> tuple[str, VersionRow | None, Registry]:
        registry = _registry(Settings())
        name = act(registry)
        return name, registry.champion(model), registry

    name, champion, registry = call(change)
    unpublished = publish_outbox(registry.engine, Settings(), _BROKER_TIMEOUT_S)
    champion_name = None if champion is None else champion.version
    if as_json:
        _print_json({"model": model, "version": name, "champion": champion_name, "published": unpublished is None})
    else:
        typer.echo(f"{model}: version {name}; the champion is {champion_name or 'none yet'}")
    if unpublished is not None:
        typer.echo(f"subscribers are told when a worker or trainer publishes it: {unpublished}", err=True)


def _registry(settings: Settings) -> Registry:
    engine = open_engine(settings.resolved_database_url)
    create_schema(engine)
    return Registry(engine, ArtifactStore(settings.resolved_artifacts))


def _print_json(value: Any) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _now_ms() -> int:
    return round(time.time() * 1000)


def _actor() -> str:
    """Who did it: the name of the account, for the history."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
