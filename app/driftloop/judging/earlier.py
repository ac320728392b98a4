"""Earlier final windows of a version and segment, merged: what rolling and seasonal references and sliding windows are
made of.

Nothing is kept in a model's state. A window's merged statistics are stored with its final report, whose id can be told
from the window; the assessor looks them up there, the same way live, after a restart and in a replay. Restatements do
not count: final reports never change, so what is merged from them never does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from driftloop.events.reports import WindowReport
from driftloop.judging.report_ids import report_id_of
from driftloop.performance.outcomes import OutcomeStats
from driftloop.profiles.inputs import InputStats
from driftloop.spec.model import ModelSpec
from driftloop.windows.assembly import PartKey, WindowKey

__all__ = ["EarlierWindows", "earlier_references"]

#: Encoded statistics of so many stored windows are kept in memory; the rest is looked up again.
_KEPT = 256

Stats = InputStats | OutcomeStats


class EarlierWindows:
    """Finds and merges earlier final windows.

    ``report``: a final report by its id, with its encoded statistics, or None. ``decode``: statistics of a window,
    version and segment from their bytes.
    """

    def __init__(
        self,
        report: Callable[[str], tuple[WindowReport, bytes] | None],
        decode: Callable[[WindowKey, PartKey, bytes], Stats],
    ) -> None:
        self._report = report
        self._decode = decode
        self._kept: OrderedDict[str, bytes | None] = OrderedDict()
        self._unstored: dict[str, bytes] = {}

    def remember(self, report: WindowReport, stats: bytes) -> None:
        """A window that was judged just now and may not be stored yet. It is kept until :meth:`stored`, however many
        they are: after a long absence hundreds are judged at once."""
        self._unstored[report.report_id] = stats

    def stored(self) -> None:
        """What was remembered so far can be looked up now."""
        for report_id, stats in self._unstored.items():
            self._keep(report_id, stats)
        self._unstored = {}

    def _keep(self, report_id: str, stats: bytes | None) -> None:
        self._kept[report_id] = stats
        self._kept.move_to_end(report_id)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    def _find(self, report_id: str) -> bytes | None:
        if report_id in self._unstored:
            return self._unstored[report_id]
        if report_id in self._kept:
            self._kept.move_to_end(report_id)
            return self._kept[report_id]
        stored = self._report(report_id)
        # A sliding window under an earlier spec may have been as long as a window is now; it has no statistics.
        stats = None if stored is None or stored[0].sliding else stored[1]
        self._keep(report_id, stats)
        return stats

    def merged(self, key: WindowKey, part: PartKey, offsets_ms: Iterable[int]) -> tuple[Stats | None, int]:
        """Windows with rows of this model, kind, version and segment that lie so long before ``key``, merged, and how
        many they are; None if there is none."""
        total: Stats | None = None
        count = 0
        for offset_ms in offsets_ms:
            before = WindowKey(key.end_ms - offset_ms, key.start_ms - offset_ms, key.model_id, key.kind)
            encoded = self._find(report_id_of(before, *part))
            if encoded is None:
                continue
            try:
                stats = self._decode(before, part, encoded)
            except ValueError:
                continue  # from before a change of the spec that made other statistics, which do not merge
            if not (stats.rows if isinstance(stats, InputStats) else stats.predicted):
                # As if it had never been reported: whether an empty window is stored yet must make no difference.
                continue
            count += 1
            if total is None:
                total = stats
            else:
                total.merge(stats)  # type: ignore[arg-type]  # same kind of window, same kind of statistics
        return total, count


def earlier_references(
    key: WindowKey, part: PartKey, spec: ModelSpec, earlier: EarlierWindows | None
) -> dict[str, InputStats | None]:
    """What the spec's rolling and seasonal references of an input window are, by name: None where fewer than half of
    the windows that one wants are there."""
    found: dict[str, InputStats | None] = {}
    for reference in spec.drift.references:
        if reference.name == "training":
            continue
        found[reference.name] = None
        offsets_ms = reference.offsets_ms(spec.window_ms)
        if earlier is not None:
            stats, windows = earlier.merged(key, part, offsets_ms)
            if isinstance(stats, InputStats) and windows * 2 >= len(offsets_ms):
                found[reference.name] = stats
    return found
