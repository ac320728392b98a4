"""``driftloop trainer``: carries out retrain commands."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

__all__ = ["trainer"]


def trainer(
    lease_seconds: Annotated[
        float, typer.Option(min=1.0, help="how long a command stays with a trainer that has died")
    ] = 15.0,
) -> None:
    """Take retrain commands, train challengers, compare them with the champion, register and promote."""
    from driftloop.observability.logs import configure_logs
    from driftloop.settings import Settings
    from driftloop.training.service import run_trainer

    settings = Settings()
    configure_logs(settings.log_level, settings.log_format, secrets=settings.secrets())
    code = run_trainer(settings, lease_s=lease_seconds)
    # To take an interpreter of this size apart takes seconds, and nothing watches over the grace period meanwhile.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
