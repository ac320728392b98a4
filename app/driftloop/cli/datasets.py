"""``driftloop datasets list|show``: what models were trained on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import typer
from rich.text import Text
from sqlalchemy import Engine

from driftloop.cli._database import call, opened
from driftloop.cli._rows import Column, print_pairs, print_rows
from driftloop.cli._tables import open_console, print_facts, printable
from driftloop.events.time import format_time
from driftloop.registry import ArtifactError, ArtifactStore
from driftloop.registry.dataset_rows import DatasetRow, datasets
from driftloop.registry.errors import RegistryError
from driftloop.settings import Settings

__all__ = ["app"]

app = typer.Typer(help="Data sets: where they come from and what is in them.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_SHORT = 12
_COLUMNS = [
    Column("data set", said=""),
    Column("model", said=""),
    Column("rows", right=True),
    Column("predictions", said=""),
    Column("used by"),
    Column("validation"),
]
_COUNTS = [Column("column", said=""), *(Column(name, right=True) for name in ("count", "missing", "distinct"))]
_NUMBERS = [Column(name, right=True) for name in ("min", "5%", "median", "95%", "max", "mean")]


@app.command("list")
def list_datasets(
    model: Annotated[str | None, typer.Argument(help="Only this model's.")] = None, as_json: AsJson = False
) -> None:
    """Every data set that a version was trained on, or a run has cut, the last used first."""

    def read() -> list[dict[str, Any]]:
        with _opened() as (engine, store):
            return [_summary(row, store) for row in datasets(engine, model)]

    rows = call(read)
    if as_json:
        _print_json(rows)
        return
    if not rows:
        typer.echo("there is no data set yet" if model is None else f"there is no data set of {model} yet")
        return
    cells = []
    for row in rows:
        used = ", ".join(row["versions"]) or f"{len(row['runs'])} run(s) without a version"
        rows_text = "?" if row["rows"] is None else f"{row['rows']:,}"
        cells.append((row["sha256"][:_SHORT], row["model"], rows_text, _span(row), used, row["verdict"] or "-"))
    print_rows(open_console(), _COLUMNS, cells)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A model (its last used data set), or the beginning of a SHA-256.")],
    as_json: AsJson = False,
) -> None:
    """One data set: where it comes from, its columns, and what validation found."""

    def read() -> dict[str, Any]:
        with _opened() as (engine, store):
            row = _find(datasets(engine), name)
            content = {**_summary(row, store), "manifest": _read(store, row.manifest_uri)}
            content["validation"] = _read(store, row.validation_uri)
            content["expectations"] = _read(store, row.expectations_uri)
            content["dvc"] = None
            if (content["manifest"] or {}).get("dvc"):
                content["dvc"] = f"{row.uri}.dvc"
            return content

    content = call(read)
    if as_json:
        _print_json(content)
        return
    _print_origin(content)
    _print_columns((content["manifest"] or {}).get("statistics", []))
    _print_validation(content["validation"])


def _find(rows: list[DatasetRow], name: str) -> DatasetRow:
    of_model = [row for row in rows if row.model_id == name]
    if of_model:
        return of_model[0]
    found = [row for row in rows if name and row.sha256.startswith(name.lower())]
    if not found:
        raise RegistryError(f"there is no data set or model {name!r}; `driftloop datasets list` shows the data sets")
    if len({row.sha256 for row in found}) > 1:
        names = ", ".join(sorted({row.sha256[:_SHORT] for row in found})[:5])
        raise RegistryError(f"several data sets begin with {name!r}: {names}; give more of the one that you mean")
    return found[0]


def _summary(row: DatasetRow, store: ArtifactStore) -> dict[str, Any]:
    manifest, validation = _read(store, row.manifest_uri) or {}, _read(store, row.validation_uri) or {}
    return {
        "sha256": row.sha256,
        "model": row.model_id,
        "uri": row.uri,
        "manifest_uri": row.manifest_uri,
        "versions": row.versions,
        "runs": row.runs,
        "rows": manifest.get("rows"),
        "first_predicted_ms": manifest.get("first_predicted_ms"),
        "last_predicted_ms": manifest.get("last_predicted_ms"),
        "verdict": validation.get("verdict"),
        "last_used": format_time(row.last_used_ms),
    }


def _read(store: ArtifactStore, uri: str | None) -> dict[str, Any] | None:
    """A JSON file of the store; None if there is none. A damaged or absent one is said in its place."""
    if uri is None:
        return None
    try:
        content = msgspec.json.decode(store.read(uri))
    except (ArtifactError, OSError, msgspec.DecodeError) as error:
        return {"problem": str(error)}
    return content if isinstance(content, dict) else {"problem": f"{uri} is no JSON object"}


def _span(row: dict[str, Any]) -> str:
    if row["first_predicted_ms"] is None:
        return "?"
    return f"{_minute(row['first_predicted_ms'])} to {_minute(row['last_predicted_ms'])}"


def _minute(time_ms: int) -> str:
    return format_time(time_ms - time_ms % 60_000).replace(":00Z", "Z")


def _print_origin(content: dict[str, Any]) -> None:
    pairs = [("data set", content["sha256"]), ("model", content["model"]), ("file", content["uri"])]
    pairs.append(("manifest", content["manifest_uri"] or "none"))
    if content["dvc"]:
        pairs.append(("pointer for DVC", content["dvc"]))
    manifest = content["manifest"] or {}
    if "problem" in manifest:
        typer.echo(manifest["problem"], err=True)
    if "rows" in manifest:
        pairs += _origin(content, manifest)
    pairs.append(("versions trained on it", ", ".join(content["versions"]) or "none"))
    pairs.append(("runs", ", ".join(run[:_SHORT] for run in content["runs"]) or "none"))
    print_pairs(open_console(), pairs)


def _origin(content: dict[str, Any], manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    left_out = f"{manifest['superseded']:,} superseded, {manifest['unreadable']:,} do not fit the spec"
    yield "rows", f"{manifest['rows']:,} ({left_out}), predicted {_span(content)}"
    if manifest["topic"]:
        offsets = ", ".join(
            f"{part['partition']}: {part['first']:,} to {part['end']:,}" for part in manifest["sources"]
        )
        yield "topic", f"{manifest['topic']}, offsets by partition {offsets or 'unknown'}"
    else:
        yield "topic", "none, the rows never were on one"
    query = manifest.get("query")
    if query:
        asked = f"{format_time(query['from_ms'])} to {format_time(query['to_ms'])}"
        yield "query", f"model {query['model']}, {asked}, by {query['code_version']}"
    if manifest.get("spec_digest"):
        yield "spec", manifest["spec_digest"]


def _print_columns(statistics: list[dict[str, Any]]) -> None:
    """Numeric columns and the others in a table each: they have different things to say."""
    numbers = [column for column in statistics if column.get("minimum") is not None]
    console = open_console()
    if numbers:
        console.print()
        print_rows(console, [*_COUNTS, *_NUMBERS], [[*_counts(one), *_quantiles(one)] for one in numbers])
    others = [column for column in statistics if column.get("minimum") is None]
    if others:
        console.print()
        columns = [*_COUNTS, Column("most frequent", sentence=True)]
        print_rows(console, columns, [[*_counts(one), _most_frequent(one)] for one in others])


def _counts(column: dict[str, Any]) -> list[str]:
    return [column["name"], f"{column['count']:,}", f"{column['missing']:,}", f"{column.get('distinct', '')}"]


def _quantiles(column: dict[str, Any]) -> list[str]:
    quantiles = column.get("quantiles", {})
    numbers = [column["minimum"], *(quantiles.get(key) for key in ("0.05", "0.5", "0.95"))]
    numbers += [column.get("maximum"), column.get("mean")]
    return ["" if number is None else f"{number:.6g}" for number in numbers]


def _most_frequent(column: dict[str, Any]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in column.get("top", [])[:5])


def _print_validation(validation: dict[str, Any] | None) -> None:
    typer.echo("")
    if validation is None or "problem" in validation:
        typer.echo("no result of a validation is kept" if validation is None else validation["problem"])
        return
    against = f", compared with {validation['reference_version']}" if validation.get("reference_version") else ""
    typer.echo(f"validation: {validation['verdict']} after {len(validation['checks'])} checks{against}")
    for check in validation["checks"]:
        if check["verdict"] != "pass":
            facts = Text(printable(f"{check['verdict']}  {check['check']}"))
            print_facts(open_console(), facts, printable(check["sentence"]))


def _print_json(value: Any) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


@contextmanager
def _opened() -> Iterator[tuple[Engine, ArtifactStore]]:
    settings = Settings()
    with opened(settings, "read") as engine:
        yield engine, ArtifactStore(settings.resolved_artifacts)
