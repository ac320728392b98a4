"""A process that runs through the logs of some source partitions and hands their steps to its parent.

It is started with :mod:`multiprocessing`, by :mod:`driftloop.replay.processes`. What it says are frames (:data:`Frame`)
over a pipe, whose buffer is all that waits between the two: while it is full, this process waits. When the parent is
gone the pipe breaks, and the process ends.
"""

from __future__ import annotations

import os
import signal
import traceback
from multiprocessing.connection import Connection

import msgspec
from msgspec import Struct

from driftloop.joining.store import StoreError
from driftloop.kafka.log_reader import LogReadError
from driftloop.registry import ArtifactStore, Registry, open_engine
from driftloop.registry.errors import RegistryError
from driftloop.replay.job import ReplayJob, sources_of
from driftloop.replay.order import in_time_order
from driftloop.replay.source import ReplayStep
from driftloop.streaming.catalog import RegistryCatalog

__all__ = ["Failed", "Frame", "Taken", "run"]


class Taken(Struct, frozen=True, tag="step"):
    """The next step of a partition; None: it has come to its end."""

    partition: int
    step: ReplayStep | None


class Failed(Struct, frozen=True, tag="failed"):
    """Why the process ends before its partitions do. ``mendable``: by whoever reads it; else it is a fault of the
    program, and ``reason`` says where."""

    reason: str
    mendable: bool


Frame = Taken | Failed

_encode = msgspec.json.Encoder().encode


def run(job: ReplayJob, channel: Connection) -> None:
    """Entry point of the process."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        _run(job, channel)
    except BrokenPipeError:
        os._exit(0)  # nobody listens any more
    except (LogReadError, LookupError, RegistryError, StoreError, ValueError) as error:
        channel.send_bytes(_encode(Failed(str(error), True)))
    except Exception:  # noqa: BLE001  (whatever it is, the parent is told)
        channel.send_bytes(_encode(Failed(traceback.format_exc(), False)))


def _run(job: ReplayJob, channel: Connection) -> None:
    settings = job.settings
    engine = open_engine(settings.resolved_database_url, "read")
    catalog = RegistryCatalog(job.specs, Registry(engine, ArtifactStore(settings.resolved_artifacts)))
    try:
        for partition, step in in_time_order(sources_of(job, catalog)):
            channel.send_bytes(_encode(Taken(partition, step)))
    finally:
        engine.dispose()
