"""Windows whose data is broken upstream: which ones they were, and what they have a part in.

A column that is stuck or missing drifts, moves the scores, and costs performance. That is to be repaired, not learned.
"""

from __future__ import annotations

from msgspec import Struct

from driftloop.events.reports import WindowReport
from driftloop.policy.drifting import broken_data
from driftloop.policy.since_change import latest_change_ms
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


def has_part(known: Break | None, spec: ModelSpec, trigger: TriggerSpec, report: WindowReport) -> bool:
    """Whether broken windows have a part in what an outcome report says for a trigger on performance or concept drift:
    the window itself is one, or of a rule over several windows one of these, or every change that detectors have found
    is dated into the break."""
    if known is None:
        return False
    windows = 1
    if trigger.on == "performance":
        windows = max((rule.windows for rule in spec.performance.rules if not rule.estimated), default=1)
    if known.end_ms > report.window_end_ms - windows * spec.window_ms:
        return True
    found = [said.changed_at_ms for said in report.concept if said.state == "drift"]
    return trigger.on == "concept" and all(_inside(known, changed_at_ms) for changed_at_ms in found)


def change_of_the_world_ms(
    known: Break | None, spec: ModelSpec, report: WindowReport, changed_at_ms: int | None
) -> int | None:
    """:func:`~driftloop.policy.since_change.latest_change_ms` without what is dated into the break, unless the spec
    takes breaks for the world."""
    latest_ms = latest_change_ms(report, changed_at_ms)
    return changed_at_ms if spec.policy.hold_on_broken_data and _inside(known, latest_ms) else latest_ms


def _inside(known: Break | None, at_ms: int | None) -> bool:
    return known is not None and at_ms is not None and known.since_ms <= at_ms < known.end_ms
