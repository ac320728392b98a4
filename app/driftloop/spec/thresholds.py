"""Thresholds of drift methods: a number, or a rule by which the number is found for each window."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

__all__ = ["SMALLEST_FALSE_ALARM_RATE", "Threshold", "ThresholdRule", "threshold_problems"]

#: A calibrated threshold needs at least one draw of the null distribution beyond it; fewer than 1,999 draws are made.
SMALLEST_FALSE_ALARM_RATE = 0.001


class ThresholdRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Exactly one of: ``spread`` (mean plus so many standard deviations of the statistic over the reference's windows),
    ``quantile`` (of the statistic over the reference's windows), ``false_alarms`` (the statistic that windows of this
    size exceed with this probability if nothing has changed), ``times`` (a multiple of the threshold; ``critical``
    alone). ``at_least`` beside it: the smallest effect that counts, however sure it is; large windows tell any."""

    spread: float | None = None
    quantile: float | None = None
    false_alarms: float | None = None
    times: float | None = None
    at_least: float | None = None

    @property
    def needs_windows(self) -> bool:
        """Whether the rule looks at the reference's windows."""
        return self.spread is not None or self.quantile is not None


Threshold = float | ThresholdRule | None

_NAMES = ("spread", "quantile", "false_alarms", "times")


def threshold_problems(rule: ThresholdRule, *, critical: bool) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is wrong with a rule, with the key below it."""
    allowed = _NAMES if critical else _NAMES[:-1]
    given = [name for name in _NAMES if getattr(rule, name) is not None]
    if len(given) != 1 or given[0] not in allowed:
        yield (), f"expected a number or a mapping with exactly one of {', '.join(allowed)}; got {given or 'none'}"
        return
    if rule.spread is not None and rule.spread <= 0.0:
        yield ("spread",), f"expected a number of standard deviations above 0, such as 3, got {rule.spread:g}"
    if rule.quantile is not None and not 0.5 <= rule.quantile < 1.0:
        yield ("quantile",), f"expected a share from 0.5 to below 1, such as 0.99, got {rule.quantile:g}"
    if rule.false_alarms is not None and not SMALLEST_FALSE_ALARM_RATE <= rule.false_alarms <= 0.5:
        yield (
            ("false_alarms",),
            f"expected a probability from {SMALLEST_FALSE_ALARM_RATE:g} to 0.5, such as 0.01, "
            f"got {rule.false_alarms:g}",
        )
    if rule.at_least is not None and rule.at_least <= 0.0:
        yield ("at_least",), f"expected a number above 0, got {rule.at_least:g}"
    if rule.times is not None and rule.times < 1.0:
        yield ("times",), f"expected a multiple of the threshold, at least 1, got {rule.times:g}"
