"""Infinite values: the share of a numeric feature's rows, compared with the reference's."""

from __future__ import annotations

from collections.abc import Iterator

from driftloop.drift.sentences import feature_text, percent_text
from driftloop.drift.significance import fisher_greater
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.numeric import NumericSummary
from driftloop.quality.finding import Finding
from driftloop.spec.model import QualityRules

__all__ = ["infinite_values"]


def infinite_values(stats: InputStats, rules: QualityRules) -> Iterator[Finding]:
    """For each numeric feature with any: the increase over the reference, and Fisher's one-sided test."""
    if rules.infinite is None:
        return
    for name, summary in stats.features.items():
        if not isinstance(summary, NumericSummary) or not summary.infinite:
            continue
        reference = summary.reference
        reference_rows = reference.rows + reference.missing + reference.infinite
        rate, usual = summary.infinite / stats.rows, reference.infinite / max(reference_rows, 1)
        yield Finding(
            check="infinite",
            subject=f"{name}/infinite",
            statistic=rate - usual,
            threshold=rules.infinite,
            p_value=fisher_greater(summary.infinite, stats.rows, reference.infinite, reference_rows),
            rows=stats.rows,
            sentence=(
                f"{feature_text(name)} is infinite in {percent_text(rate)} of the rows, "
                f"{percent_text(usual)} in the reference"
            ),
            exceeded=rate - usual >= rules.infinite,
            breaks_inputs=True,
        )
