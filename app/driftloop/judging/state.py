"""What judging a model's windows in order carries from one window to the next."""

from __future__ import annotations

import msgspec

from driftloop.concept.watch import ConceptState
from driftloop.events.reports import WindowReport
from driftloop.events.time import NEVER_MS
from driftloop.judging.alerts import AlertBook
from driftloop.performance.estimated.record import EstimateState
from driftloop.performance.label_coverage import CoverageHistory
from driftloop.performance.maturity import DelayHistory
from driftloop.policy.retrain import PolicyState
from driftloop.quality.history import QualityHistory

__all__ = ["ModelState", "TrailingWindow"]


class TrailingWindow(msgspec.Struct, frozen=True):
    """A judged outcome window, kept for rules over several windows."""

    end_ms: int
    stats: msgspec.Raw


class ModelState(msgspec.Struct, kw_only=True):
    """What judging a model's windows in order carries from one to the next."""

    alerts: AlertBook = msgspec.field(default_factory=AlertBook)
    policy: PolicyState = msgspec.field(default_factory=PolicyState)
    trailing: dict[str, list[TrailingWindow]] = msgspec.field(default_factory=dict)  # by version
    concept: ConceptState = msgspec.field(default_factory=ConceptState)
    unheard_inputs: list[WindowReport] = msgspec.field(default_factory=list)  # the policy has not heard of them yet
    delays: DelayHistory = msgspec.field(default_factory=DelayHistory)
    estimates: EstimateState = msgspec.field(default_factory=EstimateState)
    coverage: CoverageHistory = msgspec.field(default_factory=CoverageHistory)
    labeled_rows_since: int = 0  # in outcome windows since the last command
    last_input_end_ms: int = NEVER_MS
    last_outcome_end_ms: int = NEVER_MS
    quality: QualityHistory = msgspec.field(default_factory=QualityHistory)  # of input windows
