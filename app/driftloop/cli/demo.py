"""``driftloop demo``: a year of real flights through the whole loop, on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from driftloop.demo import CACHE, FOLDER

__all__ = ["demo"]


def demo(
    quick: Annotated[bool, typer.Option("--quick", help="Seven weeks, not eleven months: under a minute.")] = False,
    speed: Annotated[
        float | None,
        typer.Option(
            min=1.0, help="Event time runs so many times faster than the clock; without it, as fast as it can."
        ),
    ] = None,
    ahead: Annotated[
        float, typer.Option(min=3.0, help="Event days that the service may be ahead of the slowest final window.")
    ] = 5.0,
    hold: Annotated[bool, typer.Option("--hold", help="Keep broker and services up afterwards, until Ctrl-C.")] = False,
    keep: Annotated[
        Path, typer.Option(help="Folder for database, model files and logs; a former demo in it is replaced.")
    ] = FOLDER,
    cache: Annotated[Path, typer.Option(help="Folder in which the flights are kept.")] = CACHE,
) -> None:
    """Run the closed loop on the flights out of New York in 2013: predict, watch, retrain, promote, compare."""
    # Broker, worker, trainer, service and screen share the machine: with more threads each, training on a few thousand
    # rows is slower, since they wait for each other. Set before scikit-learn is imported, and handed to the children.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

    from rich.console import Console

    from driftloop.demo.flights import FlightsUnavailable
    from driftloop.demo.run import DemoError, DemoOptions, run_demo
    from driftloop.demo.supervisor import ChildDied
    from driftloop.kafka.admin import BrokerError

    options = DemoOptions(folder=keep, cache=cache, quick=quick, speed=speed, ahead_days=ahead, hold=hold)
    try:
        code = run_demo(options, Console())
    except (DemoError, FlightsUnavailable, ChildDied, BrokerError) as error:
        typer.echo(f"driftloop demo: {error}", err=True)
        code = 1
    sys.exit(code)
