"""Windows whose data is broken upstream: which ones they were, and what they have a part in.

A column that is stuck or missing drifts, moves the scores, and costs performance. That is to be repaired, not learned.
"""

from __future__ import annotations

from msgspec import Struct

from driftloop.events.reports import WindowReport
from driftloop.policy.drifting import broken_data
from driftloop.policy.since_change import latest_change_ms
from driftloop.policy.streaks import LEAST_SHARE
from driftloop.spec.model import ModelSpec
from driftloop.spec.policy import TriggerSpec

__all__ = ["Break", "after_inputs", "change_of_the_world_ms", "has_part"]


class Break(Struct, frozen=True, kw_only=True):
    """Input windows in a row with broken data, from ``since_ms`` to ``end_ms``; ``data`` says what is wrong with the
    last of them."""

    since_ms: int
    end_ms: int
    data: str


def after_inputs(known: Break | None, report: WindowReport, last_end_ms: int | None) -> Break | None:
    """The newest break once a model's next input window is there; the one before it ended at ``last_end_ms``."""
    data = broken_data(report)
    if not data:
        return known
    goes_on = known is not None and known.end_ms == last_end_ms
    since_ms = known.since_ms if known is not None and goes_on else report.window_start_ms
    return Break(since_ms=since_ms, end_ms=report.window_end_ms, data=data)


def has_part(known: Break | None, trigger: TriggerSpec, report: WindowReport) -> bool:
    """Whether the break has a part in all that an outcome report says for a trigger on performance or concept drift:
    in a window of its own, or, of a rule over several windows, in a quarter of them or more; of a change that a
    detector has found also if it is dated into the break."""
    if known is None:
        return False
    if trigger.on == "performance":
        fired = [said.metric for said in report.metrics if said.decision == "drift" and "/" not in said.metric]
        return all(_share(known, report, _windows_of(name)) >= LEAST_SHARE for name in fired)
    if _share(known, report, 1) > 0:
        return True
    return all(_inside(known, said.changed_at_ms) for said in report.concept if said.state == "drift")


def _windows_of(metric: str) -> int:
    """How many windows a rule is over, by what reports call it: ``roc_auc``, ``roc_auc@14``, ``roc_auc@14#2``."""
    _, _, windows = metric.partition("#")[0].partition("@")
    return int(windows or 1)


def _share(known: Break, report: WindowReport, windows: int) -> float:
    """The share of so many windows up to the report's that is broken; 0 or less: none is."""
    length_ms = windows * (report.window_end_ms - report.window_start_ms)
    broken_ms = min(known.end_ms, report.window_end_ms) - max(known.since_ms, report.window_end_ms - length_ms)
    return broken_ms / length_ms


def change_of_the_world_ms(
    known: Break | None, spec: ModelSpec, report: WindowReport, changed_at_ms: int | None
) -> int | None:
    """:func:`~driftloop.policy.since_change.latest_change_ms` without what is dated into the break, unless the spec
    takes breaks for the world."""
    latest_ms = latest_change_ms(report, changed_at_ms)
    return changed_at_ms if spec.policy.hold_on_broken_data and _inside(known, latest_ms) else latest_ms


def _inside(known: Break | None, at_ms: int | None) -> bool:
    return known is not None and at_ms is not None and known.since_ms <= at_ms < known.end_ms
