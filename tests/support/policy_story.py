"""A policy over a story of reports, for its tests."""

from __future__ import annotations

from typing import Any

import msgspec

from driftloop.events.decisions import PolicyDecision, RetrainCommand
from driftloop.events.reports import Decision, MetricReport, WindowReport
from driftloop.policy.retrain import PolicyState, decide
from driftloop.spec.model import FeatureSpec, ModelSpec
from driftloop.spec.policy import PolicySpec, TriggerSpec
from driftloop.spec.training import TrainingSpec

__all__ = ["DAY", "DRIFT", "MONTHLY", "PERFORMANCE", "Policy", "inputs", "outcome", "report", "spec"]

DAY = 86_400_000
PERFORMANCE = TriggerSpec(on="performance")
DRIFT = TriggerSpec(on="drift", share=0.5)
MONTHLY = TriggerSpec(on="schedule", every="30d")


def spec(*triggers: TriggerSpec, cooldown: str = "7d", minimum: int = 100, **policy: Any) -> ModelSpec:
    return ModelSpec(
        model="m",
        task="binary",
        features={"x": FeatureSpec(kind="numeric")},
        policy=PolicySpec(triggers=list(triggers), cooldown=cooldown, minimum_labeled_rows=minimum, **policy),
        training=TrainingSpec(last="60d"),
    )


def report(kind: str, day: int, **fields: Any) -> WindowReport:
    base = {
        "report_id": f"{kind}{day}",
        "model_id": "m",
        "model_version": "v1",
        "kind": kind,
        "segment": "",
        "window_start_ms": (day - 1) * DAY,
        "window_end_ms": day * DAY,
        "status": "final",
        "rows": 1000,
        "late_rows": 0,
        "sources": [],
        "spec_digest": "abc",
    }
    return msgspec.convert({**base, **fields}, WindowReport)


def outcome(day: int, decision: Decision = "ok", **fields: Any) -> WindowReport:
    metric = MetricReport(
        metric="roc_auc", value=0.6, low=0.5, high=0.7, reference=0.8, rows=500, decision=decision, sentence="AUC fell"
    )
    return report("outcome", day, metrics=[msgspec.to_builtins(metric)], **fields)


def inputs(day: int, drifted: int = 0, judged: int = 10, **fields: Any) -> WindowReport:
    return report("input", day, drifted_features=drifted, judged_features=judged, **fields)


class Policy:
    """The policy over a sequence of reports; its state goes through JSON after each of them."""

    def __init__(self, of: ModelSpec, champion: str = "v1", labeled: int = 10_000) -> None:
        self.spec, self.champion, self.labeled = of, champion, labeled
        self.state = PolicyState()
        self.commands: list[RetrainCommand] = []
        self.decisions: list[PolicyDecision] = []

    def hear(self, *reports: WindowReport) -> list[str]:
        """Outcome and trigger of the decisions that these reports brought."""
        before = len(self.decisions)
        for given in reports:
            state, decisions, command = decide(
                self.spec, self.state, given, champion_version=self.champion, labeled_rows_since=self.labeled
            )
            self.state = msgspec.json.decode(msgspec.json.encode(state), type=PolicyState)
            self.decisions += decisions
            self.commands += [command] if command else []
        return [f"{decision.outcome} {decision.trigger}" for decision in self.decisions[before:]]
