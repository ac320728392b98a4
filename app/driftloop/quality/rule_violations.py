"""Range and format rules of the spec: the share of rows in violation of each."""

from __future__ import annotations

from collections.abc import Iterator

from driftloop.drift.sentences import number_text, percent_text
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.rules import RULES
from driftloop.quality.finding import Finding
from driftloop.quality.tails import binomial_at_least
from driftloop.spec.model import FeatureSpec, ModelSpec

__all__ = ["rule_violations"]


def rule_violations(stats: InputStats, spec: ModelSpec) -> Iterator[Finding]:
    """For each rule of each feature: violations against ``max_violations`` by the exact binomial test; with the default
    of 0 one row is enough, and nothing is left to chance. Shares are of all rows, missing ones included."""
    if not stats.rows:
        return
    for name, feature in spec.features.items():
        for rule in RULES:
            if getattr(feature, rule) is None:
                continue
            hits = stats.quality.violations.get(name, {}).get(rule, 0)
            share, tolerated = hits / stats.rows, feature.max_violations
            yield Finding(
                check=rule,
                subject=f"{name}/{rule}",
                statistic=share,
                threshold=tolerated,
                p_value=binomial_at_least(hits, stats.rows, tolerated) if tolerated else None,
                rows=stats.rows,
                sentence=f"{name} {_words(feature, rule)} in {hits:,} of {stats.rows:,} rows ({percent_text(share)})",
                exceeded=share > tolerated,
                breaks_inputs=True,
            )


def _words(feature: FeatureSpec, rule: str) -> str:
    if rule == "minimum":
        return f"is below {number_text(feature.minimum or 0.0)}"
    if rule == "maximum":
        return f"is above {number_text(feature.maximum or 0.0)}"
    return f"does not match {feature.pattern!r}" if rule == "pattern" else "is none of the allowed categories"
