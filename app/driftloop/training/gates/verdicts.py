"""From a value, its interval and a bound to a verdict, and from the parts of a gate to its result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from driftloop.events.decisions import GateDetail, GateResult, GateVerdict
from driftloop.spec.gates import GateSpec, PassCriterion

__all__ = ["CRITERION_WORDS", "finite", "gate_result", "listed", "no_champion", "refused", "undecided", "within"]

#: A gate's report is part of messages, which have at most 2 MB; a detail takes about 200 bytes.
MOST_DETAILS: Final = 500
_MOST_NAMED: Final = 5

CRITERION_WORDS: Final[dict[PassCriterion, str]] = {
    "proven": "it must be shown: the whole interval lies within the bound",
    "not_refuted": "refused only if the whole interval lies beyond the bound",
    "point": "by the estimate itself",
}


def within(
    criterion: PassCriterion,
    value: float | None,
    low: float | None,
    high: float | None,
    bound: float,
    *,
    at_least: bool = False,
) -> GateVerdict:
    """Whether a value is at most ``bound`` (``at_least``: at least), as the criterion reads its interval.

    ``insufficient`` where the number that decides is None or not finite (an infinite limit is only beyond any bound).
    """
    if criterion == "point":
        decisive = value
    else:
        # What is proven shows at the limit that is the worse one, what is refuted at the better one.
        worse, better = (low, high) if at_least else (high, low)
        decisive = worse if criterion == "proven" else better
    if value is None or decisive is None or math.isnan(value) or math.isnan(decisive):
        return "insufficient"
    return "passed" if (decisive >= bound if at_least else decisive <= bound) else "failed"


def gate_result(
    name: str, gate: GateSpec, details: Sequence[GateDetail], sentence: str, worst: GateDetail | None = None
) -> GateResult:
    """A gate fails if any detail has failed, and is undecided if none has passed (but for those that
    decide nothing). Its numbers are those of ``worst``.

    What is undecided does not pass unless the spec says so. The details that failed come first, then the undecided.
    """
    verdicts = {detail.verdict for detail in details}
    verdict: GateVerdict = "insufficient"
    if "failed" in verdicts:
        verdict = "failed"
    elif "passed" in verdicts or verdicts == {"info"}:
        verdict = "passed"
    order = ("failed", "insufficient", "passed", "info")
    ranked = sorted(details, key=lambda detail: order.index(detail.verdict))
    left_out = len(ranked) - MOST_DETAILS
    if left_out > 0:
        sentence += f"; {left_out:,} more results are not listed"
    return GateResult(
        gate=name,
        passed=verdict == "passed" or (verdict == "insufficient" and gate.insufficient == "pass"),
        value=None if worst is None else worst.value,
        bound=None if worst is None else worst.bound,
        low=None if worst is None else worst.low,
        high=None if worst is None else worst.high,
        sentence=sentence,
        verdict=verdict,
        details=ranked[:MOST_DETAILS],
    )


def undecided(name: str, gate: GateSpec, sentence: str, details: Sequence[GateDetail] = ()) -> GateResult:
    """A gate that could not judge: it passes only if the spec says that this is fine."""
    return GateResult(
        gate=name,
        passed=gate.insufficient == "pass",
        value=None,
        bound=None,
        sentence=sentence,
        verdict="insufficient",
        details=list(details),
    )


def refused(name: str, sentence: str) -> GateResult:
    """A gate that the challenger fails before anything could be measured."""
    return GateResult(gate=name, passed=False, value=None, bound=None, sentence=sentence, verdict="failed")


def no_champion(name: str, details: Sequence[GateDetail] = ()) -> GateResult:
    """A gate that compares with the champion alone, of a model that has none yet."""
    return GateResult(
        gate=name,
        passed=True,
        value=None,
        bound=None,
        sentence="no champion to compare with",
        verdict="passed",
        details=list(details),
    )


def listed(names: Sequence[str]) -> str:
    """Up to five names, and how many more there are.

    >>> listed(["a", "b", "c", "d", "e", "f", "g"])
    'a, b, c, d, e and 2 more'
    """
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
