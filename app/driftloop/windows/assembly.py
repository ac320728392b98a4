"""Putting windows together from the partials of all source partitions.

One assembly serves one partition of the topic of partials. A window is final once every source partition's watermark
has passed it; the order in which partials and progress arrive from different sources makes no difference to what a
final window holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from driftloop.events.messages import SourceProgress, WindowKind, WindowPartial
from driftloop.events.time import NEVER_MS
from driftloop.spec.model import ModelSpec

__all__ = ["Assembly", "HeldPartial", "WindowKey", "WindowParts"]

#: version, segment
PartKey = tuple[str, str]


@dataclass(frozen=True, slots=True, order=True)
class WindowKey:
    """One window of one model: all versions and segments of it are judged together."""

    end_ms: int
    start_ms: int
    model_id: str
    kind: WindowKind


@dataclass(frozen=True, slots=True)
class HeldPartial:
    """A partial and the offset at which it stands in the log of partials."""

    partial: WindowPartial
    log_offset: int


@dataclass
class WindowParts:
    """The partials of one window, by version and segment, then source partition; in time and late apart."""

    in_time: dict[PartKey, dict[int, HeldPartial]] = field(default_factory=dict)
    late: dict[PartKey, dict[int, HeldPartial]] = field(default_factory=dict)
    final: bool = False
    restated: set[PartKey] = field(default_factory=set)  # something came since the last report
    #: It had been forgotten when the first of these came: there may have been others.
    forgotten: bool = False

    def all_sources_final(self) -> bool:
        """Nothing in time can come any more from the sources that something came from."""
        return all(held.partial.final for sources in self.in_time.values() for held in sources.values())

    def held(self) -> Iterator[HeldPartial]:
        for lane in (self.in_time, self.late):
            for sources in lane.values():
                yield from sources.values()


class Assembly:
    """Open windows of the models of one partition, and the progress of every source partition."""

    def __init__(self, specs: Mapping[str, ModelSpec], source_partitions: int, passed_ms: int = NEVER_MS) -> None:
        """``passed_ms``: :attr:`passed_ms` of an assembly that this one goes on from."""
        self._specs = specs
        self._passed_ms = passed_ms
        self._source_partitions = source_partitions
        self._windows: dict[WindowKey, WindowParts] = {}
        self._progress: dict[int, SourceProgress] = {}

    # -- in ------------------------------------------------------------------------------------------------------

    def add_partial(self, partial: WindowPartial, log_offset: int) -> bool:
        """Take in a partial; False if its model has no spec here. A final partial gives way to no other than a final
        one, so a worker that lost its partition can't set a window back."""
        if partial.model_id not in self._specs:
            return False
        key = WindowKey(partial.window_end_ms, partial.window_start_ms, partial.model_id, partial.kind)
        parts = self._windows.get(key)
        if parts is None:
            parts = self._windows[key] = WindowParts(forgotten=self._is_forgotten(key))
        lane = parts.late if partial.late else parts.in_time
        sources = lane.setdefault((partial.model_version, partial.segment), {})
        held = sources.get(partial.source.partition)
        if held is not None and held.partial.final and not partial.final:
            return True
        sources[partial.source.partition] = HeldPartial(partial, log_offset)
        if partial.late or parts.final:
            parts.restated.add((partial.model_version, partial.segment))
        return True

    def add_progress(self, progress: SourceProgress) -> None:
        """Take in a source's progress; what an outdated owner says never sets it back."""
        known = self._progress.get(progress.source_partition)
        if known is None or (progress.predictions_offset, progress.labels_offset) >= (
            known.predictions_offset,
            known.labels_offset,
        ):
            self._progress[progress.source_partition] = progress

    @property
    def progress(self) -> Mapping[int, SourceProgress]:
        """The newest progress of each source partition that has spoken."""
        return self._progress

    @property
    def passed_ms(self) -> int:
        """The event time by which windows have been forgotten. It never goes back, as the maxima do when a source
        that was idle speaks again."""
        return self._passed_ms

    # -- watermarks ----------------------------------------------------------------------------------------------

    def maxima_ms(self) -> tuple[int, int]:
        """Largest event times (predictions, labels) that every source partition has come to; idle ones hold nobody
        up as long as another one moves."""
        sources = [self._progress.get(partition) for partition in range(self._source_partitions)]
        predictions: list[int] = []
        labels: list[int] = []
        for source in sources:
            if source is None:
                return NEVER_MS, NEVER_MS
            if not source.predictions_idle:
                predictions.append(source.predictions_max_ms)
            if not source.labels_idle:
                labels.append(source.labels_max_ms)
        known = [source for source in sources if source is not None]
        return (
            min(predictions) if predictions else min(source.predictions_max_ms for source in known),
            min(labels) if labels else min(source.labels_max_ms for source in known),
        )

    def _is_final(self, key: WindowKey, maxima_ms: tuple[int, int]) -> bool:
        spec = self._specs[key.model_id]
        predictions_ms, labels_ms = (maximum - spec.allowed_lateness_ms for maximum in maxima_ms)
        if predictions_ms < key.end_ms:
            return False
        return key.kind == "input" or labels_ms >= key.end_ms + spec.label_horizon_ms

    def _is_forgotten(self, key: WindowKey) -> bool:
        spec = self._specs[key.model_id]
        kept_ms = key.end_ms + spec.label_horizon_ms + spec.late_retention_ms + spec.window_ms
        return self._passed_ms - spec.allowed_lateness_ms >= kept_ms

    # -- out -----------------------------------------------------------------------------------------------------

    def newly_final(self) -> list[tuple[WindowKey, WindowParts]]:
        """Windows that have become final, in the order in which they must be judged: by end, inputs before outcomes."""
        maxima_ms = self.maxima_ms()
        found = [
            (key, parts) for key, parts in self._windows.items() if not parts.final and self._is_final(key, maxima_ms)
        ]
        return sorted(found, key=lambda item: item[0])

    def open_windows(self) -> list[tuple[WindowKey, WindowParts]]:
        """Windows that are not final yet, in order."""
        return sorted(
            ((key, parts) for key, parts in self._windows.items() if not parts.final), key=lambda item: item[0]
        )

    def restatements(self) -> list[tuple[WindowKey, WindowParts]]:
        """Final windows of which something came after they were judged."""
        found = ((key, parts) for key, parts in self._windows.items() if parts.restated and parts.final)
        return sorted(found, key=lambda item: item[0])

    def close(self, key: WindowKey) -> None:
        """The window was judged: of what it was made from nothing is needed any more, unless a source was idle and may
        still have more of it."""
        self._windows[key].final = True
        if self._windows[key].all_sources_final():
            self.let_go(key)

    def let_go(self, key: WindowKey) -> None:
        """Everything that was in time is in the final report."""
        parts = self._windows[key]
        parts.in_time = {}
        if not parts.late:
            del self._windows[key]

    def drop(self, key: WindowKey) -> None:
        """The window was judged and forgotten before these partials came: what they would restate is not known."""
        del self._windows[key]

    def reopen(self, key: WindowKey) -> None:
        """The window was judged before these partials came: they restate it."""
        parts = self._windows[key]
        parts.final = True
        parts.restated |= set(parts.in_time) | set(parts.late)

    def forget_expired(self) -> None:
        """Drop final windows that no late row can reach any more."""
        self._passed_ms = max(self._passed_ms, min(self.maxima_ms()))
        for key, parts in list(self._windows.items()):
            if parts.final and not parts.restated and self._is_forgotten(key):
                del self._windows[key]

    def restart_offset(self, next_offset: int) -> int:
        """The earliest offset in the log of partials that what is held here still needs."""
        held = (one.log_offset for parts in self._windows.values() for one in parts.held())
        return min(held, default=next_offset)
