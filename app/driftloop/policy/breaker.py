"""The breaker: after so many challengers in a row that failed the same gate, training again is left to people.

When a training ends hangs on machines and not on the logs, so this guard is the trainer's, before it trains; what the
policy commands stays a function of the logs alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["MANUAL", "Attempt", "what_broke"]

#: The trigger of a command that a person gave.
MANUAL = "manual"


@dataclass(frozen=True)
class Attempt:
    """A version that was judged by gates: those that it failed, whether it ever was champion, and what asked for it.

    ``undecided_gates`` could not judge it for lack of rows that the champion has not learned, which says nothing about
    the challenger and passes with time.
    """

    version: str
    failed_gates: frozenset[str]
    promoted: bool
    trigger: str
    undecided_gates: frozenset[str] = frozenset()


def what_broke(attempts: Iterable[Attempt], failures: int) -> str | None:
    """Why no training may start by itself, or None. ``attempts``: a model's versions, oldest first.

    The row of challengers that counts goes back to the last one that passed every gate or became champion, or to the
    last one that a person asked for, which itself is the first of the new row: with one more try from a person the
    loop goes on by itself. A challenger with undecided gates alone neither counts nor ends the row.
    """
    row = _failed_in_a_row(list(attempts))[-failures:]
    if len(row) < failures:
        return None
    same = frozenset.intersection(*(attempt.failed_gates for attempt in row))
    if not same:
        return None
    gates = ", ".join(sorted(same))
    versions = ", ".join(attempt.version for attempt in row)
    last = "the last challenger" if failures == 1 else f"the last {failures} challengers"
    return (
        f"{last} ({versions}) failed the gate {gates}, so nothing is trained by itself any more "
        "(policy.breaker): find out why, and ask with 'driftloop retrain'"
    )


def _failed_in_a_row(attempts: Sequence[Attempt]) -> list[Attempt]:
    row: list[Attempt] = []
    for attempt in reversed(attempts):
        if attempt.promoted or not (attempt.failed_gates or attempt.undecided_gates):
            break
        if attempt.failed_gates:
            row.append(attempt)
        if attempt.trigger == MANUAL:
            break
    return row[::-1]
