"""Labels that stay away for some scores, from partial statistics to report, alert and held retraining."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from driftloop.events.decisions import PolicyDecision
from driftloop.events.messages import Alert
from driftloop.events.reports import WindowReport
from driftloop.judging.assess import Judged, judge_window
from driftloop.judging.report import MergedPart
from driftloop.judging.state import ModelState
from driftloop.monitoring.catalog import new_outcomes
from driftloop.performance.outcomes import OutcomeStats
from driftloop.performance.score_bands import band_scores
from driftloop.profiles.columns import PREDICTION
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec.basics import Task
from driftloop.spec.model import FeatureSpec, ModelSpec, QualityRules
from driftloop.spec.policy import PolicySpec, TriggerSpec
from driftloop.windows.assembly import WindowKey

DAY = 86_400_000
ROWS = 1_500


class World:
    """Outcome windows of one model; its state goes through JSON after each of them."""

    def __init__(self, task: Task = "binary", **quality: float | None) -> None:
        self.spec = ModelSpec(
            model="m",
            task=task,
            features={"x": FeatureSpec(kind="numeric")},
            classes=["a", "b", "c"] if task == "multiclass" else [],
            label_horizon="1d",
            quality=QualityRules(**quality),  # type: ignore[arg-type]
            policy=PolicySpec(
                triggers=[TriggerSpec(on="schedule", every="1d")], cooldown="0d", minimum_labeled_rows=1, breaker=None
            ),
        )
        self.chance = np.random.default_rng(11)
        self.profiles: dict[str, ReferenceProfile] = {}
        self.state = ModelState()
        self.day = 0
        self.alerts: list[Alert] = []

    def predictions(self, rows: int) -> np.ndarray:  # type: ignore[type-arg]
        if self.spec.task == "multiclass":
            return self.chance.dirichlet([1.0, 1.0, 1.0], rows)
        return self.chance.random(rows) * (1.0 if self.spec.task == "binary" else 500.0)

    def profile(self, version: str) -> ReferenceProfile:
        if version not in self.profiles:
            columns = {"x": self.chance.random(500)}
            if self.spec.task != "multiclass":
                columns[PREDICTION] = self.predictions(500)
            self.profiles[version] = ReferenceProfile.build(self.spec, columns, model_version=version)
        return self.profiles[version]

    def stats(self, version: str, above: float) -> OutcomeStats:
        """Four of five predictions have a label; of the upper tenth of scores so many."""
        stats = new_outcomes(self.spec, self.profile(version))
        predictions = self.predictions(ROWS)
        scores = band_scores(self.spec.task, predictions)
        offsets = np.sort(self.chance.integers(0, DAY, ROWS))
        stats.add_predicted(ROWS, offsets, scores)
        there = self.chance.random(ROWS) < np.where(scores > np.quantile(scores, 0.9), above, 0.8)
        labels = self.chance.integers(0, 2, int(there.sum()))
        stats.update(predictions[there], labels, np.full(len(labels), 60_000), offsets_ms=offsets[there])
        return stats

    def window(self, above: float = 0.8, version: str = "v1") -> tuple[WindowReport, list[PolicyDecision]]:
        self.day += 1
        key = WindowKey(self.day * DAY, (self.day - 1) * DAY, "m", "outcome")
        part = MergedPart(version, "", self.stats(version, above), [], self.profile(version))
        judged: Judged = judge_window(key, [part], self.state, self.spec, "digest")
        self.state = msgspec.json.decode(msgspec.json.encode(self.state), type=ModelState)
        self.alerts += judged.alerts
        return judged.reports[0][0], judged.decisions


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_a_shift_holds_retraining_opens_an_alert_and_ends(task: Task) -> None:
    world = World(task)
    for _ in range(4):
        report, decisions = world.window()
        assert [decision.outcome for decision in decisions] == ["retrain"]
    assert [check.decision for check in report.quality] == ["ok"]
    report, decisions = world.window(above=0.1)
    (check,) = report.quality
    assert (check.check, check.decision) == ("label_coverage", "broken")
    assert check.sentence in report.sentence
    (held,) = decisions
    assert held.outcome == "hold"
    assert "labels come for other scores than before" in held.reason
    assert check.sentence in held.reason
    (opened,) = world.alerts
    assert (opened.kind, opened.state, opened.subject) == ("data_quality", "opened", "@labels/coverage_by_score")
    for _ in range(2):
        _, decisions = world.window()
        assert [decision.outcome for decision in decisions] == ["retrain"]
    assert [alert.state for alert in world.alerts] == ["opened", "resolved"]


def test_a_shift_that_comes_with_a_new_champion_is_seen() -> None:
    world = World()
    for _ in range(4):
        world.window()
    report, _ = world.window(above=0.1, version="v2")
    assert report.quality[0].decision == "broken"


def test_without_the_check_nothing_is_counted_or_held() -> None:
    world = World(label_coverage=None)
    for above in (0.8, 0.8, 0.8, 0.8, 0.1):
        report, decisions = world.window(above)
        assert report.quality == []
        assert [decision.outcome for decision in decisions] == ["retrain"]
    assert b'"bands"' not in world.stats("v1", 0.8).encode()


def test_an_alert_about_labels_does_not_wait_for_input_windows() -> None:
    """Input windows are judged ahead of outcome windows of the same time; both have data-quality alerts."""
    world = World()
    for _ in range(4):
        world.window()
    ahead = {'["v1","data_quality",""]': 90 * DAY}
    world.state.alerts = msgspec.structs.replace(
        world.state.alerts, judged_until_ms=world.state.alerts.judged_until_ms | ahead
    )
    world.window(above=0.1)
    assert [alert.state for alert in world.alerts] == ["opened"]
