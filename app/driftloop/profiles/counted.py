"""References made of counts: earlier windows merged, or a part of a reference, on the anchors of a version's profile.

Windows of one model version are all counted by the same anchors and categories, so any of them, or a merge of them, can
stand as the reference of another one. Counts are exact. Distribution functions are known at the anchors and not within
the intervals between them: on a training reference that keeps all its values as anchors, values that lie between
anchors in both windows are not told apart.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftloop.profiles.anchors import NumericReference
from driftloop.profiles.categorical import CategoricalReference, CategoricalSummary
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.numeric import NumericSummary
from driftloop.profiles.reference import ReferenceProfile

__all__ = [
    "CountedReference",
    "as_reference",
    "counted_profile",
    "counted_reference",
    "recounted",
    "without_rows",
]


class CountedReference(NumericReference, frozen=True, kw_only=True, tag_field="kind", tag="counted", dict=True):
    """Counts on the anchors of ``template``. Unlike it they may have values beyond the outer anchors: ``below`` and
    ``above`` are the sums of their distances to those. Deviations are taken from the template's center in the
    template's unit, so that a summary counted against the template can be judged against this."""

    template: NumericReference
    below: float = 0.0
    above: float = 0.0

    @property
    def center(self) -> float:
        return self.template.center

    @property
    def unit(self) -> float:
        return self.template.unit


def counted_reference(
    template: NumericReference,
    counts: NDArray[np.int64],
    offsets: NDArray[np.int64],
    *,
    mean: float | None,
    std: float | None,
    missing: int = 0,
    infinite: int = 0,
    below: float = 0.0,
    above: float = 0.0,
    minimum: float | None = None,
    maximum: float | None = None,
) -> CountedReference:
    """A reference of these counts, shape (2k + 1,), and offsets, shape (k - 1,), on the template's k anchors; the
    arrays belong to it then. Without a positive ``std`` the template's is the unit of distances."""
    reference = CountedReference(
        anchors=template.anchors,
        counts=counts.tolist(),
        offsets=offsets.tolist(),
        rows=int(counts.sum()),
        missing=missing,
        infinite=infinite,
        mean=mean,
        std=std or template.std,
        minimum=minimum,
        maximum=maximum,
        template=template,
        below=below,
        above=above,
    )
    # What would be made from the lists again.
    vars(reference).update(
        anchor_array=template.anchor_array, count_array=counts, offset_array=offsets, widths=template.widths
    )
    return reference


def as_reference(summary: NumericSummary | CategoricalSummary) -> NumericReference | CategoricalReference:
    """What was counted in a window (or in several, merged) as a reference for others of the same profile."""
    if isinstance(summary, NumericSummary):
        return counted_reference(
            summary.reference,
            summary.counts.copy(),
            summary.offsets.copy(),
            mean=summary.mean(),
            std=summary.std(),
            missing=summary.missing,
            infinite=summary.infinite,
            below=summary.below,
            above=summary.above,
            minimum=summary.minimum,
            maximum=summary.maximum,
        )
    return CategoricalReference(
        categories={name: summary.counts.get(name, 0) for name in summary.reference.names},
        rows=summary.rows,
        missing=summary.missing,
        other=summary.unseen,
    )


def without_rows(
    part: NumericSummary | CategoricalSummary,
) -> NumericReference | CategoricalReference:
    """The reference of ``part`` less the rows of ``part``, which must be some of those that it was made from."""
    if isinstance(part, NumericSummary):
        whole = part.reference
        rows, part_mean = whole.rows - part.rows, part.mean()
        mean = whole.mean
        if whole.mean is not None and part_mean is not None and rows:
            # Halves keep the difference of two large means within float64; the weight is below 1 in practice.
            mean = whole.mean + 2 * (whole.mean / 2 - part_mean / 2) * (part.rows / rows)
        return counted_reference(
            whole,
            whole.count_array - part.counts,
            whole.offset_array - part.offsets,
            mean=mean,
            std=whole.std,
            missing=whole.missing - part.missing,
            infinite=whole.infinite - part.infinite,
            minimum=whole.minimum,
            maximum=whole.maximum,
        )
    known = part.reference
    return CategoricalReference(
        categories={name: count - part.counts.get(name, 0) for name, count in known.categories.items()},
        rows=known.rows - part.rows,
        missing=known.missing - part.missing,
        other=known.other - part.unseen,
    )


def counted_profile(merged: InputStats) -> ReferenceProfile:
    """Windows of one version, merged, as the profile that another window of it is judged against."""
    return msgspec.structs.replace(
        merged.profile,
        features={name: as_reference(summary) for name, summary in merged.features.items()},
        rows=merged.rows,
        segments={},
    )


def recounted(stats: InputStats, profile: ReferenceProfile) -> InputStats:
    """The same counts against another profile on the same anchors and categories."""
    twin = InputStats(profile)
    twin.rows = stats.rows
    for name, summary in twin.features.items():
        summary.merge(stats.features[name])  # type: ignore[arg-type]  # same anchors, same kind
    return twin
