"""``driftloop audit``: one prediction on one page."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TextIO

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from driftloop.audit.account import Account
    from driftloop.audit.page import Section
    from driftloop.settings import Settings

__all__ = ["Form", "audit"]

_BROKER_TIMEOUT_S = 5.0


class Form(StrEnum):
    """How the page is written."""

    text = "text"
    json = "json"
    html = "html"


def audit(
    prediction_id: Annotated[str, typer.Argument()],
    model: Annotated[str | None, typer.Option(help="Where several models use the id.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="It was made at this time or later: older records are not read.")
    ] = None,
    stop: Annotated[str | None, typer.Option("--to", help="It was made before this time.")] = None,
    form: Annotated[Form, typer.Option("--format", help="How the page is written.")] = Form.text,
    output: Annotated[Path | None, typer.Option(help="Write it into this file.")] = None,
) -> None:
    """What was predicted, by which version, approved when and why, trained on what, and what came true."""
    from sqlalchemy.exc import SQLAlchemyError

    from driftloop.audit.find import AuditError
    from driftloop.cli._database import did_not_answer
    from driftloop.cli._span import parse_span
    from driftloop.kafka.admin import BrokerError
    from driftloop.kafka.log_reader import LogReadError
    from driftloop.registry import RegistryError
    from driftloop.settings import Settings

    try:
        from_ms, to_ms = parse_span(start, stop)
        account = _account(Settings(), prediction_id, model, from_ms, to_ms)
    except (AuditError, BrokerError, LogReadError, RegistryError, ValueError) as error:
        _fail(str(error))
    except SQLAlchemyError as error:
        _fail(did_not_answer(error))
    _write(account, form, output)


def _fail(text: str) -> NoReturn:
    typer.echo(f"driftloop audit: {text}", err=True)
    raise typer.Exit(1)


def _account(
    settings: Settings, prediction_id: str, model: str | None, from_ms: int | None, to_ms: int | None
) -> Account:
    from driftloop.audit.account import account_of
    from driftloop.audit.find import trace
    from driftloop.cli._database import opened
    from driftloop.kafka.admin import wait_for_broker
    from driftloop.kafka.config import client_config
    from driftloop.registry import ArtifactStore, AssessmentStore, Registry
    from driftloop.spec import SpecError, load_specs

    with opened(settings, "read") as engine:
        try:
            today = load_specs(settings.specs)
        except SpecError:
            today = {}  # the lineage has the spec of the training
        config = client_config(settings, client_id="driftloop-audit")
        wait_for_broker(config, _BROKER_TIMEOUT_S)
        found = trace(config, settings.topics, prediction_id, model=model, from_ms=from_ms, to_ms=to_ms)
        registry = Registry(engine, ArtifactStore(settings.resolved_artifacts))
        return account_of(found, settings.topics, registry, AssessmentStore(engine), today)


def _write(account: Account, form: Form, output: Path | None) -> None:
    from driftloop.audit.page import sections
    from driftloop.events.time import format_time

    title = f"Prediction {account.prediction_id}"
    subtitle = f"of {account.model_id} {account.model_version}, made at {format_time(account.predicted_at_ms)}"
    if form is Form.json:
        import msgspec

        text = msgspec.json.format(msgspec.json.encode(account), indent=2).decode() + "\n"
    elif form is Form.html:
        from driftloop.audit.html import html_page

        text = html_page(title, subtitle, sections(account))
    else:
        from rich.console import Console

        from driftloop.cli._tables import open_console

        if output is None:
            _print(open_console(), title, subtitle, sections(account))
            return
        with _opened(output) as stream:
            _print(Console(file=stream, highlight=False, width=160), title, subtitle, sections(account))
        return
    if output is None:
        typer.echo(text, nl=False)
        return
    with _opened(output) as stream:
        stream.write(text)


def _opened(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        _fail(f"cannot write {path}: {error.strerror}")


def _print(console: Console, title: str, subtitle: str, found: Iterable[Section]) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from driftloop.cli._tables import printable

    console.print(Text(printable(title), style="bold"))
    console.print(Text(printable(subtitle)))
    for section in found:
        console.print()
        console.print(Text(printable(section.title), style="bold"))
        if section.facts:
            facts = Table.grid(padding=(0, 2))
            facts.add_column(style="dim", no_wrap=True)
            facts.add_column(overflow="fold")
            for name, value in section.facts:
                facts.add_row(Text(printable(name)), Text(printable(value)))
            console.print(Padding(facts, (0, 0, 0, 2), expand=False))
        for grid in section.grids:
            table = Table(box=None, pad_edge=False, header_style="dim")
            for at, name in enumerate(grid.columns):
                table.add_column(Text(name), justify="right" if at in grid.right else "left", overflow="fold")
            for row in grid.rows:
                table.add_row(*(Text(printable(cell)) for cell in row))
            console.print(Padding(table, (0, 0, 0, 2), expand=False))
        for sentence in section.sentences:
            console.print(Padding(Text(printable(sentence)), (0, 0, 0, 2), expand=False))
