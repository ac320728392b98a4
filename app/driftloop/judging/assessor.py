"""The pure core of an assessor: partials and progress in, judged windows out.

Knows no Kafka and no database: profiles, states and earlier reports are looked up through functions handed in, and what
:meth:`Assessor.advance` returns is for the shell to commit in one transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from driftloop.events.messages import PartialMessage, SourceProgress
from driftloop.events.reports import WindowReport
from driftloop.events.time import NEVER_MS
from driftloop.judging.approval import Approved, always_approved
from driftloop.judging.assess import Judged, judge_window
from driftloop.judging.earlier import EarlierWindows
from driftloop.judging.empty import empty_window_ends
from driftloop.judging.merging import PartMerger
from driftloop.judging.provisional import provisional_report
from driftloop.judging.restating import Restater
from driftloop.judging.state import ModelState
from driftloop.monitoring.unregistered import UNREGISTERED, names_of
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec.load import spec_digest
from driftloop.spec.model import ModelSpec
from driftloop.windows.assembly import Assembly, HeldPartial, WindowKey, WindowParts

__all__ = ["Advance", "Assessor", "Lookups"]

_decode_state = msgspec.json.Decoder(ModelState).decode
_encode = msgspec.json.Encoder().encode


class _Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What of an assembly is stored: the progress of its sources, by which event time it has forgotten windows, and up
    to where it had read the log."""

    sources: list[SourceProgress] = []
    passed_ms: int = NEVER_MS
    next_offset: int = 0


#: A list: what earlier releases have stored.
_decode_progress = msgspec.json.Decoder(_Progress | list[SourceProgress]).decode


@dataclass(frozen=True)
class Lookups:
    """Where an assessor finds what was stored before: a version's profile, a model's state, a final report with its
    merged statistics. The last two give None for what is not there yet. ``approved``: which versions may serve;
    ``promoted``: which have been champion."""

    profile: Callable[[str, str], ReferenceProfile]
    state: Callable[[str], bytes | None]
    report: Callable[[str], tuple[WindowReport, bytes] | None]
    approved: Approved = always_approved
    promoted: Approved = always_approved


@dataclass
class Advance:
    """What has become final, with the states after it and the offset to restart from."""

    judged: Judged = field(default_factory=Judged)
    states: dict[str, bytes] = field(default_factory=dict)
    restart_offset: int = 0
    progress: bytes = b"[]"

    def __bool__(self) -> bool:
        return bool(self.judged.reports or self.judged.alerts)


