"""Reports of windows that late rows reached after their final report, which itself stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from driftloop.events.messages import SourceRange
from driftloop.events.reports import WindowReport
from driftloop.judging.assess import Judged, segments_of
from driftloop.judging.earlier import EarlierWindows
from driftloop.judging.merging import PartMerger, merge_into, rows_of
from driftloop.judging.report import Beside, MergedPart, report_of
from driftloop.judging.report_ids import report_id_of
from driftloop.monitoring.unregistered import UNREGISTERED
from driftloop.spec.model import ModelSpec
from driftloop.windows.assembly import HeldPartial, PartKey, WindowKey, WindowParts

__all__ = ["Restater"]


class Restater:
    """Puts together what was reported with what came after it.

    ``digests``: those of the specs. ``report``: a final report by its id, with its encoded statistics, or None.
    """

    def __init__(
        self,
        specs: Mapping[str, ModelSpec],
        digests: Mapping[str, str],
        merger: PartMerger,
        earlier: EarlierWindows,
        report: Callable[[str], tuple[WindowReport, bytes] | None],
    ) -> None:
        self._specs = specs
        self._digests = digests
        self._merger = merger
        self._earlier = earlier
        self._report = report

    def restate(self, key: WindowKey, part: PartKey, parts: WindowParts, judged: Judged) -> None:
        """Report a part again, into ``judged``, if something came after its final report."""
        restated = self._restated(key, part, parts, judged)
        if restated is None:
            return
        spec = self._specs[key.model_id]
        groups = None
        if key.kind == "outcome" and not part[1] and spec.performance.fairness:
            groups = segments_of(part[0], self._siblings(key, part[0], parts, judged))
        judged.reports.append(
            report_of(
                key,
                restated,
                spec,
                self._digests[key.model_id],
                Beside(groups=groups, earlier=self._earlier),
                status="restated",
            )
        )

    def is_whole(self, key: WindowKey, parts: WindowParts, judged: Judged) -> bool:
        """Whether the final reports have everything that came in time."""
        for part, sources in parts.in_time.items():
            if part[0] == UNREGISTERED:
                continue
            earlier = self._reported(key, part, judged)
            missed, grown = _beyond(_sources_of(earlier), sources)
            if missed or grown:
                return False
        return True

    def _restated(self, key: WindowKey, part: PartKey, parts: WindowParts, judged: Judged) -> MergedPart | None:
        """What was reported with what came after it; None if nothing did."""
        earlier = self._reported(key, part, judged)
        reported = _sources_of(earlier)
        held = parts.in_time.get(part, {})
        late = list(parts.late.get(part, {}).values())
        missed, grown = _beyond(reported, held)
        if not missed and not late and not grown:
            return None
        whole = held.keys() >= reported.keys()
        restated = self._merger.merge(key, part, [*(held.values() if whole else missed), *late])
        if restated.left_out and reported and whole and self._merger.merge(key, part, held.values()).left_out:
            return None  # what was reported by another spec stays as it is
        if late:
            restated.late_rows = rows_of(self._merger.merge(key, part, late))
        if earlier is not None and not whole:
            reported_stats = self._merger.readable(key, part, earlier[1])
            if reported_stats is None:
                return None  # what was reported by another spec stays as it is
            merge_into(restated.stats, reported_stats)
            restated.sources = sorted([*earlier[0].sources, *restated.sources])
        return restated

    def _reported(self, key: WindowKey, part: PartKey, judged: Judged) -> tuple[WindowReport, bytes] | None:
        """The final report of a part with its statistics, perhaps judged a moment ago and not stored yet."""
        report_id = report_id_of(key, *part)
        fresh = ((report, stats) for report, stats in judged.reports if report.report_id == report_id)
        return next((pair for pair in fresh if pair[0].status == "final"), None) or self._report(report_id)

    def _siblings(self, key: WindowKey, version: str, parts: WindowParts, judged: Judged) -> Iterator[MergedPart]:
        """Every segment of a version in an outcome window, restated or as it was reported."""
        profile = self._merger.profile(key.model_id, version)
        for segment in sorted(profile.segments):
            part = (version, segment)
            merged = self._restated(key, part, parts, judged)
            if merged is None:
                reported = self._reported(key, part, judged)
                if reported is None:
                    continue
                stats = self._merger.readable(key, part, reported[1])
                if stats is None:
                    continue
                merged = MergedPart(version, segment, stats, reported[0].sources, profile.for_segment(segment))
            yield merged


def _sources_of(earlier: tuple[WindowReport, bytes] | None) -> dict[int, SourceRange]:
    return {} if earlier is None else {source.partition: source for source in earlier[0].sources}


def _beyond(reported: Mapping[int, SourceRange], held: Mapping[int, HeldPartial]) -> tuple[list[HeldPartial], bool]:
    """Partials of sources that a report lacks, and whether another source has come further than the report: it was
    idle, with more of the window to be read, when the others passed the window's end."""
    missed = [one for at, one in held.items() if at not in reported]
    grown = any(at in reported and _is_further(one.partial.source, reported[at]) for at, one in held.items())
    return missed, grown


def _is_further(source: SourceRange, than: SourceRange) -> bool:
    return source.predictions_end > than.predictions_end or source.labels_end > than.labels_end
