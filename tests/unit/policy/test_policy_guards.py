"""What holds a trigger: warm-up, so many commands a period, labels that come for other scores; and properties."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from driftloop.events.time import duration_text
from driftloop.spec.policy import AtMost, TriggerSpec
from support.policy_story import DAY, DRIFT, PERFORMANCE, Policy, inputs, outcome, spec

SHIFT = {
    "check": "label_coverage",
    "subject": "@labels/coverage_by_score",
    "statistic": 0.6,
    "threshold": 0.2,
    "p_value": 0.0,
    "rows": 1000,
    "decision": "broken",
    "sentence": "of the predictions with scores above 0.9 4.0% have a label",
}


def test_so_many_windows_of_a_new_champion() -> None:
    policy = Policy(spec(PERFORMANCE, warm_up=2, cooldown="1d"))
    found = [policy.hear(outcome(day, "drift")) for day in (1, 2, 3)]
    assert found == [["hold performance"], ["hold performance"], ["retrain performance"]]
    assert "the champion warms up: this is window 2 of 2" in policy.decisions[1].reason
    policy.champion = "v2"
    found = [policy.hear(outcome(day, "drift", model_version="v2")) for day in (4, 5, 6)]
    assert found == [["hold performance"], ["hold performance"], ["retrain performance"]]


def test_a_time_of_warming_up_counts_from_the_champions_first_window() -> None:
    policy = Policy(spec(PERFORMANCE, warm_up="3d"))
    assert policy.hear(outcome(10, "drift"), outcome(12, "drift")) == ["hold performance"] * 2
    assert "the champion warms up: 3d of 3d are over" in policy.decisions[1].reason
    assert policy.hear(outcome(13, "drift")) == ["retrain performance"]


def test_drift_of_the_warm_up_is_heard_and_waits() -> None:
    policy = Policy(spec(DRIFT, warm_up=1))
    assert policy.hear(inputs(1, 9), outcome(1)) == ["hold drift"]
    assert policy.hear(outcome(2)) == ["retrain drift"]


def test_at_most_so_many_in_any_period() -> None:
    policy = Policy(spec(PERFORMANCE, cooldown="0d", at_most=AtMost(retrains=2, per="10d")))
    found = [policy.hear(outcome(day, "drift")) for day in range(1, 14)]
    assert [command.window_end_ms // DAY for command in policy.commands] == [1, 2, 11, 12]
    assert found[2] == ["hold performance"]
    assert policy.decisions[2].reason.startswith(
        "held, because there were 2 commands in the last 10d and at most 2 are allowed, until 1970-01-12; due, because"
    )


def test_labels_of_other_scores_hold_every_trigger() -> None:
    policy = Policy(spec(PERFORMANCE, DRIFT))
    assert policy.hear(inputs(1, 9), outcome(1, "drift", quality=[SHIFT])) == ["hold performance", "hold drift"]
    assert "labels come for other scores than before" in policy.decisions[0].reason
    assert "4.0% have a label" in policy.decisions[0].reason
    assert policy.hear(outcome(2, "drift", quality=[SHIFT | {"decision": "ok"}]))[0] == "retrain performance"


def test_the_hold_on_labels_can_be_switched_off() -> None:
    policy = Policy(spec(PERFORMANCE, hold_on_label_shift=False))
    assert policy.hear(outcome(1, "drift", quality=[SHIFT])) == ["retrain performance"]


def test_another_check_of_labels_or_another_windows_holds_nothing() -> None:
    policy = Policy(spec(PERFORMANCE))
    assert policy.hear(outcome(1, "drift", quality=[SHIFT | {"check": "volume"}])) == ["retrain performance"]


TRIGGERS = st.lists(
    st.sampled_from(
        [
            PERFORMANCE,
            DRIFT,
            TriggerSpec(on="drift", share=0.1, consecutive=2),
            TriggerSpec(on="schedule", every="3d"),
            TriggerSpec(on="schedule", cron="0 0 * * *"),
            TriggerSpec(on="volume", rows=700),
        ]
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda trigger: msgspec.json.encode(trigger),
)
STORY = st.lists(
    st.tuples(
        st.integers(1, 3),  # days to the next outcome window
        st.integers(0, 10),  # drifting features
        st.sampled_from(["ok", "drift", "insufficient"]),
        st.integers(0, 2_000),  # labeled rows
    ),
    min_size=1,
    max_size=40,
)


def told(policy: Policy, story: list[tuple[int, int, Any, int]], noise: bool = False) -> None:
    day = 0
    for step, drifted, decision, labeled in story:
        day += step
        policy.labeled = labeled
        if noise:  # none of these counts
            policy.hear(
                inputs(day, 10, status="restated"),
                outcome(day, "drift", segment="a=b"),
                outcome(day, "drift", sliding="7d"),
                inputs(day, 10, model_version="shadow"),
            )
        policy.hear(inputs(day, drifted))
        if noise:
            policy.hear(inputs(day, 10), inputs(max(1, day - 1), 10))
        policy.hear(outcome(day, decision))
        if noise:
            policy.hear(outcome(day, "drift"))


@given(TRIGGERS, STORY, st.integers(0, 9))
def test_never_two_commands_within_the_cooldown(triggers: list[TriggerSpec], story: Any, cooldown: int) -> None:
    policy = Policy(spec(*triggers, cooldown=duration_text(cooldown * DAY)))
    told(policy, story)
    times = [command.window_end_ms for command in policy.commands]
    assert all(later - earlier >= max(cooldown, 1) * DAY for earlier, later in pairwise(times))


@given(TRIGGERS, STORY, st.integers(1, 4), st.integers(1, 20))
def test_never_more_commands_than_allowed(triggers: list[TriggerSpec], story: Any, most: int, period: int) -> None:
    policy = Policy(spec(*triggers, cooldown="0d", at_most=AtMost(retrains=most, per=f"{period}d")))
    told(policy, story)
    times = [command.window_end_ms for command in policy.commands]
    for start in times:
        assert sum(start <= at < start + period * DAY for at in times) <= most
    assert len(policy.state.commands_ms) <= most


@given(TRIGGERS, STORY)
def test_what_does_not_count_changes_nothing(triggers: list[TriggerSpec], story: Any) -> None:
    plain, noisy = Policy(spec(*triggers, warm_up=2)), Policy(spec(*triggers, warm_up=2))
    told(plain, story)
    told(noisy, story, noise=True)
    assert noisy.commands == plain.commands
    assert noisy.decisions == plain.decisions
    assert noisy.state == plain.state


@given(TRIGGERS, STORY)
def test_every_due_trigger_says_something_and_at_most_one_goes(triggers: list[TriggerSpec], story: Any) -> None:
    policy = Policy(spec(*triggers))
    told(policy, story)
    going = [decision for decision in policy.decisions if decision.outcome == "retrain"]
    assert [decision.command_id for decision in going] == [command.command_id for command in policy.commands]
    assert len({command.window_end_ms for command in policy.commands}) == len(policy.commands)
    keys = [(decision.window_end_ms, decision.trigger) for decision in policy.decisions]
    assert len(set(keys)) == len(keys), "one decision for each window and trigger"
    assert all(decision.reason.startswith("held, because ") for decision in policy.decisions if decision not in going)
