"""``driftloop registry verify|gc``."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import msgspec
import typer

from driftloop.cli._database import call, fail, opened
from driftloop.registry import ArtifactStore, Registry
from driftloop.registry.database import Access, reading
from driftloop.registry.garbage import Garbage, StoredFile, find_garbage, remove_garbage
from driftloop.registry.history_chain import check_history
from driftloop.registry.references import damaged_files
from driftloop.settings import Settings

__all__ = ["app"]

app = typer.Typer(help="The registry as a whole: is it as it was written, and which files nobody needs.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def verify(
    noted: Annotated[
        str | None,
        typer.Option(help="A head noted earlier (printed here, and in model events): it must still be in the chain."),
    ] = None,
    files: Annotated[bool, typer.Option("--files", help="Also read every model file and data set.")] = False,
    as_json: AsJson = False,
) -> None:
    """Recompute the chain of the history, compare versions and aliases with it. Exit code 1 if it differs."""

    if noted is not None and re.fullmatch("[0-9a-f]{64}", noted) is None:
        fail(f"expected a SHA-256 of 64 hexadecimal digits, got {noted!r}")

    def check() -> None:
        with _registry("read") as registry, reading(registry.engine) as connection:
            found = check_history(connection, noted)
            damaged = damaged_files(connection, registry.store) if files else []
        if as_json:
            fields = {
                "rows": found.rows,
                "head_sha256": found.head_sha256,
                "broken": found.broken,
                "problem": found.problem,
                "files": damaged,
            }
            typer.echo(json.dumps(fields, indent=2))
        else:
            if found.problem is None:
                typer.echo(f"the history is as it was written: {found.rows:,} rows, head {found.head_sha256}")
            for problem in filter(None, [found.problem, *damaged]):
                typer.echo(problem, err=True)
        if found.problem is not None or damaged:
            raise typer.Exit(1)

    call(check)


@app.command()
def gc(
    grace_hours: Annotated[
        float, typer.Option(min=1.0, help="Only files that were put into the store longer ago than this.")
    ] = 24.0,
    delete: Annotated[bool, typer.Option("--delete", help="Remove them; otherwise they are only listed.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the files in the artifact folder that no version, run or data set refers to, or remove them."""

    def collect() -> None:
        now_s, grace_s = time.time(), grace_hours * 3600
        with _registry("change" if delete else "read") as registry:
            found = find_garbage(registry, now_s=now_s, grace_s=grace_s)
            removed = remove_garbage(registry, now_s=now_s, grace_s=grace_s) if delete else []
            if as_json:
                fields = {**msgspec.to_builtins(found), "removed": msgspec.to_builtins(removed)}
                typer.echo(json.dumps(fields, indent=2))
            else:
                _tell(found, removed, delete)

    call(collect)


def _tell(found: Garbage, removed: list[StoredFile], delete: bool) -> None:
    shown = removed if delete else found.files
    for file in shown:
        typer.echo(f"{'removed' if delete else 'unreferenced'}  {file.uri}  {file.size:,} bytes")
    total = sum(file.size for file in shown)
    done = "removed" if delete else "would be removed by --delete"
    typer.echo(f"{len(shown):,} files, {total:,} bytes {done}; {found.referred:,} are referred to")
    if found.young:
        typer.echo(f"{found.young:,} more are unreferenced, but too young")
    if found.waits_for is not None:
        started = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(found.waits_for))
        typer.echo(f"a training that started at {started} has not ended, so files younger than it stay")
    if found.foreign:
        typer.echo(
            f"left alone, not the store's: {', '.join(found.foreign[:10])}{' ...' if found.foreign[10:] else ''}"
        )


@contextmanager
def _registry(access: Access) -> Iterator[Registry]:
    settings = Settings()
    with opened(settings, access) as engine:
        yield Registry(engine, ArtifactStore(settings.resolved_artifacts))
