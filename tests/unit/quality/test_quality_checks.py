"""Each check on a window with a known answer, extremes, and how often stable data raises a false alarm."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy import stats as scipy_stats

from driftloop.events.reports import QualityReport
from driftloop.profiles.columns import PREDICTION
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile
from driftloop.profiles.row_hashes import row_hashes
from driftloop.quality.duplicates import copies_share
from driftloop.quality.history import KEPT_SHARES, QualityHistory, caught_up, remember
from driftloop.quality.judge import judge_quality, judge_volume, usual_findings
from driftloop.spec import ModelSpec, parse_spec

DAY = 86_400_000
FEATURES = "model: m\ntask: binary\nminimum_rows: 50\nfeatures: {x: {kind: numeric}, c: {kind: categorical}}\n"
SPEC = parse_spec(FEATURES)


def profile(x: Sequence[float], c: Sequence[str | None], spec: ModelSpec = SPEC) -> ReferenceProfile:
    return ReferenceProfile.build(spec, {"x": np.array(x, np.float64), "c": list(c)}, model_version="v1")


REFERENCE = profile(range(1000), ["a"] * 700 + ["b"] * 250 + ["c"] * 45 + ["d"] * 5)


def window(x: Sequence[float], c: Sequence[str | None] = (), reference: ReferenceProfile = REFERENCE) -> InputStats:
    found = InputStats(reference)
    texts = list(c) or (["a", "a", "b", "c"] * len(x))[: len(x)]
    found.update({"x": np.array(x, np.float64), "c": texts}, len(x))
    return found


#: A week of windows in which nothing was found.
SOUND = QualityHistory(version="v1", end_ms=DAY, window_ms=DAY, judged=7)


def judged(
    found: InputStats, spec: ModelSpec = SPEC, history: QualityHistory | None = None
) -> dict[str, QualityReport]:
    """By subject; without ``history`` a sound week is behind the window, and checks against it are left out."""
    reports = judge_quality(found, spec, history or SOUND)
    if history is None:
        reports = [r for r in reports if r.check not in ("repeated_ids", "duplicate_rows", "new_keys")]
    assert len({report.subject for report in reports}) == len(reports)
    return {report.subject: report for report in reports}


def broken(found: InputStats, spec: ModelSpec = SPEC, history: QualityHistory | None = None) -> set[str]:
    return {name for name, report in judged(found, spec, history).items() if report.decision == "broken"}


VARIED = list(np.linspace(0, 999, 200))


def test_a_window_like_the_reference_is_fine() -> None:
    assert judged(window(VARIED)) == {}


# -- infinite


def test_infinite_values() -> None:
    report = judged(window([*VARIED, math.inf, -math.inf, math.inf, math.inf]))["x/infinite"]
    expected = scipy_stats.fisher_exact([[4, 200], [0, 1000]], alternative="greater").pvalue
    assert report.statistic == pytest.approx(4 / 204)
    assert report.p_value == pytest.approx(expected, rel=1e-9)
    assert report.decision == "ok", "four rows may be chance at a significance of 0.001 over two features"
    assert broken(window([*VARIED, *[math.inf] * 10])) == {"x/infinite"}


def test_infinite_values_that_the_reference_has_too_are_fine() -> None:
    reference = profile([*range(900), *[math.inf] * 100], ["a", "b"] * 500)
    assert broken(window([*VARIED, *[math.inf] * 20], reference=reference)) == set()


# -- constant and stuck


def test_a_constant_column() -> None:
    report = judged(window([7.0] * 100))["x/constant"]
    expected = scipy_stats.fisher_exact([[100, 0], [1, 999]], alternative="greater").pvalue
    assert (report.decision, report.rows) == ("broken", 100)
    assert report.p_value == pytest.approx(expected, rel=1e-9)
    assert report.sentence == "x is 7 in all 100 rows that have it, in 1 of 1,000 in the reference"
    assert broken(window(VARIED, ["zz"] * 200)) >= {"c/constant"}
    assert judged(window(VARIED, ["a"] * 200))["c/constant"].decision == "broken"


def test_missing_rows_do_not_make_a_column_vary() -> None:
    assert "x/constant" in broken(window([7.0, math.nan] * 100))
    assert "c/constant" in broken(window(VARIED, ["a", None] * 100))


def test_what_is_nearly_constant_may_be_constant() -> None:
    reference = profile([0.0] * 995 + [1.0] * 5, ["a"] * 998 + ["b"] * 2)
    assert broken(window([0.0] * 200, ["a"] * 200, reference)) == set()


def test_what_was_constant_stays_constant() -> None:
    reference = profile([3.0] * 500, ["a"] * 500)
    assert judged(window([3.0] * 200, ["a"] * 200, reference)) == {}


def test_too_few_rows_tell_no_constant() -> None:
    assert judged(window([7.0] * 49, ["a"] * 49)) == {}
    assert judged(window([], [])) == {}
    assert judged(window([math.nan] * 100, [None] * 100)) == {}


@pytest.mark.parametrize("value", [41.0, 41.5, 999.0, 0.0])
def test_a_stuck_value_or_gap(value: float) -> None:
    report = judged(window([*VARIED[::2], *[value] * 150]))["x/stuck"]
    assert report.decision == "broken"
    assert report.statistic == pytest.approx(0.6, abs=0.01)


def test_a_shift_is_not_stuck() -> None:
    assert broken(window([value + 5_000 for value in VARIED])) == set()
    flag = profile([0.0] * 800 + [1.0] * 200, ["a", "b"] * 500)
    assert broken(window([1.0] * 160 + [0.0] * 40, ["a", "b"] * 100, flag)) == set()


def test_many_anchors_make_gaps_that_stuck_values_fall_into() -> None:
    chance = np.random.default_rng(1)
    reference = profile(list(chance.normal(size=5_000)), ["a", "b"] * 2_500)
    values = [*chance.normal(size=200), *[0.123456] * 300]
    assert broken(window(values, ["a", "b"] * 250, reference)) == {"x/stuck"}


# -- what is usual


def test_what_windows_always_have_is_no_break() -> None:
    """Such as the day of the week in windows of a day: constant or nearly so in each, with another value."""
    reference = profile([number % 7 for number in range(1000)], ["a", "b"] * 500)
    known = QualityHistory()
    for day in range(1, 40):
        found = window([float(day % 7)] * 200, ["a", "b"] * 100, reference)
        known = caught_up(known, day * DAY, DAY)
        reports = judge_quality(found, SPEC, known)
        assert {r.decision for r in reports if r.check in ("constant", "stuck")} == {
            "insufficient" if day == 1 else "ok"
        }
        usual = usual_findings(reports, found, SPEC)
        assert usual == ["x/constant", "x/stuck"]
        known = remember(known, found, "v1", rows=200, end_ms=(day + 1) * DAY, copies=0.0, usual=usual)


def test_a_break_is_not_learned_however_long_it_lasts() -> None:
    known = SOUND
    for day in range(1, 60):
        found = window([7.0] * 200)
        known = caught_up(known, day * DAY, DAY)
        reports = judge_quality(found, SPEC, known)
        assert {r.decision for r in reports if r.check in ("constant", "stuck")} == {"broken"}
        usual = usual_findings(reports, found, SPEC)
        assert usual == []
        known = remember(known, found, "v1", rows=200, end_ms=(day + 1) * DAY, copies=0.0, usual=usual)


def test_what_was_usual_is_forgotten_after_four_weeks() -> None:
    known = msgspec.structs.replace(SOUND, usual={"x/constant": DAY})
    for day in range(1, 29):
        known = remember(known, window(VARIED), "v1", rows=200, end_ms=(day + 1) * DAY, copies=0.0)
        assert ("x/constant" in known.usual) == (day < 28)


def test_what_is_not_significant_is_not_usual_either() -> None:
    reference = profile([0.0] * 500 + [1.0] * 500, ["a", "b"] * 500)
    found = window([0.0] * 8, ["a"] * 8, reference)
    loose = parse_spec(FEATURES.replace("minimum_rows: 50", "minimum_rows: 5"))
    reports = judge_quality(found, loose, SOUND)
    assert judged(found, loose)["x/constant"].decision == "ok"
    assert usual_findings(reports, found, loose) == []


def test_in_the_first_week_nothing_is_said_of_it() -> None:
    assert judged(window([7.0] * 200), history=history(judged=6))["x/constant"].decision == "insufficient"


def test_constant_is_usual_where_stuck_is() -> None:
    """A day that the evening before does not reach into makes no break of a day of the week."""
    reference = profile([number % 7 for number in range(1000)], ["a", "b"] * 500)
    found = window([3.0] * 200, ["a", "b"] * 100, reference)
    known = history(usual={"x/stuck": DAY})
    assert judged(found, history=known)["x/constant"].decision == "ok"
    assert "so it was in earlier windows" in judged(found, history=known)["x/constant"].sentence


# -- lost categories


def test_lost_categories() -> None:
    report = judged(window(VARIED * 2, ["a", "b"] * 200))["c/lost"]
    expected = scipy_stats.fisher_exact([[0, 400], [45, 955]], alternative="less").pvalue
    assert report.statistic == pytest.approx(0.045), "of the two that are gone five rows of d may be chance"
    assert report.p_value == pytest.approx(4 * expected, rel=1e-9)
    assert report.decision == "broken"
    assert "(c)" not in report.sentence
    assert "('c')" in report.sentence


def test_a_rare_category_may_be_absent() -> None:
    assert judged(window(VARIED, ["a", "b", "a", "c"] * 50)) == {}
    assert judged(window(VARIED[:60], ["a", "b"] * 30)) == {}


def test_ten_thousand_categories() -> None:
    reference = profile([0.0, 1.0] * 10_000, [f"c{number % 10_000}" for number in range(20_000)])
    assert judged(window([0.0, 1.0] * 500, [f"c{number}" for number in range(1_000)], reference)) == {}


# -- rules and type errors


RULES = parse_spec(FEATURES.replace("numeric}", "numeric, maximum: 5, max_violations: 0.1}"))


def test_a_tolerated_share_of_violations_leaves_room_for_chance() -> None:
    found = window(VARIED)
    found.quality.add_violations({("x", "maximum"): 25})
    report = judged(found, RULES)["x/maximum"]
    expected = scipy_stats.binomtest(25, 200, 0.1, alternative="greater").pvalue
    assert (report.statistic, report.threshold, report.decision) == (0.125, 0.1, "ok")
    assert report.p_value == pytest.approx(expected, rel=1e-9)
    found.quality.add_violations({("x", "maximum"): 25})
    assert broken(found, RULES) == {"x/maximum"}


def test_without_tolerance_one_row_is_enough() -> None:
    strict = parse_spec(FEATURES.replace("numeric}", "numeric, maximum: 5}"))
    found = window(VARIED)
    assert judged(found, strict)["x/maximum"].decision == "ok"
    found.quality.add_violations({("x", "maximum"): 1})
    report = judged(found, strict)["x/maximum"]
    assert (report.decision, report.p_value) == ("broken", None)
    assert report.sentence == "x is above 5 in 1 of 200 rows (0.5 %)"


def test_type_errors() -> None:
    found = window(VARIED)
    for kind, records in (("got str", 30), ("missing", 5)):
        found.quality.add_refused("x", kind, records)
    found.quality.add_refused("c", "got float", 1)
    reports = judged(found)
    assert (reports["x/type_errors"].statistic, reports["x/type_errors"].rows) == (35 / 236, 236)
    assert (
        "x could not be read in 14.8 % of 236 records (got str 30 times, missing 5 times)"
        in reports["x/type_errors"].sentence
    )
    assert broken(found) == {"x/type_errors"}


def test_a_window_of_unreadable_records_alone() -> None:
    found = InputStats(REFERENCE)
    found.quality.add_refused("@features", "got array", 10)
    assert broken(found) == {"@features/type_errors"}


# -- duplicates and keys


def history(**changes: Any) -> QualityHistory:
    return QualityHistory(**{"version": "v1", "end_ms": DAY, "window_ms": DAY, "judged": 7} | changes)


def test_repeated_ids_against_earlier_windows() -> None:
    found = window(VARIED)
    found.quality.repeated_ids = 50
    report = judged(found, history=history())["repeated_ids"]
    assert (report.statistic, report.rows, report.decision) == (0.2, 250, "broken")
    assert report.p_value == pytest.approx(scipy_stats.binomtest(50, 250, 0.1, alternative="greater").pvalue, rel=1e-9)
    usual = history(repeated=((40, 200), (38, 200), (44, 200)))
    assert judged(found, history=usual)["repeated_ids"].decision == "ok"


def rows_of(raws: list[bytes]) -> InputStats:
    found = window((VARIED * (len(raws) // 200 + 1))[: len(raws)])
    found.quality.hashed_rows = len(raws)
    found.quality.distinct.update(row_hashes(raws, len(raws)))
    return found


def test_copies_against_earlier_windows() -> None:
    found = rows_of([b"%d" % (number % 120) for number in range(200)])
    assert copies_share(found, 50) == pytest.approx(0.4)
    assert copies_share(found, 201) is None
    calm = history(copies=(0.05, 0.02, 0.03, 0.04, 0.06, 0.05))
    report = judged(found, history=calm)["duplicate_rows"]
    assert (report.decision, report.statistic) == ("broken", pytest.approx(0.355))
    used_to_it = history(copies=(0.4, 0.38, 0.43, 0.35, 0.41))
    assert judged(found, history=used_to_it)["duplicate_rows"].decision == "ok"
    assert judged(found, history=history())["duplicate_rows"].decision == "insufficient"


def test_new_keys_against_earlier_windows() -> None:
    found = window(VARIED)
    known = frozenset({"x", "c"})
    found.quality.keys.update([b'{"x":1,"c":"a","id":1}', b'{"x":1,"c":"a","id":1,"z":1}'] * 10, known)
    before = history(keys={"id": DAY}, key_rows=(20, 20))
    report = judged(found, history=before)["new_keys"]
    assert (report.statistic, report.rows, report.decision) == (0.5, 20, "broken")
    assert "1 new keys in features that the spec has not ('z')" in report.sentence
    assert judged(found, history=history())["new_keys"].decision == "insufficient"
    after = remember(before, found, "v1", rows=200, end_ms=2 * DAY, copies=None)
    assert judged(found, history=after)["new_keys"].decision == "ok"


def test_a_key_that_is_gone_where_the_reference_had_values() -> None:
    found = window(VARIED)
    found.quality.keys.update([b'{"x":1}'] * 12, frozenset({"x", "c"}))
    assert broken(found) == {"c/absent_key"}
    sparse = profile(range(1000), [None] * 980 + ["a", "b"] * 10)
    found = window(VARIED, [None] * 200, sparse)
    found.quality.keys.update([b'{"x":1}'] * 12, frozenset({"x", "c"}))
    assert broken(found) == set(), "missing nearly always before"


def test_the_memory_of_earlier_windows_is_bounded() -> None:
    known = history()
    for day in range(2, 200):
        found = window(VARIED)
        found.quality.keys.extra.add({f"k{day}-{number}": 1 for number in range(40)})
        known = remember(caught_up(known, (day - 1) * DAY, DAY), found, "v1", rows=200, end_ms=day * DAY, copies=0.1)
    assert (len(known.repeated), len(known.copies), len(known.key_rows), len(known.rows)) == (KEPT_SHARES,) * 4
    assert len(known.keys) == 256
    assert {name.split("-")[0] for name in known.keys} <= {f"k{day}" for day in range(193, 200)}


# -- all together


def test_every_check_can_be_switched_off() -> None:
    off = "quality: {type_errors: null, infinite: null, constant: null, stuck_values: null, lost_categories: null, "
    off += "repeated_ids: null, duplicate_rows: null, new_keys: null, absent_keys: false}"
    found = window([7.0] * 180 + [math.inf] * 20, ["a"] * 200)
    found.quality.add_refused("x", "missing", 500)
    found.quality.repeated_ids = 500
    found.quality.keys.update([b'{"z":1}'] * 12, frozenset({"x", "c"}))
    checks = {subject.split("/")[-1] for subject in broken(found, history=history(key_rows=(50,)))}
    assert checks == {
        *("type_errors", "infinite", "constant", "stuck", "lost", "repeated_ids", "new_keys", "absent_key")
    }
    assert judged(found, parse_spec(FEATURES + off), history()) == {}
    assert judged(found, parse_spec(FEATURES + "quality: {enabled: false}"), history()) == {}


@pytest.mark.parametrize("seed", range(3))
def test_stable_data_raises_at_most_one_false_alarm_in_a_hundred_windows(seed: int) -> None:
    """Heavy-tailed categories, a rare flag, few distinct inputs, repeats: windows from the reference's distribution."""
    chance = np.random.default_rng(seed)
    spec = parse_spec(
        "{model: m, task: binary, features: {a: {kind: numeric}, b: {kind: numeric}, rare: {kind: numeric}, "
        "c: {kind: categorical}, d: {kind: categorical}}}"
    )

    def draw(rows: int) -> dict[str, Any]:
        return {
            "a": chance.normal(size=rows),
            "b": chance.integers(0, 5, rows).astype(np.float64),
            "rare": (chance.random(rows) < 0.01).astype(np.float64),
            "c": list(chance.choice(list("abcdefgh"), rows, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.05, 0.03, 0.02])),
            "d": [f"k{number}" for number in chance.zipf(1.5, rows)],
            PREDICTION: chance.random(rows),
        }

    alarms = windows = 0
    for _ in range(6):
        reference = ReferenceProfile.build(spec, draw(3_000), model_version="v1")
        known, base = QualityHistory(), chance.choice([120, 900])
        for day in range(1, 41):
            mean = base * (0.3 if day % 7 > 4 else 1.0)
            rows = int(chance.negative_binomial(50, 50 / (50 + mean)))
            columns = draw(rows)
            found = InputStats(reference)
            found.update(columns, rows)
            raws = [json.dumps([b, c]).encode() for b, c in zip(columns["b"], columns["c"], strict=True)]
            found.quality.hashed_rows = rows
            found.quality.distinct.update(row_hashes(raws, rows))
            found.quality.repeated_ids = int(chance.binomial(rows, 0.05))
            found.quality.keys.rows = rows // 16
            known = caught_up(known, day * DAY, DAY)
            reports = [*judge_quality(found, spec, known), *judge_volume(known, rows, day * DAY, spec)]
            alarms += any(report.decision == "broken" for report in reports)
            windows += 1
            copies = copies_share(found, spec.minimum_rows)
            usual = usual_findings(reports, found, spec)
            known = remember(known, found, "v1", rows=rows, end_ms=(day + 1) * DAY, copies=copies, usual=usual)
    assert alarms / windows <= 0.01
