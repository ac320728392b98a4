"""Duplicates: prediction ids that came again, and rows whose features are copies of another row's."""

from __future__ import annotations

import math
import statistics

from driftloop.drift.sentences import percent_text
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.row_hashes import KEPT_HASHES
from driftloop.quality.finding import Finding
from driftloop.quality.history import QualityHistory
from driftloop.quality.tails import binomial_at_least, student_above
from driftloop.spec.model import QualityRules

__all__ = ["copies_share", "duplicate_rows", "repeated_ids"]

_MAD_SCALE = 1.4826
_WINDOWS = 5


def repeated_ids(stats: InputStats, history: QualityHistory, rules: QualityRules) -> Finding | None:
    """The share of records whose id had come before in the open window, against the median share of earlier windows
    plus the tolerated one, by the exact binomial test. Such records count in no other statistic."""
    records = stats.rows + stats.quality.repeated_ids
    if rules.repeated_ids is None or not records:
        return None
    share = stats.quality.repeated_ids / records
    usual = statistics.median([hits / rows for hits, rows in history.repeated if rows] or [0.0])
    return Finding(
        check="repeated_ids",
        subject="repeated_ids",
        statistic=share - usual,
        threshold=rules.repeated_ids,
        p_value=binomial_at_least(stats.quality.repeated_ids, records, usual + rules.repeated_ids),
        rows=records,
        sentence=(
            f"{percent_text(share)} of {records:,} records have the id of an earlier one, "
            f"{percent_text(usual)} in earlier windows"
        ),
        exceeded=share - usual > rules.repeated_ids,
    )


def copies_share(stats: InputStats, minimum_rows: int) -> float | None:
    """The share of rows whose features are those of another row, byte for byte; None with too few rows."""
    rows = stats.quality.hashed_rows
    if rows < minimum_rows:
        return None
    return max(0.0, 1.0 - stats.quality.distinct.distinct() / rows)


def duplicate_rows(
    stats: InputStats, history: QualityHistory, rules: QualityRules, minimum_rows: int
) -> Finding | None:
    """The share of copies against earlier windows: their median, and Student's t with their median absolute deviation
    and the sketch's own error as spread. Few distinct inputs make copies by nature, so there is no bound in itself."""
    share = copies_share(stats, minimum_rows)
    if rules.duplicate_rows is None or share is None:
        return None
    rows = stats.quality.hashed_rows
    if len(history.copies) < _WINDOWS:
        return Finding(
            check="duplicate_rows",
            subject="duplicate_rows",
            statistic=None,
            threshold=rules.duplicate_rows,
            p_value=None,
            rows=rows,
            sentence=f"{percent_text(share)} of {rows:,} rows are copies; too few earlier windows to compare with",
            exceeded=False,
            enough=False,
        )
    usual = statistics.median(history.copies)
    deviation = _MAD_SCALE * statistics.median(abs(earlier - usual) for earlier in history.copies)
    between = deviation**2 * (1 + math.pi / (2 * len(history.copies)))
    chance = max(share * (1 - share), 1 / rows) / rows
    sketch = 0.0 if stats.quality.distinct.exact else (1 - share) ** 2 / (KEPT_HASHES - 2)
    score = (share - usual) / math.sqrt(between + chance + sketch)
    return Finding(
        check="duplicate_rows",
        subject="duplicate_rows",
        statistic=share - usual,
        threshold=rules.duplicate_rows,
        p_value=student_above(score, len(history.copies) - 1),
        rows=rows,
        sentence=(f"{percent_text(share)} of {rows:,} rows are copies of another one, {percent_text(usual)} before"),
        exceeded=share - usual >= rules.duplicate_rows,
        breaks_inputs=True,
    )
