"""One window against several references: one of them decides, what the others say stands beside it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from driftloop.drift.judge import judge_inputs
from driftloop.events.reports import FeatureReport, ReferenceVerdict
from driftloop.profiles.counted import counted_profile, recounted
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec.model import ModelSpec
from driftloop.spec.references import DriftReference, deciding_reference

__all__ = ["judge_by_references", "reference_text"]


def reference_text(reference: DriftReference) -> str:
    """A reference in words, after "as in"."""
    if reference.name == "rolling":
        return "the window before" if reference.windows == 1 else f"the last {reference.windows} windows"
    if reference.name == "seasonal":
        if reference.periods == 1:
            return f"the same window {reference.period} before"
        return f"the same windows of the last {reference.periods} periods of {reference.period}"
    return "the version's own reference"


def judge_by_references(
    stats: InputStats,
    profile: ReferenceProfile,
    spec: ModelSpec,
    earlier: Mapping[str, InputStats | None],
) -> list[FeatureReport]:
    """Reports by the reference that decides, each with the verdicts of the others.

    ``earlier`` has, by the names of the spec's rolling and seasonal references, the merged statistics of the windows
    that they are made of; None where too few of those are there: such a reference says ``insufficient``.
    """
    deciding = deciding_reference(spec.drift.references)
    by_reference = {
        reference.name: _judge(reference, stats, profile, spec, earlier) for reference in spec.drift.references
    }
    reports = []
    for index, report in enumerate(by_reference[deciding.name]):
        verdicts = []
        sentence = report.sentence
        for reference in spec.drift.references:
            if reference is deciding:
                continue
            other = by_reference[reference.name][index]
            verdicts.append(
                ReferenceVerdict(
                    reference=reference.name,
                    reference_rows=other.reference_rows,
                    decision=other.decision,
                    sentence=other.sentence,
                    results=other.results,
                    adjusted_p_value=other.adjusted_p_value,
                    reference_mean=other.reference_mean,
                )
            )
            if (report.decision, other.decision) == ("drift", "ok"):
                sentence += f"; as in {reference_text(reference)}"
            elif (report.decision, other.decision) == ("ok", "drift"):
                sentence += f"; unlike {reference_text(reference)}"
        if deciding.name != "training":
            sentence = f"against {reference_text(deciding)}: {sentence}"
        reports.append(msgspec.structs.replace(report, reference=deciding.name, others=verdicts, sentence=sentence))
    return reports


def _judge(
    reference: DriftReference,
    stats: InputStats,
    profile: ReferenceProfile,
    spec: ModelSpec,
    earlier: Mapping[str, InputStats | None],
) -> list[FeatureReport]:
    if reference.name == "training":
        return judge_inputs(stats, profile, spec)
    merged = earlier.get(reference.name)
    if merged is None:
        return [
            msgspec.structs.replace(
                report,
                decision="insufficient",
                results=[],
                reference_rows=0,
                reference_mean=None,
                adjusted_p_value=None,
                sentence=f"too few windows of version {profile.model_version} so far for {reference_text(reference)}",
            )
            for report in judge_inputs(stats, profile, spec)
        ]
    counted = counted_profile(merged)
    return judge_inputs(recounted(stats, counted), counted, spec)
