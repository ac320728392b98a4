"""Which version serves a window: steady while versions share the traffic, at once when one takes over."""

from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.judging.assess import Judged, judge_window
from driftloop.judging.report import MergedPart
from driftloop.judging.serving import serving_version
from driftloop.judging.state import ModelState
from driftloop.monitoring.catalog import new_outcomes
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec import ModelSpec, parse_spec
from driftloop.windows.assembly import WindowKey

DAY = 86_400_000
TEXT = """
model: m
task: binary
features: {x: {kind: numeric}}
minimum_rows: 30
drift: {numeric: [{method: wasserstein, threshold: 0.5}]}
concept: {detectors: []}
quality: {enabled: false}
policy: {triggers: [{on: drift, share: 0.5, consecutive: 2}], warm_up: 2, cooldown: 20d, minimum_labeled_rows: 1}
"""
SPEC = parse_spec(TEXT)
AB = {51: {"v1": 102, "v2": 98}, 49: {"v1": 98, "v2": 102}}


def canary(share: float) -> ModelSpec:
    arms = f"{{champion: a, challenger: b, share: {share}}}"
    return parse_spec(f"{TEXT}promotion: canary\nshadow: {{canary: {arms}}}\n")


class World:
    """Windows of one model with several versions; its state goes through JSON after each.

    ``promoted`` and ``arms``: from which day's end on each version is one.
    """

    def __init__(
        self, spec: ModelSpec = SPEC, promoted: dict[str, int] | None = None, arms: dict[str, int] | None = None
    ) -> None:
        self.spec, self.state, self.judged = spec, ModelState(), Judged()
        self.promoted = {"v1": 0, "v2": 0, "v3": 0} if promoted is None else promoted
        self.arms = arms or {}
        self.chance = np.random.default_rng(3)
        self.profiles = {
            version: ReferenceProfile.build(spec, {"x": self.chance.normal(0, 1, 500)}, model_version=version)
            for version in ("v1", "v2", "v3")
        }

    def may(self, known: dict[str, int]):  # type: ignore[no-untyped-def]
        return lambda _, version, at_ms: at_ms >= known.get(version, 10**6) * DAY

    def judge(self, kind: str, day: int, rows: dict[str, int], shift: float) -> None:
        parts = []
        for version, count in rows.items():
            profile = self.profiles[version]
            if kind == "input":
                inputs = InputStats(profile)
                inputs.update({"x": self.chance.normal(shift, 1, count)}, count)
                parts.append(MergedPart(version, "", inputs, [], profile))
            else:
                outcomes = new_outcomes(self.spec, profile)
                offsets = np.sort(self.chance.integers(0, DAY, count))
                outcomes.add_predicted(count, offsets)
                labels = self.chance.integers(0, 2, count)
                outcomes.update(self.chance.random(count), labels, np.zeros(count, np.int64), offsets_ms=offsets)
                parts.append(MergedPart(version, "", outcomes, [], profile))
        key = WindowKey(day * DAY, (day - 1) * DAY, "m", kind)  # type: ignore[arg-type]
        approved = self.may({**self.arms, **self.promoted})
        given = judge_window(
            key, parts, self.state, self.spec, "digest", approved=approved, promoted=self.may(self.promoted)
        )
        self.judged.add(given)
        self.state = msgspec.json.decode(msgspec.json.encode(self.state), type=ModelState)

    def days(self, *days: dict[str, int], shift: float = 0.0, from_day: int = 1, ahead: int = 0) -> list[str]:
        """The version that the policy hears of on each day. Inputs are judged so many days before outcomes."""
        heard = []
        for number in range(len(days) + ahead):
            if number < len(days):
                self.judge("input", from_day + number, days[number], shift)
            if number >= ahead:
                self.judge("outcome", from_day + number - ahead, days[number - ahead], shift)
                heard.append(self.state.policy.champion_version)
        return heard

    def told(self) -> list[tuple[int, str]]:
        return [(decision.window_end_ms // DAY, decision.outcome) for decision in self.judged.decisions]


@pytest.mark.parametrize("ahead", [0, 3])
def test_versions_that_share_the_traffic_keep_rows_of_windows_and_warm_up(ahead: int) -> None:
    world = World()
    shares = [AB[51 if day % 2 else 49] for day in range(6)]
    assert world.days(*shares, shift=2.0, ahead=ahead) == ["v2"] * 6
    assert world.told()[:2] == [(2, "hold"), (3, "retrain")]
    assert "the champion warms up: this is window 2 of 2" in world.judged.decisions[0].reason
    assert world.state.policy.champion_windows == 6
    assert [alert.state for alert in world.judged.alerts if alert.subject == "x"] == ["opened"] + ["firing"] * 5


def test_chance_about_one_half_changes_nothing() -> None:
    world = World()
    draws = random.Random(5)
    days = [{"v1": count, "v2": 200 - count} for count in (draws.randrange(80, 121) for _ in range(20))]
    assert len(set(world.days(*days))) == 1


@pytest.mark.parametrize("ahead", [0, 2])
def test_a_promotion_hands_over_at_once(ahead: int) -> None:
    world = World(promoted={"v1": 0, "v2": 3})
    days = [{"v1": 200}, {"v1": 200}, {"v1": 130, "v2": 70}, {"v2": 200}, {"v2": 200}]
    assert world.days(*days, ahead=ahead) == ["v1", "v1", "v1", "v2", "v2"]
    assert world.state.policy.champion_since_ms == 3 * DAY
    early = World(promoted={"v1": 0, "v2": 3})
    days[2] = {"v1": 60, "v2": 140}
    assert early.days(*days, ahead=ahead) == ["v1", "v1", "v2", "v2", "v2"]


def test_a_rollback_hands_over_as_well() -> None:
    world = World(promoted={"v1": 0, "v2": 2})
    assert world.days({"v1": 200}, {"v2": 200}, {"v1": 200}, {"v1": 150, "v2": 50}) == ["v1", "v2", "v1", "v1"]


@pytest.mark.parametrize("share", [0.5, 0.6, 0.9])
def test_a_canary_above_one_half_is_not_the_champion(share: float) -> None:
    world = World(canary(share), promoted={"v1": 0, "v2": 6}, arms={"v2": 2})
    arms = {"v1": round(200 * (1 - share)), "v2": round(200 * share)}
    days = [{"v1": 200}, *[arms] * 4, {"v2": 200}]
    assert world.days(*days) == ["v1"] * 5 + ["v2"]


def test_promoted_by_the_registry_before_it_was_judged_or_after_makes_no_difference() -> None:
    """A verdict has an event time before the moment in which it is written: a replay knows of it a window earlier."""
    arms = {"v1": 20, "v2": 180}
    days = [{"v1": 200}, arms, arms, arms, {"v2": 200}]
    live, replay = World(canary(0.9), {"v1": 0, "v2": 5}, {"v2": 2}), World(canary(0.9), {"v1": 0, "v2": 3}, {"v2": 2})
    assert live.days(*days) == replay.days(*days) == ["v1"] * 4 + ["v2"]


def test_the_next_canary_is_not_taken_for_the_champion_before_it() -> None:
    world = World(canary(0.6), promoted={"v1": 0, "v2": 3}, arms={"v2": 2, "v3": 4})
    days = [{"v1": 200}, {"v1": 80, "v2": 120}, {"v1": 80, "v2": 120}, {"v2": 80, "v3": 120}]
    assert world.days(*days) == ["v1", "v1", "v1", "v2"]


def test_who_was_never_approved_serves_only_where_nobody_else_does() -> None:
    world = World(promoted={"v1": 0})
    days = [{"v1": 200}, {"v1": 1, "v3": 199}, {"v1": 0, "v3": 150, "v2": 50}, {"v3": 60, "v2": 140}, {"v1": 10}]
    assert world.days(*days) == ["v1", "v1", "v3", "v2", "v1"]


KEY = WindowKey(DAY, 0, "m", "input")
VERSIONS = st.sampled_from(["v1", "v2", "v3", "v4"])


@given(st.dictionaries(VERSIONS, st.integers(0, 50), min_size=1), VERSIONS, st.sets(VERSIONS), st.sets(VERSIONS))
def test_what_is_chosen(rows: dict[str, int], last: str, promoted: set[str], arms: set[str]) -> None:
    def serves(given: dict[str, int], before: str) -> str | None:
        return serving_version(
            KEY, given, before, SPEC, lambda _, name, __: name in promoted, lambda _, name, __: name in promoted | arms
        )

    found = serves(rows, last)
    assert found in rows
    assert found == serves(dict(reversed(rows.items())), last), "no order of versions matters"
    assert found == serves(rows, found), "who serves stays, the same rows given"
    if any(rows.values()):
        assert rows[found] > 0
    for better in (promoted, promoted | arms):
        if found not in better:
            assert not any(rows[name] for name in better & rows.keys())


def test_without_any_version_nothing_serves() -> None:
    assert serving_version(KEY, {}, "v1", SPEC, lambda *_: True, lambda *_: True) is None
