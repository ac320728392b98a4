"""Triggers, guards and commands over sequences of windows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from driftloop.policy.retrain import PolicyState, trigger_names
from driftloop.spec.policy import TriggerSpec
from support.policy_story import DAY, DRIFT, MONTHLY, PERFORMANCE, Policy, inputs, outcome, spec


def test_a_performance_drop_gives_a_command() -> None:
    policy = Policy(spec(PERFORMANCE))
    assert policy.hear(inputs(100), outcome(100)) == []
    assert policy.hear(outcome(101, "drift")) == ["retrain performance"]
    (command,) = policy.commands
    assert command.from_ms == 41 * DAY
    assert command.to_ms == command.window_end_ms == 101 * DAY
    assert command.champion_version == "v1"
    assert command.spec_digest == "abc"
    assert command.reason == "AUC fell; for 1 window in a row"
    assert len(command.command_id) == 32
    assert policy.decisions[0].command_id == command.command_id
    again = Policy(spec(PERFORMANCE))
    again.hear(outcome(101, "drift"))
    assert again.commands == [command]  # the id depends on model, trigger and window alone


def test_several_windows_in_a_row_and_windows_that_say_nothing() -> None:
    policy = Policy(spec(TriggerSpec(on="performance", consecutive=3)))
    story = ["drift", "drift", "ok", "drift", "insufficient", "drift", "insufficient", "info", "drift"]
    found = [policy.hear(outcome(day, decision)) for day, decision in enumerate(story, 1)]  # type: ignore[arg-type]
    assert found == [[], [], [], [], [], [], [], [], ["retrain performance"]]


def test_cooldown_holds_and_says_so_until_it_is_over() -> None:
    policy = Policy(spec(PERFORMANCE, cooldown="3d"))
    found = [policy.hear(outcome(day, "drift")) for day in range(1, 6)]
    assert found == [
        ["retrain performance"],
        ["hold performance"],
        ["hold performance"],
        ["retrain performance"],
        ["hold performance"],
    ]
    assert "the last command was 1d ago and the cooldown is 3d" in policy.decisions[1].reason
    assert policy.decisions[1].command_id is None
    assert len({command.command_id for command in policy.commands}) == 2


def test_too_few_labeled_rows_hold() -> None:
    policy = Policy(spec(PERFORMANCE, minimum=500), labeled=499)
    assert policy.hear(outcome(1, "drift")) == ["hold performance"]
    assert "499 new labeled rows and at least 500" in policy.decisions[0].reason
    policy.labeled = 500
    assert policy.hear(outcome(2, "drift")) == ["retrain performance"]


def test_drift_waits_for_the_next_outcome_window() -> None:
    policy = Policy(spec(DRIFT))
    assert policy.hear(inputs(10, drifted=4), outcome(7)) == []
    assert policy.hear(inputs(11, drifted=5)) == []
    assert policy.commands == []
    assert policy.hear(outcome(8)) == ["retrain drift"]
    assert policy.commands[0].to_ms == 8 * DAY
    assert "5 of 10 features drift" in policy.commands[0].reason
    assert policy.hear(outcome(30)) == []  # answered


def test_drift_over_consecutive_windows() -> None:
    policy = Policy(spec(TriggerSpec(on="drift", share=0.5, consecutive=2)))
    assert policy.hear(inputs(1, 9), outcome(1), inputs(2, 0), inputs(3, 9), outcome(3)) == []
    assert policy.hear(inputs(4, judged=0), inputs(5, 9), outcome(5)) == ["retrain drift"]


def test_no_drift_is_not_drift_even_with_a_share_of_zero() -> None:
    policy = Policy(spec(TriggerSpec(on="drift", share=0.0)))
    assert policy.hear(inputs(1, 0), outcome(1)) == []


def test_held_drift_is_dropped_once_the_drift_is_over() -> None:
    policy = Policy(spec(DRIFT), labeled=0)
    assert policy.hear(inputs(1, 9), outcome(1)) == ["hold drift"]
    assert policy.hear(inputs(2, 9), outcome(2)) == ["hold drift"]
    assert policy.hear(inputs(3, 0), outcome(3)) == []
    policy.labeled = 10_000
    assert policy.hear(outcome(4)) == []
    # Drift that no outcome window has heard of yet is not forgotten by one quiet window.
    assert policy.hear(inputs(5, 9), inputs(6, 0), outcome(6)) == ["retrain drift"]


def test_schedule_counts_from_the_first_window_and_then_from_the_last_command() -> None:
    policy = Policy(spec(MONTHLY))
    commands = []
    for day in range(1, 100):
        policy.hear(inputs(day), outcome(day))
        commands = [command.window_end_ms // DAY for command in policy.commands]
    assert commands == [30, 60, 90]
    assert policy.commands[0].reason == "30d since the first window, to be retrained every 30d"
    assert policy.commands[1].reason == "30d since the last command, to be retrained every 30d"


def test_one_window_gives_one_command() -> None:
    policy = Policy(spec(DRIFT, PERFORMANCE, MONTHLY, cooldown="1d"))
    policy.hear(inputs(1))
    found = policy.hear(inputs(40, 9), outcome(40, "drift"))
    assert found == ["retrain drift", "hold performance", "hold schedule"]
    assert "'drift' has asked" in policy.decisions[1].reason
    assert policy.hear(outcome(41)) == []


@pytest.mark.parametrize(
    "fields", [{"model_version": "v0"}, {"segment": "origin=JFK"}, {"status": "restated"}, {"status": "provisional"}]
)
def test_other_versions_segments_and_restatements_do_not_count(fields: dict[str, str]) -> None:
    policy = Policy(spec(PERFORMANCE, DRIFT, MONTHLY))
    assert policy.hear(inputs(1, 9, **fields), outcome(50, "drift", **fields)) == []
    assert policy.state == PolicyState()


def test_a_window_counts_once() -> None:
    policy = Policy(spec(TriggerSpec(on="performance", consecutive=2), TriggerSpec(on="drift", consecutive=2)))
    assert policy.hear(*[outcome(1, "drift")] * 3, *[inputs(1, 9)] * 3, outcome(2)) == []


def test_a_new_champion_starts_anew_but_keeps_the_cooldown() -> None:
    policy = Policy(spec(TriggerSpec(on="performance", consecutive=2), DRIFT, cooldown="10d"))
    assert policy.hear(inputs(1, 9), outcome(1, "drift")) == ["retrain drift"]
    assert policy.hear(outcome(2, "drift"), inputs(3, 9)) == []
    policy.champion = "v2"
    assert policy.hear(outcome(3, "drift", model_version="v2")) == []
    assert policy.hear(outcome(4, "drift", model_version="v2")) == ["hold performance"]
    assert policy.hear(outcome(12, "drift", model_version="v2")) == ["retrain performance"]
    assert policy.commands[1].champion_version == "v2"


def test_triggers_of_one_kind_have_names_of_their_own() -> None:
    both = spec(TriggerSpec(on="drift", share=0.9), TriggerSpec(on="drift", share=0.3, consecutive=3), MONTHLY)
    assert trigger_names(both) == ["drift", "drift#2", "schedule"]
    policy = Policy(both)
    assert policy.hear(inputs(1, 4), inputs(2, 4), outcome(2), inputs(3, 4), outcome(3)) == ["retrain drift#2"]


def test_a_schedule_without_a_period_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="every: 30d"):
        Policy(spec(TriggerSpec(on="schedule"))).hear(outcome(1))


BROKEN = {
    "check": "stuck",
    "subject": "x/stuck",
    "statistic": 0.5,
    "threshold": 0.2,
    "p_value": 0.0,
    "rows": 1000,
    "decision": "broken",
    "sentence": "x is 7 in 50 % of the rows",
    "breaks_inputs": True,
}


def test_a_drift_of_broken_data_holds_until_the_data_is_sound() -> None:
    policy = Policy(spec(DRIFT))
    assert policy.hear(inputs(1, 9, quality=[BROKEN]), outcome(1)) == ["hold drift"]
    reason = policy.decisions[0].reason
    assert "the data of the newest input window is broken: x is 7 in 50 % of the rows; due, because 9 of 10" in reason
    assert policy.hear(inputs(2, 9), outcome(2)) == ["retrain drift"]


def test_a_drift_that_ends_with_the_break_is_forgotten() -> None:
    policy = Policy(spec(DRIFT))
    assert policy.hear(inputs(1, 9, quality=[BROKEN]), outcome(1), inputs(2, 0), outcome(2)) == ["hold drift"]
    assert policy.hear(inputs(3, 9), outcome(3)) == ["retrain drift"]


def test_missing_values_hold_a_drift_too() -> None:
    feature = {
        "feature": "x",
        "kind": "numeric",
        "rows": 10,
        "missing": 90,
        "reference_rows": 100,
        "decision": "drift",
        "results": [{"method": "missing", "statistic": 0.9, "threshold": 0.1, "p_value": 0.0, "exceeded": True}],
        "sentence": "x is missing in 90 % of the rows",
    }
    policy = Policy(spec(DRIFT))
    assert policy.hear(inputs(1, 9, features=[feature]), outcome(1)) == ["hold drift"]
    assert "x is missing in 90 %" in policy.decisions[0].reason


@pytest.mark.parametrize("change", [{"decision": "ok"}, {"decision": "insufficient"}, {"breaks_inputs": False}])
def test_other_checks_hold_nothing(change: dict[str, Any]) -> None:
    policy = Policy(spec(DRIFT))
    assert policy.hear(inputs(1, 9, quality=[BROKEN | change]), outcome(1)) == ["retrain drift"]


def test_broken_data_holds_only_if_asked_to() -> None:
    of = spec(DRIFT, PERFORMANCE)
    assert Policy(of).hear(inputs(1, 9, quality=[BROKEN]), outcome(1, "drift")) == ["hold drift", "hold performance"]
    off = msgspec.structs.replace(of, policy=msgspec.structs.replace(of.policy, hold_on_broken_data=False))
    heard = Policy(off).hear(inputs(1, 9, quality=[BROKEN]), outcome(1, "drift"))
    assert heard == ["retrain drift", "hold performance"]  # one command a window


def test_many_breaks_make_a_short_reason() -> None:
    policy = Policy(spec(DRIFT))
    policy.hear(inputs(1, 9, quality=[BROKEN | {"sentence": f"break {number}"} for number in range(5)]), outcome(1))
    assert "broken: break 0; break 1, and 3 more; due" in policy.decisions[0].reason


def test_a_state_from_before_data_quality_is_read() -> None:
    state = msgspec.json.decode(b'{"champion_version": "v1", "broken_data": "x"}', type=PolicyState)
    assert (state.broken, state.broken_windows) == (None, {})
