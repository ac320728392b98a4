"""Constant columns: a feature that varied in the reference has one value in all rows of the window."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from driftloop.drift.sentences import feature_text, number_text
from driftloop.profiles.categorical import CategoricalSummary
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.numeric import NumericSummary
from driftloop.quality.finding import Finding
from driftloop.quality.tails import all_hits
from driftloop.spec.model import QualityRules

__all__ = ["constant_columns"]


def constant_columns(stats: InputStats, rules: QualityRules, minimum_rows: int) -> Iterator[Finding]:
    """For each feature that is constant now and was not: Fisher's test that all rows have the value, from the
    reference's rows with it. The statistic is how much more of the rows have it than in the reference: where a rare
    deviation from a nearly constant reference stays away, little has changed."""
    if rules.constant is None:
        return
    for name, summary in stats.features.items():
        if summary.rows < minimum_rows or not summary.reference.rows:
            continue
        found = _numeric(summary) if isinstance(summary, NumericSummary) else _categorical(summary)
        if found is None:
            continue
        value, reference_hits = found
        reference_rows = summary.reference.rows
        yield Finding(
            check="constant",
            subject=f"{name}/constant",
            statistic=1.0 - reference_hits / reference_rows,
            threshold=rules.constant,
            p_value=all_hits(summary.rows, reference_hits, reference_rows),
            rows=summary.rows,
            sentence=(
                f"{feature_text(name)} is {value} in all {summary.rows:,} rows that have it, "
                f"in {reference_hits:,} of {reference_rows:,} in the reference"
            ),
            exceeded=1.0 - reference_hits / reference_rows >= rules.constant,
            breaks_inputs=True,
            may_be_usual=True,
        )


def _numeric(summary: NumericSummary) -> tuple[str, int] | None:
    reference = summary.reference
    if summary.minimum is None or summary.minimum != summary.maximum or reference.minimum == reference.maximum:
        return None
    # Between two anchors the reference's rows with this very value are not known: all in the gap are an upper bound.
    position = int(np.flatnonzero(summary.counts)[0])
    return number_text(summary.minimum), int(reference.count_array[position])


def _categorical(summary: CategoricalSummary) -> tuple[str, int] | None:
    reference = summary.reference
    kinds = len(summary.counts) + len(summary.unseen_names)
    if kinds != 1 or len(reference.categories) + (1 if reference.other else 0) < 2:
        return None
    value = next(iter(summary.counts or summary.unseen_names))
    return repr(value[:40]), reference.categories.get(value, reference.other)
