"""Schema changes: keys in ``features`` that the spec has not and earlier windows had not, and features whose key is
gone from every row looked at."""

from __future__ import annotations

from collections.abc import Iterator

from driftloop.drift.sentences import percent_text
from driftloop.drift.significance import fisher_greater
from driftloop.profiles.anchors import NumericReference
from driftloop.profiles.inputs import InputStats
from driftloop.quality.finding import Finding
from driftloop.quality.history import QualityHistory
from driftloop.quality.tails import all_hits
from driftloop.spec.model import QualityRules

__all__ = ["absent_keys", "new_keys"]

_NAMES_SHOWN = 3
# Fewer rows looked at say nothing.
_LEAST_ROWS = 5


def new_keys(stats: InputStats, history: QualityHistory, rules: QualityRules) -> Finding | None:
    """The most frequent key that neither the spec nor an earlier window has: its share of the rows looked at, and
    Fisher's test against the rows looked at before, Bonferroni-corrected over the keys. A key that stays is known from
    the next window on."""
    keys = stats.quality.keys
    if rules.new_keys is None or not keys.rows:
        return None
    known_rows = sum(history.key_rows)
    new = {name: rows for name, rows in keys.extra.counts.items() if name not in history.keys}
    enough = keys.rows >= _LEAST_ROWS and known_rows >= _LEAST_ROWS
    most = max(new.values(), default=0)
    ranked = sorted(new, key=lambda name: (-new[name], name))
    shown = ", ".join(repr(name[:40]) for name in ranked[:_NAMES_SHOWN]) + (", ..." if len(new) > _NAMES_SHOWN else "")
    said = f"{len(new)} new keys in features that the spec has not ({shown})" if new else "no new key in features"
    return Finding(
        check="new_keys",
        subject="new_keys",
        statistic=most / keys.rows,
        threshold=rules.new_keys,
        p_value=min(1.0, fisher_greater(most, keys.rows, 0, known_rows) * len(new)) if new else 1.0,
        rows=keys.rows,
        sentence=f"{said}, the most frequent in {percent_text(most / keys.rows)} of the rows looked at"
        if new
        else said,
        exceeded=most / keys.rows >= rules.new_keys,
        enough=enough,
    )


def absent_keys(stats: InputStats, rules: QualityRules) -> Iterator[Finding]:
    """For each feature without its key in all rows looked at: Fisher's test with the reference's missing values."""
    keys = stats.quality.keys
    if not rules.absent_keys or keys.rows < _LEAST_ROWS:
        return
    for name, rows in sorted(keys.absent.items()):
        reference = stats.profile.features.get(name)
        if rows < keys.rows or reference is None:
            continue
        infinite = reference.infinite if isinstance(reference, NumericReference) else 0
        reference_rows = reference.rows + reference.missing + infinite
        yield Finding(
            check="absent_key",
            subject=f"{name}/absent_key",
            statistic=1.0,
            threshold=1.0,
            p_value=all_hits(rows, reference.missing, reference_rows),
            rows=rows,
            sentence=(
                f"features has no key {name!r} in any of {rows:,} rows looked at; the value is missing in "
                f"{percent_text(reference.missing / max(reference_rows, 1))} of the reference"
            ),
            exceeded=True,
            breaks_inputs=True,
        )
