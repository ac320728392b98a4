"""What a change detector found, in a sentence for people."""

from __future__ import annotations

from driftloop.events.reports import ConceptReport
from driftloop.events.time import format_time
from driftloop.spec.concept import ConceptDetector

__all__ = ["concept_sentence"]


def concept_sentence(report: ConceptReport, rules: ConceptDetector, obstacle: str = "") -> str:
    """One sentence. ``obstacle``: why the detector says nothing."""
    name, what = report.detector, "error rate" if rules.stream == "error" else "mean loss"
    if obstacle:
        return f"{name}: {obstacle}"
    if report.risk is None or report.since_ms is None:
        return f"{name}: no labeled row yet"
    now = f"the {what} is {report.risk:.4g} in {report.rows} rows since {format_time(report.since_ms)}"
    if report.reference is not None:
        now += f", reference {report.reference:.4g}"
    began = "" if report.changed_at_ms is None else f"; it changed about {format_time(report.changed_at_ms)}"
    if report.state != "drift":
        near = ", close to an alarm" if report.state == "warning" else ""
        better = f"; it fell about {format_time(report.changed_at_ms)}" if report.fell and report.changed_at_ms else ""
        return f"{name}: {now}{near}{better}"
    if rules.detector == "confidence_sequence" and report.bound is not None and report.low is not None:
        if report.low > report.bound:
            proof = f"at least {report.low:.4g} with all-time confidence, above the bound of {report.bound:.4g}"
        else:
            proof = f"not shown to be back below the bound of {report.bound:.4g}"
        return f"{name}: {now}: {proof}{began}"
    if rules.detector == "e_detector" and report.bound is not None:
        # Its evidence is that of the newest rows; the mean since the start would only dilute it.
        since = "lately" if report.changed_at_ms is None else f"since about {format_time(report.changed_at_ms)}"
        evidence = (
            "" if report.statistic is None else f" (e-value {report.statistic:.3g}, {report.threshold:.3g} is enough)"
        )
        expected = "" if report.reference is None else f", reference {report.reference:.4g}"
        return f"{name}: the {what} has been above {report.bound:.4g} {since}{evidence}{expected}"
    return f"{name}: {now}: it rose{began}"
