"""Partials of one version and segment of a window, merged; by the present specs, and without those that do not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from driftloop.events.messages import SourceRange
from driftloop.judging.report import MergedPart
from driftloop.monitoring.catalog import new_outcomes
from driftloop.monitoring.unregistered import UNREGISTERED, unregistered_profile
from driftloop.performance.estimated.estimator import estimator_of
from driftloop.performance.outcomes import OutcomeStats
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec.model import ModelSpec
from driftloop.windows.assembly import HeldPartial, PartKey, WindowKey

__all__ = ["PartMerger", "merge_into", "rows_of"]


class PartMerger:
    """Reads and merges statistics of parts (version and segment) of windows.

    ``profile``: a version's reference profile, by model and version.
    """

    def __init__(self, specs: Mapping[str, ModelSpec], profile: Callable[[str, str], ReferenceProfile]) -> None:
        self._specs = specs
        self._registered_profile = profile
        #: Why statistics of a model were left out: made with other settings of its spec, or damaged.
        self.left_out: dict[str, str] = {}

    def merge(self, key: WindowKey, part: PartKey, partials: Iterable[HeldPartial]) -> MergedPart:
        """Partials of one part, merged."""
        version, segment = part
        ranges: list[SourceRange] = []
        total: InputStats | OutcomeStats | None = None
        left_out = 0
        for held in sorted(partials, key=lambda held: held.partial.source):
            stats = self.readable(key, part, bytes(held.partial.stats))
            if stats is None:
                left_out += 1
                continue
            ranges.append(held.partial.source)
            if total is None:
                total = stats
            else:
                merge_into(total, stats)
        if total is None:
            total = self._nothing(key, part)
        profile = self.profile(key.model_id, version).for_segment(segment)
        return MergedPart(version, segment, total, ranges, profile, left_out=left_out)

    def empty(self, key: WindowKey, version: str) -> MergedPart:
        """All rows of a version in a window that has none."""
        return MergedPart(version, "", self._nothing(key, (version, "")), [], self.profile(key.model_id, version))

    def profile(self, model_id: str, version: str) -> ReferenceProfile:
        """A version's profile; one without anything in it for rows of versions that nobody registered."""
        if version == UNREGISTERED:
            return unregistered_profile(model_id)
        return self._registered_profile(model_id, version)

    def readable(self, key: WindowKey, part: PartKey, stats: bytes) -> InputStats | OutcomeStats | None:
        """Decoded statistics, or None, noted in :attr:`left_out`, if they do not add up with those of the present spec:
        it has changed while the window was open."""
        try:
            return self.decode(key, part, stats)
        except ValueError as error:
            self.left_out[key.model_id] = str(error)
            return None

    def decode(self, key: WindowKey, part: PartKey, stats: bytes) -> InputStats | OutcomeStats:
        """The same; raises ``ValueError`` instead."""
        profile = self.profile(key.model_id, part[0])
        if key.kind == "input":
            estimator = estimator_of(self._specs[key.model_id], profile)
            return InputStats.decode(stats, profile.for_segment(part[1]), estimator)
        return OutcomeStats.decode(stats, new_outcomes(self._specs[key.model_id], profile, part[1]))

    def _nothing(self, key: WindowKey, part: PartKey) -> InputStats | OutcomeStats:
        """Empty statistics of a part; with the estimator, so that what is merged with them brings its estimates."""
        spec, profile = self._specs[key.model_id], self.profile(key.model_id, part[0])
        if key.kind == "input":
            return InputStats(profile.for_segment(part[1]), estimator_of(spec, profile))
        return new_outcomes(spec, profile, part[1])


def merge_into(total: InputStats | OutcomeStats, other: InputStats | OutcomeStats) -> None:
    """Add statistics to others of their kind."""
    if isinstance(total, InputStats):
        assert isinstance(other, InputStats), "input statistics merge with their like"
        total.merge(other)
    else:
        assert isinstance(other, OutcomeStats), "outcome statistics merge with their like"
        total.merge(other)


def rows_of(part: MergedPart) -> int:
    """Rows of an input window, labeled ones of an outcome window."""
    return part.stats.rows if isinstance(part.stats, InputStats) else part.stats.labeled
