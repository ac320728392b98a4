"""Compares challengers with their champions as windows mature, and carries out the verdicts.

A comparison is resumed from its state in the database, which is written together with every look and with what follows
from a verdict. A process that dies in between leaves what was committed, and the next one reads the same rows again
and comes to the same bits. Of two processes at the same comparison the lease lets one work; if both do after all, the
one that commits later finds the revision changed and writes nothing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from driftloop.events.decisions import ShadowLook
from driftloop.events.messages import Labeled
from driftloop.events.time import NEVER_MS
from driftloop.observability.logs import get_logger
from driftloop.profiles.reference import LossReference, ReferenceProfile
from driftloop.registry.errors import ArtifactError, StaleStateError
from driftloop.registry.models import Registry
from driftloop.registry.rows import VersionRow
from driftloop.registry.shadows import ShadowRow, ShadowStore
from driftloop.shadow.losses import BoundedLoss, bounded_loss
from driftloop.shadow.state import ComparisonState, begin
from driftloop.shadow.verdict import look, skip
from driftloop.spec.model import ModelSpec
from driftloop.training.child import TrainingCancelled
from driftloop.training.dataset import OffsetRange, TrainingSet
from driftloop.training.shadow_rows import arms_cohort, paired_cohort, timely_rows
from driftloop.training.shadow_scores import ComparisonImpossible, Scorer, WindowScores

__all__ = ["SHADOW_ACTOR", "ShadowWatcher", "first_window_ms"]

log = get_logger(__name__)

SHADOW_ACTOR = "shadow"
#: So many windows are read, scored and looked at before they are committed: of small ones twice as many each time,
#: since every look starts a process and reads the log.
_WINDOWS_AT_ONCE, _MOST_WINDOWS_AT_ONCE = 16, 256
_FEW_ROWS = 20_000

_decode_state = msgspec.json.Decoder(ComparisonState).decode


class _LabeledRows(Protocol):
    def rows(self, model_id: str, from_ms: int, to_ms: int) -> tuple[list[Labeled], list[OffsetRange]]: ...


class _Maturity(Protocol):
    def refresh(self) -> None: ...

    def until_ms(self, spec: ModelSpec) -> int: ...


def first_window_ms(spec: ModelSpec, *versions: VersionRow) -> int:
    """Where the first whole window begins of which none of these versions can have seen a row in training."""
    seen_ms = max(max(row.trained_to_ms or 0, row.event_time_ms) for row in versions)
    return -(-seen_ms // spec.window_ms) * spec.window_ms


class ShadowWatcher:
    """Looks at every comparison that has no verdict. ``now_s``: wall time for leases, the only clock here."""

    def __init__(
        self,
        specs: Mapping[str, ModelSpec],
        registry: Registry,
        store: ShadowStore,
        labeled: _LabeledRows,
        maturity: _Maturity,
        scorer: Scorer,
        *,
        owner: str,
        cancelled: Callable[[], bool] = lambda: False,
        lease_s: float = 60.0,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._specs = specs
        self._registry = registry
        self._store = store
        self._labeled = labeled
        self._maturity = maturity
        self._scorer = scorer
        self._owner = owner
        self._cancelled = cancelled
        self._lease_s = lease_s
        self._now_s = now_s
        self._told: set[str] = set()

    def turn(self) -> int:
        """Look at every window that has matured since. Returns how many were looked at.

        Raises what Kafka or the database raise when they are away; what was committed stays, the rest is done again.
        """
        rows = self._store.open()
        if not rows:
            return 0
        self._maturity.refresh()
        looked = 0
        failed: Exception | None = None
        for row in rows:
            try:
                looked += self._at(row)
            except Exception as error:  # what is wrong with one model is no reason to leave the others waiting
                log.warning("a comparison failed", model=row.model_id, version=row.version, exc_info=error)
                failed = failed or error
        if failed is not None:
            raise failed
        return looked

    def _at(self, row: ShadowRow) -> int:
        spec = self._specs.get(row.model_id)
        if spec is None:
            self._tell_once(f"{row.model_id} is compared, but there is no spec of it here")
            return 0
        if spec.promotion != row.mode and spec.promotion in ("shadow", "canary"):
            self._tell_once(f"{row.model_id} {row.version} is compared as a {row.mode}, as it was begun")
        leased = self._store.lease(row, self._owner, self._lease_s, self._now_s())
        if leased is None or self._store.close_decided(leased):
            return 0
        try:
            return self._follow(leased, spec)
        except TrainingCancelled:
            log.info("a comparison is left for the next trainer", model=row.model_id, version=row.version)
        except StaleStateError as error:
            log.info("a comparison went on elsewhere", reason=str(error))
        except ComparisonImpossible as error:
            self._end(leased, error, leased.from_ms)
        except ArtifactError as error:
            # The folder may only be away; a file that is there and cannot be loaded is impossible.
            log.warning("a model file cannot be read, trying again", model=row.model_id, reason=str(error))
        return 0

    def _end(self, row: ShadowRow, error: ComparisonImpossible, event_time_ms: int) -> None:
        log.warning("a comparison is impossible", model=row.model_id, version=row.version, reason=str(error))
        self._store.stop(row, str(error), event_time_ms=event_time_ms, actor=SHADOW_ACTOR)

    def _follow(self, row: ShadowRow, spec: ModelSpec) -> int:
        version = self._registry.version(row.model_id, row.version)
        champion = self._registry.champion(row.model_id)
        if version is None or champion is None:
            self._tell_once(f"{row.model_id} has no champion, or no version {row.version}: the comparison waits")
            return 0
        settings = _settings_of(spec, row)
        if self._overtaken(row, spec, version, champion, settings):
            return 0
        state = self._state(row, spec, version, champion, settings)
        looked, at_once = 0, _WINDOWS_AT_ONCE
        while True:
            start_ms = state.next_ms
            end_ms = min(self._maturity.until_ms(spec), start_ms + at_once * spec.window_ms)
            if end_ms <= start_ms or end_ms <= NEVER_MS or self._cancelled():
                return looked
            try:
                state, looks, rows = self._look(state, spec, row, version, champion, end_ms)
            except ComparisonImpossible as error:
                self._end(row, error, start_ms)
                return looked
            at_once = min(2 * at_once, _MOST_WINDOWS_AT_ONCE) if rows < _FEW_ROWS else _WINDOWS_AT_ONCE
            decided = (looks[-1].window_end_ms if looks else state.next_ms) + spec.label_horizon_ms
            row = self._store.advance(
                row,
                msgspec.json.encode(state),
                looks,
                then=spec.shadow.then,
                event_time_ms=decided,
                actor=SHADOW_ACTOR,
            )
            looked += len(looks)
            if looks:
                log.info("compared", model=row.model_id, verdict=looks[-1].verdict, sentence=looks[-1].sentence)
            if row.status != "watching":
                return looked
            self._store.lease(row, self._owner, self._lease_s, self._now_s())

    def _overtaken(
        self, row: ShadowRow, spec: ModelSpec, version: VersionRow, champion: VersionRow, settings: str
    ) -> bool:
        """Whether the comparison cannot go on as it is, which is then written: stopped, or begun anew."""
        state = None if row.state is None else _decode_state(row.state)
        next_ms = row.from_ms if state is None else state.next_ms
        if champion.version != row.champion and champion.sequence > version.sequence:
            reason = f"{champion.version}, registered after {version.version}, has become the champion meanwhile"
            self._store.stop(row, reason, event_time_ms=next_ms, actor=SHADOW_ACTOR)
            return True
        if champion.version != row.champion:
            reason = f"{champion.version} is the champion now in place of {row.champion}: compared with it from then on"
        elif state is not None and state.settings != settings:
            reason = "the settings of the comparison were changed: it begins anew with the new ones"
        else:
            return False
        from_ms = max(next_ms, first_window_ms(spec, version, champion))
        self._store.restart(
            row, champion=champion.version, from_ms=from_ms, reason=reason, event_time_ms=from_ms, actor=SHADOW_ACTOR
        )
        log.info("comparison begun anew", model=row.model_id, version=row.version, reason=reason)
        return True

    def _state(
        self, row: ShadowRow, spec: ModelSpec, version: VersionRow, champion: VersionRow, settings: str
    ) -> ComparisonState:
        if row.state is not None:
            return _decode_state(row.state)
        reference = self._losses_of(champion) or self._losses_of(version)
        loss = bounded_loss(spec.task, spec.shadow.loss_of(spec.task), None if reference is None else reference.scale)
        if loss is None:
            raise ComparisonImpossible(
                f"nobody knows how large an error of {spec.model} can be: neither {champion.version} nor "
                f"{version.version} has reference predictions with labels; register them with --prediction-column and "
                "--label-column"
            )
        if row.mode == "canary" and spec.shadow.canary is None:
            raise ComparisonImpossible("the spec names no arms any more (shadow.canary)")
        return begin(
            "arms" if row.mode == "canary" else "paired",
            spec.shadow,
            loss,
            model_id=spec.model,
            champion=champion.version,
            challenger=version.version,
            from_ms=row.from_ms,
            settings=settings,
            expected_loss=_expected(reference, loss),
        )

    def _losses_of(self, version: VersionRow) -> LossReference | None:
        stored = self._registry.profile(version.model_id, version.version)
        return ReferenceProfile.decode(stored).losses if stored else None

    def _look(
        self,
        state: ComparisonState,
        spec: ModelSpec,
        row: ShadowRow,
        version: VersionRow,
        champion: VersionRow,
        end_ms: int,
    ) -> tuple[ComparisonState, list[ShadowLook], int]:
        """Every window up to ``end_ms``, to the first verdict, or to the first that cannot be scored after one that
        could: the next look begins with it. Windows without a row are passed over unless the time is up. The last: how
        many labeled rows were read."""
        found, _ = self._labeled.rows(spec.model, state.next_ms, end_ms)
        by_window: dict[int, list[Labeled]] = {}
        for labeled in found:
            by_window.setdefault(labeled.predicted_at_ms // spec.window_ms, []).append(labeled)
        scoring = None
        if row.mode != "canary":
            starts = range(state.next_ms, end_ms, spec.window_ms)
            windows = {
                start_ms: timely_rows(
                    by_window.get(start_ms // spec.window_ms, []), spec, start_ms, start_ms + spec.window_ms
                )
                for start_ms in starts
            }
            scoring = _Windows(windows, self._scores(spec, row, version, champion, windows))
        looks: list[ShadowLook] = []
        while state.next_ms < end_ms:
            start_ms = state.next_ms
            stop_ms = start_ms + spec.window_ms
            if scoring is None:
                assert spec.shadow.canary is not None, "the comparison would not have begun"
                cohort = arms_cohort(
                    by_window.get(start_ms // spec.window_ms, []),
                    spec,
                    state.loss,
                    start_ms,
                    stop_ms,
                    canary=spec.shadow.canary,
                    champion=champion.version,
                    challenger=version.version,
                )
            elif scoring.lacks(start_ms):
                break
            else:
                cohort = paired_cohort(
                    scoring.rows[start_ms],
                    spec,
                    state.loss,
                    start_ms,
                    stop_ms,
                    champion=champion.version,
                    scores=scoring.scores.get(start_ms),
                )
            if not cohort.rows and stop_ms - state.from_ms < spec.shadow.longest_ms:
                state = skip(state, stop_ms)
                continue
            state, said = look(state, cohort, spec.shadow)
            looks.append(said)
            if said.verdict in ("promote", "stop"):
                break
        return state, looks, len(found)

    def _scores(
        self,
        spec: ModelSpec,
        row: ShadowRow,
        version: VersionRow,
        champion: VersionRow,
        windows: Mapping[int, TrainingSet],
    ) -> dict[int, WindowScores]:
        """By a window's start what both model files say, up to a window at which they fail. Raises
        :class:`ComparisonImpossible` if that is the first one that has rows."""
        if version.artifact is None:
            raise ComparisonImpossible(
                f"{version.version} has no model file, so nothing can score the recorded features with it; register it "
                "with --artifact, or compare it as a canary"
            )
        wanted = [start_ms for start_ms, data in windows.items() if len(data)]
        if not wanted:
            return {}
        scored = self._scorer(
            spec,
            [windows[start_ms] for start_ms in wanted],
            champion=champion.version,
            champion_file=None if champion.artifact is None else self._registry.store.read(champion.artifact),
            challenger=version.version,
            challenger_file=self._registry.store.read(version.artifact),
            cancelled=self._waiting(row),
        )
        if scored.champion_error is not None:
            self._tell_once(
                f"the champion's model file scores nothing, only what it said counts: {scored.champion_error}"
            )
        if not scored.windows:
            raise ComparisonImpossible(scored.problem or "the scoring process left no scores")
        return dict(zip(wanted, scored.windows, strict=False))

    def _waiting(self, row: ShadowRow) -> Callable[[], bool]:
        """To be asked while others work on the comparison: keeps the lease, and says whether this is to end."""
        due_s = self._now_s() + self._lease_s / 3

        def cancelled() -> bool:
            nonlocal due_s
            if self._now_s() >= due_s:
                self._store.lease(row, self._owner, self._lease_s, self._now_s())
                due_s = self._now_s() + self._lease_s / 3
            return self._cancelled()

        return cancelled

    def _tell_once(self, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            log.warning("a comparison", reason=what)


@dataclass(frozen=True)
class _Windows:
    """By start: the rows, and what models say about them."""

    rows: Mapping[int, TrainingSet]
    scores: Mapping[int, WindowScores]

    def lacks(self, start_ms: int) -> bool:
        """Whether there are rows that nothing has scored."""
        return bool(len(self.rows[start_ms])) and start_ms not in self.scores


def _expected(reference: LossReference | None, loss: BoundedLoss) -> float | None:
    """The reference's mean loss as a share of the bound, where it is one of the same loss."""
    if reference is None:
        return None
    if loss.name == "error":
        return reference.error_mean
    return reference.loss_mean if loss.name in ("brier", "absolute_error") else None


def _settings_of(spec: ModelSpec, row: ShadowRow) -> str:
    """A digest of what a comparison depends on: evidence of other settings is not evidence for these."""
    # What becomes of a version, and what of the next one, is no matter of the evidence.
    rules = msgspec.to_builtins(msgspec.structs.replace(spec.shadow, then="promote"))
    del rules["supersede"]
    parts = (
        row.mode,
        spec.task,
        spec.classes,
        spec.window_ms,
        spec.label_horizon_ms,
        spec.performance.decision_threshold,
        rules,
    )
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()
