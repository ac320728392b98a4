"""Follows a training run through the database until it ends, from whatever process or machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from driftloop.registry.database import what_it_said
from driftloop.registry.run_log import RunEntry
from driftloop.registry.runs import Run, RunStore

__all__ = ["PATIENCE_S", "NoAnswer", "RunState", "follow", "state_of"]

T = TypeVar("T")
#: A database that does not answer is asked for so long before the run's end is given up as unknown.
PATIENCE_S = 60.0
_AGAIN_S = 2.0
#: What a database, or the way to it, that is away for a moment raises.
_AWAY = (OperationalError, InterfaceError, PoolTimeout)

#: The lease is renewed three times while it lasts; clocks of two machines may differ by this.
_CLOCKS_APART_S = 2.0


@dataclass(frozen=True)
class RunState:
    """``ended``, ``running``, ``handed over``: it waits for a training elsewhere, ``put off``: it is tried again later,
    or ``abandoned``: no trainer holds it. ``sentence`` says so. ``run``: what that
    was read from, of the last state the run's end."""

    state: Literal["ended", "running", "handed over", "put off", "abandoned"]
    sentence: str
    run: Run | None = field(default=None, compare=False)


@dataclass(frozen=True)
class NoAnswer:
    """The database does not answer, or (``over``) answers again. ``sentence`` says so and what comes of it."""

    sentence: str
    over: bool = False


def state_of(run: Run, now: float) -> RunState:
    """How a run stands at the wall time ``now`` (seconds since 1970)."""
    if run.outcome is not None:
        told = f": {run.reason}" if run.reason else ""
        version = f" as {run.version}" if run.version else ""
        return RunState("ended", f"{run.outcome}{version}{told}", run)
    silent = now - run.lease_until
    if silent <= _CLOCKS_APART_S:
        return RunState("running", f"attempt {run.attempts} by {run.owner}")
    if run.waiting is not None and run.next_try is None:
        return RunState("handed over", run.waiting)
    if run.waiting is not None and run.next_try is not None and now - run.next_try <= _CLOCKS_APART_S:
        return RunState("put off", run.waiting)
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
    patience_s: float = PATIENCE_S,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> Iterator[RunEntry | RunState | NoAnswer]:
    """The run's entries after the one numbered ``after``, as they come, and its state whenever that changes.

    Ends after the state ``ended``, all entries told before. A database that is away is asked again, for ``patience_s``
    at a time, with one :class:`NoAnswer` when that begins and one when it is over; nothing is told twice or left out.
    Raises ``KeyError`` if there is no such run, and what the database raises once patience is over, or at once if it is
    an error that will not pass.
    """
    known = None
    away_since: float | None = None
    while True:
        try:
            run = runs.get(command_id)
            # Read before the entries: what was written before the end is then not missed.
            batch = [] if run is None else runs.log.entries(command_id, after)
        except _AWAY as error:
            now = monotonic()
            if away_since is None:
                away_since = now
                yield NoAnswer(
                    f"the database does not answer ({what_it_said(error)}); it is asked again for {patience_s:g} s, "
                    "and the run goes on meanwhile"
                )
            elif now - away_since >= patience_s:
                raise
            sleep(_AGAIN_S)
            continue
        if away_since is not None:
            yield NoAnswer(f"the database answers again after {_duration(monotonic() - away_since)}", over=True)
            away_since = None
        if run is None:
            raise KeyError(command_id)
        if batch:
            after = batch[-1].number
            yield from batch
            if run.outcome is not None:  # there may be more of them
                continue
        state = state_of(run, clock())
        told = (state.state, run.attempts)
        if told != known:
            known = told
            yield state
        if state.state == "ended":
            return
        if not batch:
            sleep(poll_s)
