"""The real command line in a process that does damage to itself at chosen points (``python -m faults.faulty worker``).

``FAULTY_RELAY``: points of :func:`faults.relay_child.faulty`, each with the number of the publish at which the process
dies (``before:0 amid:2``), one a life, counted in files of ``FAULTY_FOLDER`` so that a process that was started again
goes on to the next. Either process can publish what the other one has committed: the trainer leaves it to the assessor
until that has died at all of its points, then the assessor to the trainer.

``FAULTY_HEARTBEAT_S``: how long the loop may be silent; SIGUSR1 then blocks it for ``FAULTY_BLOCK_S``.

``FAULTY_SLOW``: services that take so many seconds longer for every batch (``monitor:0.05 assessor:1``); each time one
line says so.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from driftloop.cli.main import main as command_line
from driftloop.events.batch import RecordBatch
from driftloop.registry import OutboxRow, Relay
from driftloop.streaming import worker
from driftloop.streaming.assessor import AssessorService
from driftloop.streaming.monitor import MonitorService
from driftloop.training import service
from faults.relay_child import Send, faulty

Fault = tuple[str, int, Path]


def _role() -> str:
    return next(name for name in ("monitor", "assessor", "trainer") if name in sys.argv)


def _next_fault(role: str) -> Fault | None:
    """The point of this life, or of a life of another role: its name, before which publish, and the file that says that
    it was reached. None: all were."""
    folder = Path(os.environ["FAULTY_FOLDER"])
    for number, point in enumerate(os.environ["FAULTY_RELAY"].split()):
        if not (folder / f"{role}-{number}").exists():
            name, at = point.split(":")
            return name, int(at), folder / f"{role}-{number}"
    return None


def _others_turn(role: str) -> bool:
    assessor_is_done, trainer_is_done = _next_fault("assessor") is None, _next_fault("trainer") is None
    return not assessor_is_done if role == "trainer" else assessor_is_done and not trainer_is_done


def _damaged(send: Send, fault: Fault | None) -> Send:
    if fault is None:
        return send
    calls = 0
    name, at, marker = fault

    def sending(rows: Sequence[OutboxRow]) -> None:
        nonlocal calls
        if calls < at:
            calls += 1
            send(rows)
            return
        marker.touch()  # the process dies in the next line
        faulty(send, name)(rows)

    return sending


def _slow(service: Any, name: str, delay_s: float) -> None:
    honest: Callable[..., Awaitable[None]] = service.take

    async def take(self: Any, batch: RecordBatch) -> None:
        print(f"slow {name}: {len(batch)} records", flush=True)
        await asyncio.sleep(delay_s)
        await honest(self, batch)

    service.take = take


def main() -> None:
    for slow in os.environ.get("FAULTY_SLOW", "").split():
        name, delay = slow.split(":")
        _slow({"monitor": MonitorService, "assessor": AssessorService}[name], name, float(delay))
    if "FAULTY_RELAY" in os.environ:
        role = _role()
        fault = _next_fault(role)
        honest: Callable[..., None] = Relay.__init__
        publish: Callable[[Relay], int] = Relay.publish_pending

        def damaged(self: Relay, engine: Any, send: Send, **more: Any) -> None:
            # Short leases: every death holds up the next life for one.
            honest(self, engine, _damaged(send, fault), **{**more, "lease_s": 2.0})

        Relay.__init__ = damaged  # type: ignore[assignment,method-assign]
        Relay.publish_pending = lambda self: 0 if _others_turn(role) else publish(self)  # type: ignore[method-assign]
    if "FAULTY_HEARTBEAT_S" in os.environ:
        worker._HEARTBEAT_S = service._HEARTBEAT_S = float(os.environ["FAULTY_HEARTBEAT_S"])
        signal.signal(signal.SIGUSR1, lambda *_: time.sleep(float(os.environ["FAULTY_BLOCK_S"])))
    command_line()


if __name__ == "__main__":
    main()
