"""Detectors over windows: order, restarts, reports, and nothing lost through JSON."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop.concept.base import Detector
from driftloop.concept.build import build_detector, reference_risk
from driftloop.concept.stream import deviations_of, evenly, values_of
from driftloop.concept.watch import ConceptState, advance
from driftloop.events.reports import ConceptReport
from driftloop.performance.loss_bins import LossBin
from driftloop.profiles.reference import LossReference
from driftloop.spec.concept import DETECTORS, ConceptDetector, Setting

HOUR = 3_600_000
DAY = 24 * HOUR
REFERENCE = LossReference(rows=5000, error_mean=0.2, loss_mean=0.14, loss_variance=0.03)
ALL = [ConceptDetector(detector=name) for name in DETECTORS] + [  # type: ignore[arg-type]
    ConceptDetector(detector="adwin", on="error"),
    ConceptDetector(detector="page_hinkley", on="error", threshold=200.0),
    ConceptDetector(detector="hddm_a", on="loss"),
    ConceptDetector(detector="e_detector", on="error", kind="sr", relative=False, tolerance=0.05),
]


def window(day: int, rate: float, seed: int = 0, rows: int = 60) -> list[LossBin]:
    """24 bins of a day; a loss has the mean 0.7 of the error rate, as its reference has."""
    chance = np.random.default_rng([seed, day])
    bins = []
    for hour in range(24):
        losses = chance.beta(2.0, 2.0 / (0.7 * rate) - 2.0, rows)
        bins.append(
            LossBin(
                start_ms=day * DAY + hour * HOUR,
                rows=rows,
                errors=int(chance.binomial(rows, rate)),
                total=float(losses.sum()),
                squares=float((losses * losses).sum()),
            )
        )
    return bins


def history(days: int, change_day: int, seed: int = 0) -> list[list[LossBin]]:
    return [window(day, 0.2 if day < change_day else 0.45, seed) for day in range(days)]


def run(windows: list[list[LossBin]], *, through_json: bool = False) -> list[list[ConceptReport]]:
    state = ConceptState()
    told = []
    for bins in windows:
        told.append(advance(state, "v1", bins, ALL, REFERENCE))
        if through_json:
            state = msgspec.json.decode(msgspec.json.encode(state), type=ConceptState)
    return told


def test_a_replay_through_json_gives_the_same_reports() -> None:
    windows = history(12, 6)
    plain, stored = run(windows), run(windows, through_json=True)
    assert msgspec.json.encode(plain) == msgspec.json.encode(stored)
    assert msgspec.json.decode(msgspec.json.encode(plain), type=list[list[ConceptReport]]) == plain, (
        "no NaN, no infinity"
    )


def test_the_change_is_found_and_dated_by_those_with_a_guarantee() -> None:
    told = run(history(12, 6))
    names = [report.detector for report in told[0]]
    assert names[:3] == ["confidence_sequence:loss", "e_detector:loss", "adwin:loss"]
    assert len(set(names)) == len(names)
    for name in ("confidence_sequence:loss", "e_detector:loss", "e_detector:error"):
        at = names.index(name)
        states = [reports[at].state for reports in told]
        assert "drift" not in states[:6], name
        first = states.index("drift")
        assert first <= 7, name
        report = told[first][at]
        assert report.changed_at_ms is not None
        assert abs(report.changed_at_ms - 6 * DAY) <= 3 * HOUR
        assert report.bound is not None
        assert report.reference is not None
        assert report.reference < report.bound
        assert "reference" in report.sentence
    assert [reports[0].state for reports in told[7:]] == ["drift"] * 5, "it holds while the risk stays high"
    assert told[5][0].low < told[5][0].risk < told[5][0].high  # type: ignore[operator]


def test_what_gets_better_is_no_drift() -> None:
    windows = [window(day, 0.2 if day < 8 else 0.03) for day in range(16)]
    told = run(windows)
    of_adwin = [reports[[r.detector for r in reports].index("adwin:error")] for reports in told]
    assert any(report.fell for report in of_adwin[8:])
    assert all(report.state != "drift" for report in of_adwin[8:])
    assert any("fell about" in report.sentence for report in of_adwin)


def test_another_version_or_other_settings_start_anew() -> None:
    state = ConceptState()
    rules = [ConceptDetector(detector="adwin"), ConceptDetector(detector="hddm_a")]
    advance(state, "v1", window(0, 0.2), rules, REFERENCE)
    second = advance(state, "v1", window(1, 0.2), rules, REFERENCE)
    assert [report.rows for report in second] == [2880, 2880]
    changed = [ConceptDetector(detector="adwin", delta=0.01), rules[1]]
    third = advance(state, "v1", window(2, 0.2), changed, REFERENCE)
    assert [report.rows for report in third] == [1440, 4320]
    assert [report.since_ms for report in third] == [2 * DAY, 0]
    fourth = advance(state, "v2", window(3, 0.2), changed, REFERENCE)
    assert [report.rows for report in fourth] == [1440, 1440]


def test_without_reference_or_losses_it_says_so() -> None:
    state = ConceptState()
    told = {report.detector: report for report in advance(state, "v1", window(0, 0.2), ALL, None)}
    assert told["adwin:loss"].state == "ok"
    for name in ("confidence_sequence:loss", "e_detector:loss", "page_hinkley:loss"):
        assert told[name].state == "insufficient"
        assert "reference" in told[name].sentence
    kept = msgspec.json.encode(state)
    missing = advance(state, "v1", None, ALL, None)
    assert {report.state for report in missing} == {"insufficient"}
    assert "not kept" in {r.detector: r for r in missing}["adwin:loss"].sentence
    assert msgspec.json.encode(state) == kept
    assert "no labeled row" in advance(ConceptState(), "v1", [], ALL, REFERENCE)[0].sentence
    few = LossReference(rows=3, error_mean=0.9, loss_mean=0.9)
    hopeless = advance(ConceptState(), "v1", window(0, 0.2), ALL[:1], few)[0]
    assert (hopeless.state, "few rows" in hopeless.sentence) == ("insufficient", True)


@given(rows=st.integers(0, 400), data=st.data())
@settings(max_examples=60, deadline=None)
def test_errors_are_spread_evenly(rows: int, data: st.DataObject) -> None:
    ones = data.draw(st.integers(0, rows))
    spread = evenly(rows, ones)
    assert (spread.size, int(spread.sum())) == (rows, ones)
    assert set(spread.tolist()) <= {0.0, 1.0}
    upto = np.cumsum(spread)
    assert (np.abs(upto - np.arange(1, rows + 1) * ones / max(rows, 1)) <= 1.0).all()


def test_deviations_have_no_unit() -> None:
    part = LossBin(start_ms=0, rows=400, errors=80, total=400 * 0.15, squares=20.0)
    assert deviations_of(part, "loss", 0.14, 0.1).tolist() == [pytest.approx(2.0)]
    assert deviations_of(part, "error", 0.2, 0.4).mean() == pytest.approx(0.0)
    assert values_of(part, "loss").tolist() == [0.15]


@pytest.mark.parametrize("name", DETECTORS)
def test_the_defaults_in_the_spec_are_those_of_the_detector(name: str) -> None:
    rules = ConceptDetector(detector=name)  # type: ignore[arg-type]
    built = build_detector(rules, reference_risk(REFERENCE, rules.stream))
    assert isinstance(built, Detector)
    for setting, value in rules.settings.items():
        if setting not in ("tolerance", "relative", "unit") and (name, setting) != ("confidence_sequence", "alpha"):
            assert getattr(built, {"threshold": "threshold_"}.get(setting, setting)) == value
            if (name, setting) != ("page_hinkley", "mode"):
                default = type(built).__struct_defaults__
                assert value in default, "the class alone has the same default"


def test_settings_out_of_range_say_what_was_expected() -> None:
    assert Setting(0.5, above=0.0, below=1.0).problem(1) == "expected a number more than 0 and less than 1, got 1"
    assert Setting(1, least=1).problem(0) == "expected a number at least 1, got 0"
    assert Setting(1, least=1).problem(1) is None
    assert Setting("sr").problem("sr") is None
