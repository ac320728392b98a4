"""When to retrain: triggers and guards."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from driftloop.events.time import parse_duration_ms
from driftloop.spec.basics import Duration, Fraction, PositiveInt

__all__ = [
    "AtMost",
    "BreakerSpec",
    "PolicySpec",
    "TriggerSpec",
]

#: A drift trigger counts windows in which this share of the judged features drift, unless it says otherwise.
_SHARE = 0.3


class TriggerSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One reason to retrain: ``performance`` (a performance rule fires in ``consecutive`` windows), ``drift`` (at least
    ``share`` of the judged features drift in ``consecutive`` windows; with ``share_weighted`` at least that share of
    their importance instead; with ``severity`` only features whose drift is critical count), ``concept`` (a concept
    detector says drift in ``consecutive`` windows), ``schedule`` (``every`` so long, or at the times of ``cron`` in
    ``timezone``), ``volume`` (``rows`` new labeled rows), ``estimated_performance`` (a rule with ``estimated`` fires in
    ``consecutive`` input windows).

    ``last``: what this trigger asks for is trained on data of so long, whatever ``training.last`` says. Keys that mean
    nothing to a trigger are null.
    """

    on: Literal["performance", "drift", "concept", "schedule", "volume", "estimated_performance"]
    consecutive: PositiveInt | None = None
    share: Fraction | None = None
    share_weighted: Fraction | None = None
    severity: Literal["critical"] | None = None
    every: Duration | None = None
    cron: str | None = None
    timezone: str | None = None
    rows: PositiveInt | None = None
    last: Duration | None = None

    @property
    def windows_in_a_row(self) -> int:
        return 1 if self.consecutive is None else self.consecutive

    @property
    def least_share(self) -> float:
        return _SHARE if self.share is None else self.share

    @property
    def every_ms(self) -> int | None:
        return None if self.every is None else parse_duration_ms(self.every)

    @property
    def last_ms(self) -> int | None:
        return None if self.last is None else parse_duration_ms(self.last)


class AtMost(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """No more than so many ``retrains`` in any stretch of event time as long as ``per``."""

    retrains: Annotated[int, Meta(ge=1, le=1_000)]
    per: Duration

    @property
    def per_ms(self) -> int:
        return parse_duration_ms(self.per)


class BreakerSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """No more automatic training once so many challengers in a row have failed the same gate."""

    failures: Annotated[int, Meta(ge=1, le=100)] = 3


class PolicySpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When to retrain, and what holds it back. ``warm_up``: how long, or how many windows, a champion is left alone at
    first. ``hold_on_broken_data``: triggers on drift, estimates, performance and concept drift wait while the newest
    input window's data, or that of a window that makes them due, is broken upstream, since a model trained on it would
    learn the break. ``hold_on_label_shift``: every trigger waits while labels come for some
    scores and not for others as they did before. ``breaker`` null: challengers may fail for ever."""

    triggers: list[TriggerSpec] = field(default_factory=list)
    cooldown: Duration = "7d"
    minimum_labeled_rows: PositiveInt = 500
    warm_up: Duration | PositiveInt | None = None
    at_most: AtMost | None = None
    hold_on_broken_data: bool = True
    hold_on_label_shift: bool = True
    breaker: BreakerSpec | None = field(default_factory=BreakerSpec)

    @property
    def cooldown_ms(self) -> int:
        return parse_duration_ms(self.cooldown)
