"""When to retrain: triggers and guards."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from driftloop.events.time import parse_duration_ms
from driftloop.spec.basics import Duration, Fraction, PositiveInt

__all__ = [
    "PolicySpec",
    "TriggerSpec",
]


class TriggerSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One reason to retrain: ``performance`` (a performance rule fires in ``consecutive`` windows), ``drift`` (at least
    ``share`` of the judged features drift in ``consecutive`` windows; with ``share_weighted`` at least that share of
    their importance instead), ``concept`` (a concept detector says drift in ``consecutive`` windows), ``schedule``
    (``every`` so long), ``estimated_performance`` (a rule with ``estimated`` fires in ``consecutive`` input windows).
    """

    on: Literal["performance", "drift", "concept", "schedule", "estimated_performance"]
    consecutive: PositiveInt = 1
    share: Fraction = 0.3
    share_weighted: Fraction | None = None
    every: Duration | None = None

    @property
    def every_ms(self) -> int | None:
        return None if self.every is None else parse_duration_ms(self.every)


class PolicySpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When to retrain, and what holds it back. ``hold_on_broken_data``: a drift trigger waits while the newest input
    window's data is broken upstream, since a model trained on it would learn the break."""

    triggers: list[TriggerSpec] = field(default_factory=list)
    cooldown: Duration = "7d"
    minimum_labeled_rows: PositiveInt = 500
    hold_on_broken_data: bool = True

    @property
    def cooldown_ms(self) -> int:
        return parse_duration_ms(self.cooldown)
