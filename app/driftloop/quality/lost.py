"""Lost categories: frequent enough in the reference that their absence from this window is no chance."""

from __future__ import annotations

from collections.abc import Iterator

from driftloop.drift.multiple_testing import CORRECTIONS
from driftloop.drift.sentences import feature_text, percent_text
from driftloop.profiles.categorical import CategoricalSummary
from driftloop.profiles.inputs import InputStats
from driftloop.quality.finding import Finding
from driftloop.quality.tails import no_hits
from driftloop.spec.model import QualityRules

__all__ = ["lost_categories"]

_NAMES_SHOWN = 3


def lost_categories(stats: InputStats, rules: QualityRules, minimum_rows: int) -> Iterator[Finding]:
    """For each categorical feature with any: the share of the reference's rows that lost categories had.

    A category without a row is lost if Fisher's p-value for none, Bonferroni-corrected over the reference's categories,
    is significant. The finding's p-value is that of the most frequent one.
    """
    if rules.lost_categories is None:
        return
    bonferroni = CORRECTIONS["bonferroni"]
    for name, summary in stats.features.items():
        if not isinstance(summary, CategoricalSummary) or summary.rows < minimum_rows:
            continue
        reference = summary.reference
        absent = {
            category: rows for category, rows in reference.categories.items() if rows and category not in summary.counts
        }
        if not absent:
            continue
        present = [1.0] * (len(reference.categories) - len(absent))
        p_values = [no_hits(summary.rows, rows, reference.rows) for rows in absent.values()]
        corrected = bonferroni([*p_values, *present])[: len(absent)]
        lost = {
            category: p_value
            for category, p_value in zip(absent, corrected, strict=True)
            if p_value < rules.significance
        }
        if not lost:
            continue
        share = sum(absent[category] for category in lost) / reference.rows
        ranked = sorted(lost, key=lambda category: (-absent[category], category))
        shown = ", ".join(repr(category[:40]) for category in ranked[:_NAMES_SHOWN])
        more = ", ..." if len(ranked) > _NAMES_SHOWN else ""
        yield Finding(
            check="lost",
            subject=f"{name}/lost",
            statistic=share,
            threshold=rules.lost_categories,
            p_value=min(lost.values()),
            rows=summary.rows,
            sentence=(
                f"{feature_text(name)} has none of {len(lost)} categories that made up {percent_text(share)} of the "
                f"reference ({shown}{more})"
            ),
            exceeded=share >= rules.lost_categories,
            may_be_usual=True,
        )
