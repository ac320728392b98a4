"""Stuck values: one value, or one gap between neighbouring anchors, takes far more rows than in the reference."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from driftloop.drift.sentences import feature_text, number_text, percent_text
from driftloop.drift.significance import fisher_greater
from driftloop.profiles.anchors import NumericReference
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.numeric import NumericSummary
from driftloop.quality.finding import Finding
from driftloop.spec.model import QualityRules

__all__ = ["LARGER_SHARE", "stuck_values"]

#: A share counts as stuck from so many times the reference's on: less is a shift of a distribution with few values.
LARGER_SHARE = 5.0


def stuck_values(stats: InputStats, rules: QualityRules, minimum_rows: int) -> Iterator[Finding]:
    """For each numeric feature with such a value: the largest increase of a position's share over the reference's, with
    Fisher's test, Bonferroni-corrected over the positions. The open ends below the first and above the last anchor are
    no position: what gathers there has drifted."""
    if rules.stuck_values is None:
        return
    for name, summary in stats.features.items():
        if not isinstance(summary, NumericSummary) or summary.rows < minimum_rows or not summary.reference.rows:
            continue
        reference = summary.reference
        counts, usual = summary.counts[1:-1], reference.count_array[1:-1]
        shares, usual_shares = counts / summary.rows, usual / reference.rows
        increases = np.where(shares >= LARGER_SHARE * usual_shares, shares - usual_shares, 0.0)
        at = int(increases.argmax()) if increases.size else 0
        if not increases.size or increases[at] < rules.stuck_values:
            continue
        p_value = fisher_greater(int(counts[at]), summary.rows, int(usual[at]), reference.rows)
        yield Finding(
            check="stuck",
            subject=f"{name}/stuck",
            statistic=float(increases[at]),
            threshold=rules.stuck_values,
            p_value=min(1.0, p_value * counts.size),
            rows=summary.rows,
            sentence=(
                f"{feature_text(name)} {_where(reference, at)} in {percent_text(float(shares[at]))} of the rows, "
                f"{percent_text(float(usual_shares[at]))} in the reference"
            ),
            exceeded=True,
            breaks_inputs=True,
            may_be_usual=True,
        )


def _where(reference: NumericReference, position: int) -> str:
    """``position`` among the inner ones: even for anchors, odd for the gaps behind them."""
    anchor = number_text(reference.anchors[position // 2])
    if position % 2 == 0:
        return f"is {anchor}"
    return f"is between {anchor} and {number_text(reference.anchors[position // 2 + 1])}"
