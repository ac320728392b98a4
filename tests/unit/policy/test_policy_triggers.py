"""Schedules by calendar, volume, critical drift, and data of a trigger's own: each fires, and each stays still."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from driftloop.events.reports import WindowReport
from driftloop.spec.policy import TriggerSpec
from support.policy_story import DAY, Policy, inputs, outcome, spec

#: 1970-01-01 was a Thursday: the first Monday is day 4.
WEEKLY = TriggerSpec(on="schedule", cron="0 0 * * mon", last="7d")


def days(policy: Policy, first: int, last: int) -> list[int]:
    """Days on which commands were given."""
    before = len(policy.commands)
    for day in range(first, last + 1):
        policy.hear(inputs(day), outcome(day))
    return [command.window_end_ms // DAY for command in policy.commands[before:]]


def test_every_monday_on_last_weeks_data() -> None:
    policy = Policy(spec(WEEKLY, cooldown="1d"))
    found = days(policy, 1, 30)
    assert found == [4, 11, 18, 25]
    assert {datetime.fromtimestamp(day * DAY / 1000, UTC).strftime("%a") for day in found} == {"Mon"}
    first = policy.commands[0]
    assert (first.from_ms, first.to_ms) == (-3 * DAY, 4 * DAY)
    assert first.reason == "it is '0 0 * * mon' (UTC) at 1970-01-05; trained on 7d, as the trigger says"


def test_a_time_inside_a_window_is_due_at_its_end_and_only_once() -> None:
    noon = TriggerSpec(on="schedule", cron="0 12 * * mon", timezone="Europe/Berlin")
    policy = Policy(spec(noon, cooldown="1d"))
    assert days(policy, 1, 14) == [5, 12]
    assert "(Europe/Berlin) at 1970-01-05T11:00:00Z" in policy.commands[0].reason


def test_a_time_before_the_first_window_is_not_due() -> None:
    policy = Policy(spec(WEEKLY))
    assert days(policy, 5, 10) == []
    assert days(policy, 11, 11) == [11]


def test_a_time_that_is_held_stays_due_until_a_command_answers_it() -> None:
    policy = Policy(spec(WEEKLY), labeled=0)
    assert policy.hear(outcome(4)) == ["hold schedule"]
    assert policy.hear(outcome(5)) == ["hold schedule"]
    policy.labeled = 1_000
    assert policy.hear(outcome(6)) == ["retrain schedule"]
    assert days(policy, 7, 12) == []  # day 11 is within the cooldown, and held
    assert policy.decisions[-1].outcome == "hold"
    assert days(policy, 13, 13) == [13]


def test_a_volume_of_labeled_rows() -> None:
    policy = Policy(spec(TriggerSpec(on="volume", rows=5_000)), labeled=4_999)
    assert policy.hear(outcome(1)) == []
    policy.labeled = 5_000
    assert policy.hear(outcome(2)) == ["retrain volume"]
    assert policy.commands[0].reason == "5000 new labeled rows since the first window, to be retrained every 5000"
    policy.labeled = 6_000
    assert policy.hear(outcome(3)) == ["hold volume"]  # cooldown
    assert "6000 new labeled rows since the last command" in policy.decisions[-1].reason


def test_a_volume_without_rows_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="rows: 10000"):
        Policy(spec(TriggerSpec(on="volume"))).hear(outcome(1))


def feature(name: str, severity: str | None) -> dict[str, Any]:
    result = {"method": "psi", "statistic": 0.9, "threshold": 0.1, "exceeded": True, "severity": severity}
    return {
        "feature": name,
        "kind": "numeric",
        "rows": 100,
        "missing": 0,
        "reference_rows": 100,
        "decision": "drift",
        "results": [result],
        "sentence": f"{name} drifts",
    }


def drifting(day: int, critical: int, warning: int, **fields: Any) -> WindowReport:
    names = [(f"c{n}", "critical") for n in range(critical)] + [(f"w{n}", "warning") for n in range(warning)]
    ranking = [{"feature": name, "weight": 0.1, "drift": 2.0, "score": 0.2} for name, _ in names]
    features = [feature(*name) for name in names]
    return inputs(day, critical + warning, features=features, ranking=ranking, **fields)


def test_only_critical_drift_counts_where_it_is_asked_for() -> None:
    policy = Policy(spec(TriggerSpec(on="drift", severity="critical", share=0.2)))
    assert policy.hear(drifting(1, 1, 8), outcome(1)) == []
    assert policy.hear(drifting(2, 2, 0), outcome(2)) == ["retrain drift"]
    assert "2 of 10 features drift critically" in policy.commands[0].reason
    assert Policy(spec(TriggerSpec(on="drift", share=0.2))).hear(drifting(1, 1, 8), outcome(1)) == ["retrain drift"]


def test_the_importance_of_critical_features_alone() -> None:
    policy = Policy(spec(TriggerSpec(on="drift", severity="critical", share_weighted=0.25)))
    assert policy.hear(drifting(1, 2, 5, drifted_importance=0.7), outcome(1)) == []
    assert policy.hear(drifting(2, 3, 0, drifted_importance=0.3), outcome(2)) == ["retrain drift"]


def test_a_range_of_its_own_goes_before_the_change_that_was_found() -> None:
    of = spec(TriggerSpec(on="performance", last="5d"))
    of = msgspec.structs.replace(of, training=msgspec.structs.replace(of.training, since_change=True))
    policy = Policy(of)
    policy.hear(outcome(50, "drift"))
    assert policy.commands[0].from_ms == 45 * DAY
