"""``driftloop reproduce``: make a version again from its lineage and compare everything."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from driftloop.settings import Settings
    from driftloop.training.differences import Difference
    from driftloop.training.reproduction import ReadRange, Reproduction

__all__ = ["reproduce"]

_BROKER_TIMEOUT_S = 3.0
_NOT_TRIED = 2
_LONGEST = 200
#: So many of one subject's differences are shown; JSON has more.
_SHOWN = 5


def reproduce(
    model: Annotated[str, typer.Argument()],
    version: Annotated[str, typer.Argument()],
    from_log: Annotated[
        bool, typer.Option("--from-log", help="Cut the rows from the topic again, or do not try at all.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a version again and compare data set, model, profile, metrics and gates to the last bit.

    Exit code 0: all is equal, 1: something differs, 2: it cannot be tried.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from driftloop.cli._database import did_not_answer
    from driftloop.registry import RegistryError
    from driftloop.settings import Settings
    from driftloop.training.reproduction import CannotReproduce

    try:
        found = _reproduced(Settings(), model, version, from_log)
    except (CannotReproduce, RegistryError, ValueError) as error:
        _refuse(str(error))
    except SQLAlchemyError as error:
        _refuse(did_not_answer(error))
    if as_json:
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(_content(found)), indent=2).decode())
    else:
        _print(found)
    if not found.equal:
        raise typer.Exit(1)


def _refuse(text: str) -> NoReturn:
    typer.echo(f"driftloop reproduce: {text}", err=True)
    raise typer.Exit(_NOT_TRIED)


def _reproduced(settings: Settings, model: str, version: str, from_log: bool) -> Reproduction:
    from driftloop.cli._database import opened
    from driftloop.registry import ArtifactStore, Registry, RegistryError
    from driftloop.spec import SpecError, load_specs
    from driftloop.training.reproduction import reproduce as make_again

    with opened(settings, "read") as engine, tempfile.TemporaryDirectory(prefix="driftloop-reproduce-") as folder:
        registry = Registry(engine, ArtifactStore(settings.resolved_artifacts))
        row = registry.version(model, version)
        if row is None:
            raise RegistryError(f"the registry has no version {version!r} of {model!r}; see 'driftloop models list'")
        try:
            today = load_specs(settings.specs)
        except SpecError:
            today = {}  # the lineage has the spec of the training
        read, no_log = _reader(settings)
        return make_again(registry, row, today, folder=Path(folder), read=read, no_log=no_log, from_log=from_log)


def _reader(settings: Settings) -> tuple[ReadRange | None, str]:
    from driftloop.kafka.admin import BrokerError, wait_for_broker
    from driftloop.kafka.config import client_config
    from driftloop.kafka.log_reader import read_partition

    config = client_config(settings, client_id="driftloop-reproduce")
    try:
        wait_for_broker(config, _BROKER_TIMEOUT_S)
    except BrokerError as error:
        return None, str(error)

    def read(topic: str, partition: int, first: int, end: int) -> Iterator[Iterable[Any]]:
        return read_partition(config, topic, partition, first, end)

    return read, ""


def _content(found: Reproduction) -> dict[str, Any]:
    return {
        "model": found.model_id,
        "version": found.version,
        "equal": found.equal,
        "rows_from": found.rows_from,
        "environment_differences": found.environment,
        "spec_changes": found.spec_changes,
        "notes": found.notes,
        "comparisons": [
            {
                "subject": one.subject,
                "compared": one.compared,
                "equal": one.equal,
                "differences": one.differences,
                "number_of_differences": one.count,
            }
            for one in found.comparisons
        ],
    }


def _print(found: Reproduction) -> None:
    from driftloop.cli._tables import printable

    typer.echo(f"{found.model_id} {found.version}, made again")
    if found.environment:
        typer.echo("what is different here, which may explain differences below (recorded -> here):")
        for part in found.environment:
            typer.echo(f"  {part.where}: {printable(_told(part))}")
    else:
        typer.echo("environment: the same code, packages and kind of machine")
    if found.spec_changes:
        names = ", ".join(sorted({part.where.split(".")[0] for part in found.spec_changes}))
        typer.echo(f"the present spec is another one (in {names}); that of the training was used")
    typer.echo(f"rows: {printable(found.rows_from)}")
    for note in found.notes:
        typer.echo(f"note: {printable(note)}")
    for one in found.comparisons:
        typer.echo(f"{'equal  ' if one.equal else 'DIFFERS'}  {one.subject}: {printable(one.compared)}")
        for part in one.differences[:_SHOWN]:
            where = f"{part.where}: " if part.where else ""
            typer.echo(f"           {where}{printable(_told(part))}")
        if one.count > _SHOWN:
            typer.echo(f"           and {one.count - _SHOWN:,} more")
    differ = sum(1 for one in found.comparisons if not one.equal)
    typer.echo("everything is equal" if found.equal else f"{differ} of {len(found.comparisons)} comparisons differ")


def _told(part: Difference) -> str:
    return f"{_short(part.recorded)} -> {_short(part.found)}"


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
