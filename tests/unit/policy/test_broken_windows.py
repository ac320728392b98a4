"""Windows with broken data: what they feed is held, and nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.events.reports import ConceptReport, MetricReport, WindowReport
from driftloop.policy.streaks import Streaks
from driftloop.spec.model import ModelSpec
from driftloop.spec.policy import TriggerSpec
from support.policy_story import DAY, DRIFT, PERFORMANCE, Policy, inputs, outcome, spec

ESTIMATES = TriggerSpec(on="estimated_performance")
CONCEPT = TriggerSpec(on="concept")
NULL = {
    "feature": "x",
    "kind": "numeric",
    "rows": 10,
    "missing": 90,
    "reference_rows": 100,
    "decision": "drift",
    "results": [{"method": "missing", "statistic": 0.9, "threshold": 0.1, "p_value": 0.0, "exceeded": True}],
    "sentence": "x is missing in 90 % of the rows",
}


def window(
    day: int, *, broken: bool = False, bad: bool = True, changed_at_ms: int | None = None, said: str | None = None
) -> tuple[WindowReport, WindowReport]:
    """Input and outcome window of a day on which everything speaks for a retraining, or nothing does."""
    decision: Any = "drift" if bad else "ok"
    estimate = MetricReport(
        metric="roc_auc~estimated", value=0.6, low=0.5, high=0.7, reference=0.8, rows=500, decision=decision,
        sentence="AUC is to fall",
    )  # fmt: skip
    concept = ConceptReport(
        detector="confidence_sequence:loss", rows=500, statistic=1.0, threshold=0.5,
        state=said or decision, changed_at_ms=changed_at_ms, sentence="the loss rose",
    )  # fmt: skip
    return (
        inputs(day, 9 * bad, features=[NULL] if broken else [], estimated=[msgspec.to_builtins(estimate)]),
        outcome(day, decision, concept=[msgspec.to_builtins(concept)]),
    )


@pytest.mark.parametrize("trigger", [DRIFT, ESTIMATES, PERFORMANCE, CONCEPT])
def test_a_column_that_goes_null_is_not_learned_whatever_asks_for_it(trigger: TriggerSpec) -> None:
    policy = Policy(spec(trigger))
    for day in (1, 2):
        assert policy.hear(*window(day, broken=True)) == [f"hold {trigger.on}"]
        assert policy.decisions[-1].reason.startswith(
            "held, because the data of the newest input window is broken: x is missing in 90 % of the rows; due"
        )
    assert policy.hear(*window(3, bad=False)) == [], "repaired, and it was nothing else"
    assert policy.hear(*window(4)) == [f"retrain {trigger.on}"], "sound data, and it is something else"


@pytest.mark.parametrize(
    "trigger", [TriggerSpec(on="schedule", every="1d"), TriggerSpec(on="volume", rows=100)], ids=lambda given: given.on
)
def test_what_asks_nothing_of_the_windows_is_not_held(trigger: TriggerSpec) -> None:
    assert Policy(spec(trigger)).hear(*window(1, broken=True)) == [f"retrain {trigger.on}"]


@pytest.mark.parametrize("on", ["drift", "estimated_performance", "performance", "concept"])
def test_a_row_of_windows_with_a_broken_one_waits_for_sound_ones(on: Any) -> None:
    """Three in a row are wanted; the second is broken, so those that count are the third to the fifth."""
    policy = Policy(spec(TriggerSpec(on=on, consecutive=3)))
    found = [policy.hear(*window(day, broken=day == 2)) for day in range(1, 6)]
    assert found == [[], [], [f"hold {on}"], [f"hold {on}"], [f"retrain {on}"]]
    assert policy.decisions[0].reason.startswith(
        "held, because the data of the window up to 1970-01-03 was broken, which has a part in it: x is missing in 90 %"
    )


@pytest.mark.parametrize("on", ["drift", "estimated_performance", "performance", "concept"])
def test_one_broken_window_of_many_holds_nothing_once_it_is_over(on: Any) -> None:
    policy = Policy(spec(TriggerSpec(on=on, consecutive=7)))
    assert [policy.hear(*window(day, broken=day == 4)) for day in range(1, 8)] == [[]] * 6 + [[f"retrain {on}"]]
    policy = Policy(spec(TriggerSpec(on=on, consecutive=7)))
    found = [policy.hear(*window(day, broken=day in (4, 6))) for day in range(1, 13)]
    assert found[6:11] == [[f"hold {on}"]] * 4 + [[f"retrain {on}"]], "on day 11 the row begins after the first of both"


@pytest.mark.parametrize(
    ("rule", "broken_days", "held_days"),
    [
        ("roc_auc@2", 1, 1),
        ("roc_auc@4", 1, 3),
        ("roc_auc@5", 1, 0),
        ("roc_auc@14#2", 3, 0),
        ("roc_auc@14", 4, 10),
    ],
)
def test_a_rule_over_several_windows_waits_while_a_quarter_of_them_is_broken(
    rule: str, broken_days: int, held_days: int
) -> None:
    policy = Policy(spec(PERFORMANCE))
    for day in range(1, broken_days + 1):
        policy.hear(*window(day, broken=True, bad=False))
    for day in range(broken_days + 1, broken_days + held_days + 2):
        there, then = window(day)
        then = msgspec.structs.replace(then, metrics=[msgspec.structs.replace(then.metrics[0], metric=rule)])
        wanted = "hold" if day <= broken_days + held_days else "retrain"
        assert policy.hear(there, then) == [f"{wanted} performance"], day


def test_of_several_rules_one_that_has_no_part_in_the_break_is_enough() -> None:
    policy = Policy(spec(PERFORMANCE))
    policy.hear(*window(1, broken=True, bad=False))
    there, then = window(2)
    wide = msgspec.structs.replace(then.metrics[0], metric="roc_auc@2")
    assert policy.hear(there, msgspec.structs.replace(then, metrics=[wide, then.metrics[0]])) == ["retrain performance"]


def test_a_change_that_is_dated_into_the_break_is_none() -> None:
    """A detector that stays in drift says so after the repair as well."""
    policy = Policy(spec(CONCEPT))
    at_ms = DAY + 5
    for day, broken in ((2, True), (3, True), (4, False), (5, False)):
        assert policy.hear(*window(day, broken=broken, changed_at_ms=at_ms)) == ["hold concept"]
        assert policy.state.changed_at_ms is None
    assert policy.state.broken is not None
    assert (policy.state.broken.since_ms, policy.state.broken.end_ms) == (DAY, 3 * DAY)
    assert policy.hear(*window(6, changed_at_ms=5 * DAY)) == ["retrain concept"]
    assert policy.commands[0].changed_at_ms == 5 * DAY


def test_without_the_guard_the_break_is_dated_and_learned() -> None:
    policy = Policy(spec(CONCEPT, hold_on_broken_data=False))
    assert policy.hear(*window(2, broken=True, changed_at_ms=DAY)) == ["retrain concept"]
    assert policy.commands[0].changed_at_ms == DAY


def test_another_champion_and_a_command_begin_anew() -> None:
    policy = Policy(spec(TriggerSpec(on="performance", consecutive=2), cooldown="0d"))
    policy.hear(*window(1, broken=True))
    assert policy.state.broken_windows == {"performance": [True]}
    policy.champion = "v2"
    policy.hear(outcome(2, "drift", model_version="v2"))
    assert policy.state.broken_windows == {}


@given(st.lists(st.sampled_from(["bad", "broken", "good", "silent"]), max_size=30), st.integers(1, 9))
def test_due_and_sound_means_that_few_of_the_last_ones_were_broken(story: list[str], needed: int) -> None:
    streaks, spoke = Streaks({}, {}), []
    for what in story:
        due = False
        if what in ("bad", "broken"):
            spoke.append(what)
            due = streaks.speaks("a", needed, broken=what == "broken")
        elif what == "good":
            spoke.clear()
            streaks.ends("a")
        assert due == (what in ("bad", "broken") and len(spoke) >= needed)
        if due:
            assert streaks.unsound("a", needed) == (spoke[-needed:].count("broken") >= max(1, needed / 4))
        assert len(streaks.broken.get("a", ())) <= needed


def _kinds(of: ModelSpec) -> list[str]:
    return [trigger.on for trigger in of.policy.triggers]


def test_of_several_triggers_those_that_ask_nothing_go() -> None:
    of = spec(DRIFT, ESTIMATES, PERFORMANCE, CONCEPT, TriggerSpec(on="schedule", every="1d"))
    heard = Policy(of).hear(*window(1, broken=True))
    assert heard == [*(f"hold {on}" for on in _kinds(of)[:-1]), "retrain schedule"]
