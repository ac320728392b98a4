"""``driftloop models list|show|shadow|approve|reject|promote|rollback|register``."""

from __future__ import annotations

import getpass
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from driftloop.cli._database import call, opened
from driftloop.cli._model_view import print_model
from driftloop.cli._publishing import publish_outbox
from driftloop.cli._rows import Column, print_rows
from driftloop.cli._tables import open_console
from driftloop.registry import (
    ArtifactStore,
    ModelRow,
    NewVersion,
    Registry,
    RegistryError,
    VersionRow,
)
from driftloop.registry.by_hand import reject_undecided, said, signed
from driftloop.registry.database import Access
from driftloop.registry.errors import UnknownModelError
from driftloop.settings import Settings

__all__ = ["app"]

app = typer.Typer(help="Models, their versions, promotion and rollback.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the history and told to subscribers.")]

By = Annotated[str, typer.Option("--by", help="Who decides: the name that the history keeps.")]
Why = Annotated[str, typer.Option("--reason", help="Why; it is kept in the history and told to subscribers.")]

_MODEL_COLUMNS = [
    Column("model", said=""),
    Column("task", said=""),
    Column("champion"),
    Column("challenger"),
    Column("versions", right=True),
]

#: How long a command waits for a broker before it leaves publishing to the worker.
_BROKER_TIMEOUT_S = 2.0


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """Every model with its champion and challenger."""

    def read() -> list[ModelRow]:
        with _opened("read") as registry:
            return registry.models()

    rows = call(read)
    if as_json:
        _print_json(rows)
        return
    if not rows:
        typer.echo("no model is registered yet; 'driftloop models register' adds one")
        return
    cells = [(row.model_id, row.task, row.champion or "-", row.challenger or "-", str(row.versions)) for row in rows]
    print_rows(open_console(), _MODEL_COLUMNS, cells)


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
        with _opened("read") as registry:
            found = next((row for row in registry.models() if row.model_id == model), None)
            if found is None:
                raise UnknownModelError(model)
            if version is not None and registry.version(model, version) is None:
                raise RegistryError(f"the model {model!r} has no version {version!r}")
            return {"model": found, "versions": registry.versions(model), "history": registry.history(model)}

    content = call(read)
    if as_json:
        _print_json(content)
        return
    print_model(open_console(), content["model"], content["versions"], content["history"], version)


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
        with _opened("read") as registry:
            return comparisons_of(ShadowStore(registry.engine), model, {row.model_id for row in registry.models()})

    found = call(read)
    if as_json:
        _print_json(shown(found))
    else:
        print_comparisons(model, found, open_console())


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

    from driftloop.cli._reference_file import ReferenceData, read_reference
    from driftloop.spec import ModelSpec, load_specs, spec_digest

    def prepare() -> tuple[ModelSpec, ReferenceData]:
        specs = load_specs(Settings().specs)
        if model not in specs:
            raise RegistryError(f"{Settings().specs} holds no spec of {model!r}; it has {', '.join(specs)}")
        spec = specs[model]
        if label_column is not None and prediction_column is None:
            raise RegistryError("labels alone give no performance; name the --prediction-column too")
        return spec, read_reference(reference, spec, prediction=prediction_column, label=label_column, time=time_column)

    # Before the registry, which is not made for a command that cannot work.
    spec, data = call(prepare)

    def act(registry: Registry) -> str:
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

    _change(act, model, as_json, "create")


def _change(act: Any, model: str, as_json: bool, access: Access = "change") -> None:
    """Do something to a model, publish the events of it, and say how the model stands now."""

    def change() -> tuple[str, VersionRow | None, str | None]:
        with _opened(access) as registry:
            name = act(registry)
            champion = registry.champion(model)
            return name, champion, publish_outbox(registry.engine, Settings(), _BROKER_TIMEOUT_S)

    name, champion, unpublished = call(change)
    champion_name = None if champion is None else champion.version
    if as_json:
        _print_json({"model": model, "version": name, "champion": champion_name, "published": unpublished is None})
    else:
        typer.echo(f"{model}: version {name}; the champion is {champion_name or 'none yet'}")
    if unpublished is not None:
        typer.echo(f"subscribers are told when a worker or trainer publishes it: {unpublished}", err=True)


@contextmanager
def _opened(access: Access) -> Iterator[Registry]:
    settings = Settings()
    with opened(settings, access) as engine:
        yield Registry(engine, ArtifactStore(settings.resolved_artifacts))


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
