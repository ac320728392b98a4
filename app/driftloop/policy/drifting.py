"""What an input window says to triggers on drift: how many features drift, and whether the data is broken."""

from __future__ import annotations

import math

from driftloop.events.reports import FeatureReport, WindowReport
from driftloop.spec.policy import TriggerSpec

__all__ = ["broken_data", "drifting", "drifts_critically"]


def drifting(trigger: TriggerSpec, report: WindowReport) -> tuple[int, bool]:
    """How many features drift as the trigger wants it, and whether they are enough."""
    drifted, importance = report.drifted_features, report.drifted_importance
    if trigger.severity == "critical":
        critical = {feature.feature for feature in report.features if drifts_critically(feature)}
        drifted = len(critical)
        if importance is not None:
            importance = math.fsum(rank.weight for rank in report.ranking if rank.feature in critical)
    if not drifted:
        return 0, False
    if trigger.share_weighted is not None and importance is not None:
        return drifted, importance >= trigger.share_weighted
    return drifted, drifted / report.judged_features >= trigger.least_share


def drifts_critically(feature: FeatureReport) -> bool:
    """At least one of the results that make it drift is beyond its critical value."""
    return feature.decision == "drift" and any(result.severity == "critical" for result in feature.results)


def broken_data(report: WindowReport) -> str:
    """What is wrong with the window's data, for people; "": nothing that a model would learn."""
    broken = [check.sentence for check in report.quality if check.decision == "broken" and check.breaks_inputs]
    for feature in report.features:
        missing = any(result.method == "missing" and result.exceeded for result in feature.results)
        if feature.decision == "drift" and missing:
            broken.append(feature.sentence)
    more = f", and {len(broken) - 2} more" if len(broken) > 2 else ""
    return "; ".join(broken[:2]) + more
