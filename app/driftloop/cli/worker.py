"""``driftloop worker``: monitor and assessor agents."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

__all__ = ["worker"]


class RoleOption(StrEnum):
    ALL = "all"
    MONITOR = "monitor"
    ASSESSOR = "assessor"


def worker(
    role: Annotated[RoleOption, typer.Option(help="which agents this process runs")] = RoleOption.ALL,
) -> None:
    """Join predictions with labels, keep windows, judge them, raise alerts and retrain commands."""
    from driftloop.observability.logs import configure_logs
    from driftloop.settings import Settings
    from driftloop.streaming.worker import run_worker

    settings = Settings()
    configure_logs(settings.log_level, settings.log_format, secrets=settings.secrets())
    sys.exit(run_worker(settings, role.value))
