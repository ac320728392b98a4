"""Reports of windows that are still open: what is there so far, how complete it is, and nothing that anything hangs on.

They are never alerted on, heard by the policy, compared with a replay, or part of a model's state.
"""

from __future__ import annotations

import hashlib

import msgspec

from driftloop.events.reports import WindowReport
from driftloop.judging.report import MergedPart, report_of
from driftloop.judging.state import ModelState
from driftloop.performance.maturity import corrected_metrics, label_report
from driftloop.performance.outcomes import OutcomeStats
from driftloop.spec.model import ModelSpec
from driftloop.windows.assembly import WindowKey

__all__ = ["provisional_report"]


def provisional_report(
    key: WindowKey, part: MergedPart, state: ModelState, spec: ModelSpec, spec_digest: str, labels_ms: int
) -> tuple[WindowReport, bytes]:
    """The report of one version's open window. ``labels_ms``: up to what event time labels have been read.

    An outcome window says how mature its labels are, and has ``<metric>~corrected`` for those still to come.
    """
    report, stats = report_of(key, part, spec, spec_digest, status="provisional")
    if isinstance(part.stats, OutcomeStats):
        watermark_ms = max(labels_ms, key.start_ms)
        horizon_ms = spec.label_horizon_ms
        labels = label_report(
            part.stats,
            start_ms=key.start_ms,
            horizon_ms=horizon_ms,
            watermark_ms=watermark_ms,
            history=state.delays,
        )
        corrected = corrected_metrics(
            part.stats,
            start_ms=key.start_ms,
            horizon_ms=horizon_ms,
            watermark_ms=watermark_ms,
            history=state.delays,
        )
        waiting = [held for held in state.estimates.held.get(part.version, []) if held.end_ms == key.end_ms]
        sentence = f"Open. {report.sentence}"
        if labels.maturity is not None:
            sentence += f" That is {labels.maturity:.0%} of the labels that will come."
        if waiting:
            told = [f"{name} {value[0]:.4g}" for name, value in waiting[0].metrics.items() if "~estimated" in name]
            sentence += f" Estimated when the input window closed: {', '.join(told[:4])}." if told else ""
        report = msgspec.structs.replace(report, labels=labels, estimated=corrected, sentence=sentence)
    else:
        report = msgspec.structs.replace(report, sentence=f"Open. {report.sentence}")
    unsigned = msgspec.structs.replace(report, content_digest="")
    digest = hashlib.sha256(msgspec.json.encode(unsigned) + stats).hexdigest()
    return msgspec.structs.replace(report, content_digest=digest), stats
