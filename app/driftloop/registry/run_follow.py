"""Follows a training run through the database until it ends, from whatever process or machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from driftloop.registry.run_log import RunEntry
from driftloop.registry.runs import Run, RunStore

__all__ = ["RunState", "follow", "state_of"]

#: The lease is renewed three times while it lasts; clocks of two machines may differ by this.
_CLOCKS_APART_S = 2.0


@dataclass(frozen=True)
class RunState:
    """``ended``, ``running``, ``handed over``: it waits for a training elsewhere, ``put off``: it is tried again later,
    or ``abandoned``: no trainer holds it. ``sentence`` says so."""

    state: Literal["ended", "running", "handed over", "put off", "abandoned"]
    sentence: str


def state_of(run: Run, now: float) -> RunState:
    """How a run stands at the wall time ``now`` (seconds since 1970)."""
    if run.outcome is not None:
        told = f": {run.reason}" if run.reason else ""
        version = f" as {run.version}" if run.version else ""
        return RunState("ended", f"{run.outcome}{version}{told}")
    silent = now - run.lease_until
    if silent <= _CLOCKS_APART_S:
        return RunState("running", f"attempt {run.attempts} by {run.owner}")
    if run.waiting is not None:
        return RunState("handed over" if run.next_try is None else "put off", run.waiting)
    return RunState(
        "abandoned",
        f"in progress, but its trainer {run.owner} has died or stopped: its lease ended {_duration(silent)} ago. "
        "Another trainer takes the command up again",
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {rest}s" if minutes else f"{rest}s"


def follow(
    runs: RunStore,
    command_id: str,
    *,
    after: int = 0,
    poll_s: float = 0.5,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[RunEntry | RunState]:
    """The run's entries after the one numbered ``after``, as they come, and its state whenever that changes.

    Ends after the state ``ended``, all entries told before. Raises ``KeyError`` if there is no such run.
    """
    known = None
    while True:
        run = runs.get(command_id)
        if run is None:
            raise KeyError(command_id)
        # Read before the entries: what was written before the end is then not missed.
        state = state_of(run, clock())
        while batch := runs.log.entries(command_id, after):
            after = batch[-1].number
            yield from batch
        told = (state.state, run.attempts)
        if told != known:
            known = told
            yield state
        if state.state == "ended":
            return
        sleep(poll_s)
