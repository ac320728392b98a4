"""From a threshold rule to the number that a window's statistic is compared with.

``spread`` and ``quantile`` look at the statistics of the reference's own windows. Where those are too few to tell, and
for ``false_alarms``, the statistic's distribution under no change at the window's size takes their place: a distance
without its null distribution at this n is no decision.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from msgspec import UNSET, structs

from driftloop.drift.measure import Measurement, deciding_p_value
from driftloop.drift.null_distribution import MOST_DRAWS, NullDistribution, draws_for, null_distribution
from driftloop.events.reports import MethodResult
from driftloop.profiles.categorical import CategoricalSummary
from driftloop.profiles.numeric import NumericSummary
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec.model import DriftMethod, DriftRules
from driftloop.spec.thresholds import ThresholdRule

__all__ = ["FEWEST_WINDOWS", "Bound", "find_bound", "with_thresholds"]

#: Mean and standard deviation of fewer reference windows than this say little.
FEWEST_WINDOWS = 8

#: So many draws tell mean and standard deviation of the null distribution.
_SPREAD_DRAWS = 299

Summary = NumericSummary | CategoricalSummary
#: The distribution under no change from so many draws.
Null = Callable[[int], NullDistribution | None]


@dataclass(frozen=True)
class Bound:
    """A threshold and, in words, how it was found (nothing for a constant). ``value`` None: it cannot be found."""

    value: float | None
    basis: str = ""


def find_bound(rule: float | ThresholdRule | None, windows: list[float], null: Null) -> Bound:
    """The threshold of one method in one window.

    ``windows`` are the method's statistics of the reference's windows, ``null`` gives the distribution under no change
    from so many draws. ``spread`` wants at least :data:`FEWEST_WINDOWS` windows, and its standard deviation has the
    divisor n like NannyML's ``StandardDeviationThreshold``; a ``quantile`` q wants that many and 1 / (1 - q), and
    interpolates linearly like ``numpy.quantile``. None of them is below the rule's ``at_least``.
    """
    if rule is None or isinstance(rule, float | int):
        return Bound(rule)
    bound = _by_rule(rule, windows, null)
    if bound.value is None or rule.at_least is None or bound.value >= rule.at_least:
        return bound
    return Bound(rule.at_least, f"at least that, more than the {bound.basis}")


def _by_rule(rule: ThresholdRule, windows: list[float], null: Null) -> Bound:
    if rule.spread is not None:
        return _by_spread(rule.spread, windows, null)
    if rule.quantile is not None:
        return _by_quantile(rule.quantile, windows, null)
    if rule.false_alarms is not None:
        drawn = null(draws_for(rule.false_alarms))
        if drawn is None:
            return Bound(None, "there are no rows to draw from")
        return Bound(
            drawn.bound(rule.false_alarms), f"{100 * rule.false_alarms:g} % false alarms at {drawn.rows:,} rows"
        )
    raise ValueError("a threshold rule needs one of spread, quantile and false_alarms; check the spec")


def _by_spread(deviations: float, windows: list[float], null: Null) -> Bound:
    text = f"mean + {deviations:g} deviations"
    if len(windows) >= FEWEST_WINDOWS:
        value = float(np.mean(windows) + deviations * np.std(windows))
        return Bound(_positive(value), f"{text} of {len(windows)} reference windows")
    drawn = null(_SPREAD_DRAWS)
    return _by_chance(text, None if drawn is None else drawn.spread(deviations), drawn, windows)


def _by_quantile(quantile: float, windows: list[float], null: Null) -> Bound:
    text = f"{100 * quantile:g} % quantile"
    # Rounded, because 1 - 0.99 is a little more than 0.01.
    if len(windows) >= max(FEWEST_WINDOWS, math.ceil(round(1 / (1 - quantile), 6))):
        return Bound(_positive(float(np.quantile(windows, quantile))), f"{text} of {len(windows)} reference windows")
    beyond = max(1 - quantile, 1 / (MOST_DRAWS + 1))
    drawn = null(draws_for(beyond))
    return _by_chance(text, None if drawn is None else drawn.bound(beyond), drawn, windows)


def _by_chance(text: str, value: float | None, drawn: NullDistribution | None, windows: list[float]) -> Bound:
    few = f"there are only {len(windows)} reference windows" if windows else "there are no reference windows"
    if value is None or drawn is None:
        return Bound(None, f"{few}, and no rows to draw from")
    return Bound(_positive(value), f"{text} of chance at {drawn.rows:,} rows, as {few}")


def _positive(value: float) -> float:
    """Statistics are never negative, and one of nothing must not count as drift."""
    return max(value, math.ulp(0.0))


def with_thresholds(
    measured: Measurement, summary: Summary, rules: DriftRules, profile: ReferenceProfile, window_ms: int
) -> Measurement:
    """The measurement with the thresholds of its methods found, ``exceeded`` said, and the values from which on drift
    is critical. ``window_ms``: the length of the window, whose like the reference's windows must be."""
    listed = rules.numeric if measured.kind == "numeric" else rules.categorical
    methods: dict[str, DriftMethod] = {method.method: method for method in listed}
    known = _window_statistics(profile, window_ms).get(measured.feature, {})

    def judged(result: MethodResult) -> MethodResult:
        method = methods.get(result.method)
        if method is None or result.statistic is None:
            return result

        def null(draws: int) -> NullDistribution | None:
            return null_distribution((profile.model_id, measured.feature), result.method, summary, draws)

        windows = known.get(result.method, [])
        bound = find_bound(method.threshold, windows, null)
        if bound.value is None:
            return structs.replace(result, threshold=None, exceeded=False, basis=bound.basis)
        return structs.replace(
            result,
            threshold=bound.value,
            exceeded=result.statistic >= bound.value,
            critical=_critical(method, bound.value, rules.critical_times, windows, null),
            basis=bound.basis,
        )

    distances = [judged(result) for result in measured.distances]
    companion = measured.companion_p_value
    # Which methods decide, and so whose p-value counts, is known only now.
    p_value = measured.p_value if companion is None else deciding_p_value(distances, companion)
    return replace(measured, distances=distances, p_value=p_value)


def _critical(
    method: DriftMethod,
    threshold: float,
    times: float | None,
    windows: list[float],
    null: Null,
) -> float | None:
    rule = method.critical
    if rule is None:
        return None if times is None else threshold * times
    if isinstance(rule, ThresholdRule) and rule.times is not None:
        return threshold * rule.times
    bound = find_bound(rule, windows, null)
    return None if bound.value is None else max(bound.value, threshold)


def _window_statistics(profile: ReferenceProfile, window_ms: int) -> dict[str, dict[str, list[float]]]:
    if profile.windows is UNSET:
        return {}
    return next((known.features for known in profile.windows if known.window_ms == window_ms), {})