class Assessor:
    """Windows of the models in one partition of the topic of partials.

    ``specs`` are those of these models alone: of a model whose windows another assessor puts together, every window
    would seem to be empty.
    """

    def __init__(
        self,
        specs: Mapping[str, ModelSpec],
        source_partitions: int,
        lookups: Lookups,
        *,
        start_offset: int = 0,
        progress: bytes | None = None,
    ) -> None:
        self._specs = specs
        self._digests = {model: spec_digest(spec) for model, spec in specs.items()}
        stored = _decode_progress(progress) if progress else _Progress()
        if isinstance(stored, list):
            stored = _Progress(sources=stored)
        self._assembly = Assembly(specs, source_partitions, stored.passed_ms)
        for known in stored.sources:
            self._assembly.add_progress(known)
        self._lookups = lookups
        self._merger = PartMerger(specs, lookups.profile)
        self._earlier = EarlierWindows(lookups.report, self._merger.decode)
        self._restater = Restater(specs, self._digests, self._merger, self._earlier, lookups.report)
        self._states: dict[str, ModelState] = {}
        #: Offsets of the partials in each provisional report.
        self._shown: dict[tuple[WindowKey, str], tuple[int, ...]] = {}
        self.next_offset = start_offset
        self.foreign_models: set[str] = set()
        #: By model, windows that something reached which had been forgotten.
        self.forgotten: Counter[str] = Counter()
        self._known_to_offset = stored.next_offset

    @property
    def progress(self) -> Mapping[int, SourceProgress]:
        """The newest progress of each source partition."""
        return self._assembly.progress

    @property
    def maxima_ms(self) -> tuple[int, int]:
        """Largest event times of predictions and labels that all source partitions have come to."""
        return self._assembly.maxima_ms()

    @property
    def left_out(self) -> dict[str, str]:
        """Why statistics of a model were left out, by model: made with other settings of its spec, or damaged."""
        return self._merger.left_out

    def take(self, messages: Iterable[tuple[int, PartialMessage]]) -> None:
        """Take in records (offset, message) of the topic of partials; those taken in before are skipped."""
        for offset, message in messages:
            if offset < self.next_offset:
                continue
            self.next_offset = offset + 1
            if isinstance(message, SourceProgress):
                self._assembly.add_progress(message)
            elif not self._assembly.add_partial(message, offset):
                self.foreign_models.add(message.model_id)

    def advance(self) -> Advance:
        """Judge every window that has become final, in order, and restate those that late rows reached.

        What the call before gave must have been stored by now, so that ``lookups`` find it.
        """
        self._earlier.stored()
        result = Advance()
        touched: set[str] = set()
        for key, parts in self._due():
            if parts is None:
                self._judge_empty(key, result.judged)
                touched.add(key.model_id)
            elif parts.in_time and key.end_ms > self._judged_until_ms(key):
                self._judge(key, parts, result.judged)
                self._assembly.close(key)
                touched.add(key.model_id)
            elif parts.forgotten and key.end_ms <= self._judged_until_ms(key):
                self._assembly.drop(key)
                self.forgotten[key.model_id] += any(one.log_offset >= self._known_to_offset for one in parts.held())
            else:
                # Judged before: a partial published again after a restart, one of a source that was idle until now, or
                # late rows of a window that had no others.
                self._assembly.reopen(key)
        for key, parts in self._assembly.restatements():
            for part in sorted(parts.restated):
                if part[0] == UNREGISTERED:
                    continue
                self._restater.restate(key, part, parts, result.judged)
            parts.restated.clear()
            if parts.in_time and parts.all_sources_final() and self._restater.is_whole(key, parts, result.judged):
                self._assembly.let_go(key)
        self._assembly.forget_expired()
        result.states = {model: _encode(self._state(model)) for model in sorted(touched)}
        result.restart_offset = self._assembly.restart_offset(self.next_offset)
        sources = sorted(self._assembly.progress.values(), key=lambda known: known.source_partition)
        result.progress = _encode(
            _Progress(sources=sources, passed_ms=self._assembly.passed_ms, next_offset=self.next_offset)
        )
        return result

    def open_reports(self, limit: int) -> list[tuple[WindowReport, bytes]]:
        """Provisional reports over all rows of windows that are open and have changed since they were last asked for:
        at most ``limit``, those that changed longest ago first. Nothing here depends on it."""
        changed: list[tuple[int, WindowKey, str, list[HeldPartial], tuple[int, ...]]] = []
        seen: dict[tuple[WindowKey, str], tuple[int, ...]] = {}
        for key, parts in self._assembly.open_windows():
            if key.end_ms <= self._judged_until_ms(key):
                continue
            for (version, segment), sources in parts.in_time.items():
                if segment or version == UNREGISTERED:
                    continue
                offsets = tuple(sorted(held.log_offset for held in sources.values()))
                shown = self._shown.get((key, version))
                seen[key, version] = shown or ()
                if shown != offsets:
                    changed.append((max(offsets), key, version, list(sources.values()), offsets))
        self._shown = seen
        reports = []
        for _, key, version, held, offsets in sorted(changed, key=lambda item: item[:3])[:limit]:
            part = self._merger.merge(key, (version, ""), held)
            reports.append(
                provisional_report(
                    key,
                    part,
                    self._state(key.model_id),
                    self._specs[key.model_id],
                    self._digests[key.model_id],
                    self._assembly.maxima_ms()[1],
                )
            )
            self._shown[key, version] = offsets
        return reports

    def _due(self) -> list[tuple[WindowKey, WindowParts | None]]:
        """Windows that have become final, in the order in which they must be judged; None for those without a row."""
        due: list[tuple[WindowKey, WindowParts | None]] = list(self._assembly.newly_final())
        ends_ms: dict[str, list[int]] = {}
        for key, parts in due:
            if parts and parts.in_time and key.kind == "input" and key.end_ms > self._judged_until_ms(key):
                ends_ms.setdefault(key.model_id, []).append(key.end_ms)
        predictions_ms, _ = self._assembly.maxima_ms()
        if predictions_ms > NEVER_MS:
            for model_id, spec in self._specs.items():
                if spec.quality.enabled and spec.quality.empty_windows:
                    due += self._empty(model_id, spec, ends_ms.get(model_id, []), predictions_ms)
        # Where late rows alone came for a window without others, the empty one is judged before they restate it.
        return sorted(due, key=lambda item: (item[0], item[1] is not None))

    def _empty(
        self, model_id: str, spec: ModelSpec, final_ends_ms: list[int], predictions_ms: int
    ) -> list[tuple[WindowKey, None]]:
        state = self._state(model_id)
        ends_ms = empty_window_ends(
            window_ms=spec.window_ms,
            last_end_ms=state.last_input_end_ms if state.quality.version else None,
            quiet=state.quality.quiet,
            limit=spec.quality.empty_windows,
            final_ends_ms=final_ends_ms,
            until_ms=predictions_ms - spec.allowed_lateness_ms,
        )
        return [(WindowKey(end_ms, end_ms - spec.window_ms, model_id, "input"), None) for end_ms in ends_ms]

    # -- one window ----------------------------------------------------------------------------------------------

    def _judged_until_ms(self, key: WindowKey) -> int:
        state = self._state(key.model_id)
        return state.last_input_end_ms if key.kind == "input" else state.last_outcome_end_ms

    def _judge(self, key: WindowKey, parts: WindowParts, judged: Judged) -> None:
        merged = [self._merger.merge(key, part, sources.values()) for part, sources in parts.in_time.items()]
        unregistered: dict[str, int] = {}
        for stray in [part for part in merged if part.version == UNREGISTERED]:
            merged.remove(stray)
            if isinstance(stray.stats, InputStats):
                unregistered = names_of(stray.stats)
        last = self._state(key.model_id).quality.version
        if not merged and last:
            merged = [self._merger.empty(key, last)]
        step = judge_window(
            key,
            merged,
            self._state(key.model_id),
            self._specs[key.model_id],
            self._digests[key.model_id],
            self._earlier,
            self._lookups.approved,
            unregistered,
            self._lookups.promoted,
        )
        for report, stats in step.reports:
            if not report.sliding:
                self._earlier.remember(report, stats)
        judged.add(step)

    def _judge_empty(self, key: WindowKey, judged: Judged) -> None:
        """A window without a row, reported for the version that served last."""
        state = self._state(key.model_id)
        version = state.quality.version
        nothing = self._merger.empty(key, version)
        judged.add(judge_window(key, [nothing], state, self._specs[key.model_id], self._digests[key.model_id]))

    def _state(self, model_id: str) -> ModelState:
        state = self._states.get(model_id)
        if state is None:
            stored = self._lookups.state(model_id)
            state = self._states[model_id] = ModelState() if stored is None else _decode_state(stored)
        return state
