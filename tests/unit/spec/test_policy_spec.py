"""Keys of triggers and guards: where they mean something, and what is said where they do not."""

from __future__ import annotations

import pytest

from driftloop.spec import SpecError, parse_spec

HEAD = "model: m\ntask: binary\nfeatures: {x: {kind: numeric}}\nperformance: {rules: [{metric: accuracy, drop: 0.1}]}\n"


def problems(policy: str, more: str = "") -> str:
    with pytest.raises(SpecError) as error:
        parse_spec(f"{HEAD}{more}policy: {policy}\n")
    return str(error.value)


@pytest.mark.parametrize(
    ("trigger", "key"),
    [
        ("on: performance, share: 0.3", "share"),
        ("on: schedule, every: 1d, share: 0.3", "share"),
        ("on: performance, share_weighted: 0.3", "share_weighted"),
        ("on: performance, severity: critical", "severity"),
        ("on: volume, rows: 5, consecutive: 2", "consecutive"),
        ("on: schedule, every: 1d, consecutive: 1", "consecutive"),
        ("on: performance, every: 1d", "every"),
        ("on: performance, cron: 0 0 * * *", "cron"),
        ("on: volume, rows: 5, timezone: UTC", "timezone"),
        ("on: drift, rows: 5", "rows"),
    ],
)
def test_a_key_that_means_nothing_to_a_trigger_is_named(trigger: str, key: str) -> None:
    said = problems(f"{{triggers: [{{{trigger}}}]}}")
    assert f"policy.triggers[0].{key}: {key!r} is a key of" in said
    assert "leave it out" in said


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("{triggers: [{on: volume}]}", "policy.triggers[0].rows: a volume trigger needs 'rows', such as rows: 10000"),
        ("{triggers: [{on: volume, rows: 0}]}", "policy.triggers[0].rows: "),
        ("{triggers: [{on: schedule}]}", "policy.triggers[0].every: a schedule trigger needs 'every'"),
        ("{triggers: [{on: schedule, every: 1d, cron: 0 0 * * *}]}", "policy.triggers[0].cron: a schedule has"),
        ("{triggers: [{on: schedule, cron: 0 0 * *}]}", "policy.triggers[0].cron: expected five fields"),
        ("{triggers: [{on: schedule, every: 1d, timezone: UTC}]}", "policy.triggers[0].timezone: only 'cron'"),
        ("{triggers: [{on: schedule, cron: 0 0 * * *, timezone: Mars}]}", "policy.triggers[0].timezone: expected a"),
        ("{triggers: [{on: performance, last: 0d}]}", "policy.triggers[0].last: expected a duration longer"),
        ("{triggers: [{on: drift, severity: warning}]}", "policy.triggers[0].severity: "),
        ("{triggers: [{on: drift, severity: critical}]}", "policy.triggers[0].severity: no drift is ever critical"),
        ("{triggers: [{on: drift, share_weighted: 0}]}", "policy.triggers[0].share_weighted: expected a number above"),
        ("{warm_up: 0}", "policy.warm_up: "),
        ("{warm_up: soon}", "policy.warm_up: expected a duration such as"),
        ("{at_most: {retrains: 0, per: 1d}}", "policy.at_most.retrains: "),
        ("{at_most: {retrains: 1, per: 0d}}", "policy.at_most.per: expected a duration longer than nothing"),
        ("{at_most: {retrains: 1}}", "policy.at_most"),
        ("{breaker: {failures: 0}}", "policy.breaker.failures: "),
    ],
)
def test_what_makes_no_sense_is_said_with_its_key(policy: str, says: str) -> None:
    assert says in problems(policy)


def test_everything_there_is() -> None:
    policy = parse_spec(
        HEAD
        + """
drift: {critical_times: 2}
policy:
  triggers:
    - {on: schedule, cron: 0 6 * * mon, timezone: Europe/Berlin, last: 7d}
    - {on: volume, rows: 10000}
    - {on: drift, severity: critical, share: 0.1}
    - {on: drift, share_weighted: 0.4, consecutive: 2}
  warm_up: 3
  at_most: {retrains: 4, per: 30d}
  breaker: null
  hold_on_label_shift: false
"""
    ).policy
    assert policy.triggers[0].last_ms == 7 * 86_400_000
    assert (policy.triggers[1].windows_in_a_row, policy.triggers[3].windows_in_a_row) == (1, 2)
    assert (policy.triggers[2].least_share, policy.triggers[3].least_share) == (0.1, 0.3)
    assert policy.warm_up == 3
    assert policy.at_most is not None
    assert policy.at_most.per_ms == 30 * 86_400_000
    assert policy.breaker is None
    assert parse_spec(HEAD + "policy: {warm_up: 14d}").policy.warm_up == "14d"
    defaults = parse_spec(HEAD).policy
    assert defaults.breaker is not None
    assert (defaults.breaker.failures, defaults.warm_up, defaults.at_most) == (3, None, None)
