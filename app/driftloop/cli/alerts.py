"""``driftloop alerts tail``."""

from __future__ import annotations

import time
from typing import Annotated, Literal

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from driftloop.client.subscribers import AlertSubscriber
from driftloop.events.messages import Alert
from driftloop.events.time import format_time
from driftloop.kafka.config import client_config
from driftloop.kafka.log_reader import LogReadError
from driftloop.settings import Settings

__all__ = ["alert_line", "app"]

app = typer.Typer(help="Follow alerts.", no_args_is_help=True)

_STYLES = {"opened": "bold red", "firing": "red", "resolved": "green"}


@app.callback()
def _group() -> None:
    """Follow alerts."""


@app.command()
def tail(
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Show past alerts first.")] = False,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Go on when all past alerts are shown.")] = True,
    model: Annotated[str | None, typer.Option(help="Only alerts of this model.")] = None,
    for_seconds: Annotated[float | None, typer.Option("--for", help="Stop after so many seconds.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Print alerts as they open, go on and resolve, until Ctrl-C."""
    settings = Settings()
    start: Literal["beginning", "end"] = "beginning" if from_beginning else "end"
    deadline = None if for_seconds is None else time.monotonic() + for_seconds
    console = Console(highlight=False, soft_wrap=True)
    try:
        with AlertSubscriber(client_config(settings), model, settings.topic_prefix, start) as alerts:
            while deadline is None or time.monotonic() < deadline:
                for alert in alerts.poll(0.2):
                    if as_json:
                        typer.echo(msgspec.json.encode(alert).decode())
                    else:
                        console.print(alert_line(alert))
                if not follow and alerts.caught_up:
                    break
    except (LogReadError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def alert_line(alert: Alert) -> Text:
    """One alert in one line: window, state, model and version, what, and the sentence."""
    where = alert.subject + (f" [{alert.segment}]" if alert.segment else "")
    where += f" over {alert.sliding}" if alert.sliding else ""
    message = alert.message.removeprefix(f"{alert.subject}: ")
    return Text.assemble(
        f"{format_time(alert.window_start_ms)}  ",
        (f"{alert.state:<8}", _STYLES[alert.state]),
        f"  {alert.severity:<8}  {alert.model_id} {alert.model_version}  {alert.kind}  {where}: {message}",
    )
