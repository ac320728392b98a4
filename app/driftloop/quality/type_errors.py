"""Records whose features or prediction do not fit the schema, by where they fail."""

from __future__ import annotations

from collections.abc import Iterator

from driftloop.drift.sentences import feature_text, percent_text
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.refusals import ALL_FEATURES
from driftloop.quality.finding import Finding
from driftloop.quality.tails import binomial_at_least
from driftloop.spec.model import QualityRules

__all__ = ["type_errors"]


def type_errors(stats: InputStats, rules: QualityRules) -> Iterator[Finding]:
    """For each feature with any: its share of all records that reached the version in the window, good and refused,
    against the tolerated share by the exact binomial test."""
    tolerated = rules.type_errors
    if tolerated is None:
        return
    records = stats.rows + stats.quality.refused_records
    for feature, kinds in stats.quality.refused.items():
        hits = sum(kinds.values())
        name = "the features object" if feature == ALL_FEATURES else feature_text(feature)
        listed = ", ".join(
            f"{kind} {count:,} times" for kind, count in sorted(kinds.items(), key=lambda k: (-k[1], k[0]))
        )
        yield Finding(
            check="type_errors",
            subject=f"{feature}/type_errors",
            statistic=hits / records,
            threshold=tolerated,
            p_value=binomial_at_least(hits, records, tolerated),
            rows=records,
            sentence=f"{name} could not be read in {percent_text(hits / records)} of {records:,} records ({listed})",
            exceeded=hits / records > tolerated,
            breaks_inputs=True,
        )
