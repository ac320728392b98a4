"""Every method of the catalogue: it resolves, it survives extremes, and its result is carried and judged as it says."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from driftloop.drift.measure import Measurement, measure_feature
from driftloop.drift.methods import categorical_method, numeric_method
from driftloop.drift.pairs import Outcome
from driftloop.events.reports import MethodResult
from driftloop.profiles.numeric import NumericSummary
from driftloop.spec.methods import METHODS, method_names
from driftloop.spec.model import DriftMethod, DriftRules
from support.drift_pairs import categorical_pair, counted_pair, numeric_pair

DOCS = Path(__file__).resolve().parents[3] / "docs"
LARGEST = sys.float_info.max

NUMERIC_EXTREMES = {
    "one value each": ([1.0], [2.0]),
    "one value against many": (np.arange(40.0), [3.5]),
    "constant": ([7.0] * 30, [7.0] * 9),
    "constant that moves": ([7.0] * 30, [8.0] * 9),
    "constant window": (np.arange(30.0), [7.0] * 9),
    "beyond on both sides": ([0.0, 1.0], [-5.0, 9.0, 10.0]),
    "largest floats": ([-LARGEST, 0.0, LARGEST], [LARGEST, 0.0, -LARGEST, 1e308]),
    "largest against small": ([0.0, 1.0], [LARGEST] * 5),
    "opposite ends": ([LARGEST] * 2, [-LARGEST] * 2),
    "1e308": (np.linspace(-1, 1, 50) * 1e308, np.linspace(0, 1.5, 20) * 1e308),
    "subnormal": ([0.0, 5e-324], [LARGEST, -LARGEST, 5e-324]),
    "beyond 2**53": (2.0**53 + np.arange(0, 400, 2), 2.0**53 + np.arange(100, 600, 2)),
    "infinities beside": (np.append(np.arange(50.0), math.inf), [1.0, 2.0, -math.inf, math.inf, 3.0]),
    "few values": (np.repeat([0.0, 1.0, 2.0], [50, 30, 20]), np.repeat([0.0, 1.0, 2.0], [5, 3, 9])),
    "quantile anchors": (np.random.default_rng(0).normal(size=5_000), np.random.default_rng(1).normal(size=700)),
}
CATEGORICAL_EXTREMES = {
    "one category": ([9], [4]),
    "nothing in common": ([9, 0], [0, 4]),
    "one row each": ([1, 0], [0, 1]),
    "10,000 categories": (np.arange(1, 10_001).tolist(), np.arange(10_000, 0, -1).tolist()),
    "10,000 categories and few rows": ([1] * 10_000, [1] * 50 + [0] * 9_950),
    "two of very different size": ([2_000_000, 3], [40, 1]),
}


def check(outcome: Outcome, name: str) -> None:
    entry = METHODS[name]
    for number in (outcome.statistic, outcome.p_value, outcome.low, outcome.high, outcome.change):
        assert number is None or math.isfinite(number), (name, outcome)
    assert (outcome.p_value is not None) == (entry.test and outcome.statistic is not None)
    if outcome.p_value is not None:
        assert 0.0 <= outcome.p_value <= 1.0
    if outcome.statistic is None:
        assert entry.test
        return
    if name not in ("anderson_darling", "cramer_von_mises"):  # centred at 1 and at the limit's course: may be below 0
        assert outcome.statistic >= 0.0
    if entry.largest is not None:
        assert outcome.statistic <= entry.largest
    if outcome.low is not None:
        assert outcome.low <= outcome.statistic * (1 + 1e-12)
    if outcome.high is not None:
        assert outcome.high >= outcome.statistic * (1 - 1e-12)
    if outcome.change is not None:
        assert abs(outcome.change) == outcome.statistic


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", method_names("numeric"))
@pytest.mark.parametrize("extreme", NUMERIC_EXTREMES)
def test_numeric_extremes(name: str, extreme: str) -> None:
    check(numeric_method(name)(numeric_pair(*NUMERIC_EXTREMES[extreme])), name)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", method_names("categorical"))
@pytest.mark.parametrize("extreme", CATEGORICAL_EXTREMES)
def test_categorical_extremes(name: str, extreme: str) -> None:
    check(categorical_method(name)(counted_pair(*CATEGORICAL_EXTREMES[extreme])), name)


@pytest.mark.parametrize("name", method_names("categorical"))
def test_more_categories_than_a_reference_keeps(name: str) -> None:
    names = [f"c{index:05}" for index in range(12_000)]
    pair = categorical_pair(names * 2, names)
    assert pair.reference.other == 4_000
    check(categorical_method(name)(pair), name)


@pytest.mark.parametrize("name", method_names("numeric"))
def test_numeric_methods_grow_with_the_drift_and_tests_become_significant(name: str) -> None:
    random = np.random.default_rng(3)
    reference = random.normal(size=2_000)
    found = [numeric_method(name)(numeric_pair(reference, random.normal(shift, 1, 500))) for shift in (0, 0.5, 2.0)]
    statistics = [outcome.statistic for outcome in found]
    assert statistics == sorted(statistics, key=lambda statistic: -1.0 if statistic is None else statistic)
    threshold = METHODS[name].default_threshold
    if threshold is not None:
        assert statistics[0] is not None
        assert statistics[-1] is not None
        assert statistics[0] < threshold < statistics[-1]
    if METHODS[name].test:
        assert found[0].p_value is not None
        assert found[-1].p_value is not None
        assert found[0].p_value > 0.01
        assert found[-1].p_value < 1e-6


@pytest.mark.parametrize("name", method_names("categorical"))
def test_categorical_methods_grow_with_the_drift_and_tests_become_significant(name: str) -> None:
    tables = {
        "lost_share": ([600, 400], ([310, 190], [310, 190], [500, 0])),
        "lost_categories": ([600, 400], ([310, 190], [310, 190], [500, 0])),
    }
    reference, windows = tables.get(name, ([600, 400], ([310, 190], [400, 100], [30, 470])))
    found = [categorical_method(name)(counted_pair(reference, window)) for window in windows]
    statistics = [outcome.statistic for outcome in found]
    assert statistics == sorted(statistics, key=lambda statistic: -1.0 if statistic is None else statistic)
    threshold = METHODS[name].default_threshold
    if threshold is not None:
        assert statistics[0] is not None
        assert statistics[-1] is not None
        assert statistics[0] < threshold <= statistics[-1]
    if METHODS[name].test:
        assert found[0].p_value is not None
        assert found[-1].p_value is not None
        assert found[0].p_value > 0.01
        assert found[-1].p_value < 1e-6


def test_a_method_of_the_other_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="'chi_square' is no drift method for numeric features; those are ks, "):
        numeric_method("chi_square")
    with pytest.raises(ValueError, match="'nothing' is no drift method for categorical features"):
        categorical_method("nothing")


def test_thresholds_of_the_catalogue_can_be_reached() -> None:
    for entry in METHODS.values():
        assert entry.numeric or entry.categorical
        assert entry.title
        assert entry.unit
        if entry.largest is not None and entry.default_threshold is not None:
            assert 0 < entry.default_threshold <= entry.largest


def test_the_docs_have_a_row_for_every_method() -> None:
    text = (DOCS / "methods.md").read_text()
    assert [name for name in METHODS if f"| `{name}` |" not in text] == []


def measure(window: NumericSummary, *methods: DriftMethod) -> Measurement:
    return measure_feature("x", window, window.rows, 10, DriftRules(numeric=list(methods)))


def test_results_carry_what_a_report_must_say() -> None:
    random = np.random.default_rng(4)
    pair = numeric_pair(random.normal(size=900), random.normal(0.3, 1, 400))
    listed = [DriftMethod(method=name, threshold=0.01) for name in method_names("numeric")]
    measured = measure(pair.window, *listed)
    assert [result.method for result in measured.distances] == list(method_names("numeric"))
    for result in measured.distances:
        outcome = numeric_method(result.method)(pair)
        own = outcome.p_value if METHODS[result.method].test else pair.companion_p_value
        assert (result.statistic, result.p_value, result.low, result.high, result.change) == (
            outcome.statistic,
            own,
            outcome.low,
            outcome.high,
            outcome.change,
        )
        assert result.exceeded
        decoded = msgspec.json.decode(msgspec.json.encode(result), type=MethodResult)
        assert decoded == result
    shift = next(result for result in measured.distances if result.method == "mean_shift")
    assert shift.low is not None
    assert shift.high is not None
    assert shift.change is not None
    assert shift.low < shift.change < shift.high


def test_results_without_the_newer_fields_are_read() -> None:
    old = b'{"method":"ks","statistic":0.1,"threshold":null,"p_value":0.5,"exceeded":false}'
    assert msgspec.json.decode(old, type=MethodResult).low is None


def test_a_feature_s_p_value_is_that_of_what_decides() -> None:
    random = np.random.default_rng(5)
    window = numeric_pair(random.normal(size=500), random.normal(0.25, 1, 300)).window
    tests = {
        name: measure(window, DriftMethod(method=name, threshold=1e-6)).p_value
        for name in ("ks", "wasserstein", "mann_whitney", "anderson_darling")
    }
    assert tests["wasserstein"] == tests["ks"]  # a distance goes by its companion
    assert tests["mann_whitney"] not in (None, tests["ks"])
    only_reported = measure(window, DriftMethod(method="mann_whitney"), DriftMethod(method="psi", threshold=1e-6))
    assert only_reported.p_value == tests["ks"]
    nothing_decides = measure(window, DriftMethod(method="mann_whitney"))
    assert nothing_decides.p_value == tests["ks"]
    distances = measure(window, *(DriftMethod(method=name, threshold=1e-6) for name in ("wasserstein", "psi", "ks")))
    assert distances.p_value == tests["ks"]  # one test, listed in three guises


def test_several_tests_that_decide_pay_for_their_number() -> None:
    random = np.random.default_rng(6)
    window = numeric_pair(random.normal(size=500), random.normal(0.25, 1, 300)).window
    rank = DriftMethod(method="mann_whitney", threshold=1e-6)
    alone = measure(window, rank).p_value
    two = measure(window, rank, DriftMethod(method="psi", threshold=9.0)).p_value
    assert alone is not None
    assert two == 2 * alone  # psi does not exceed its threshold, so its test does not count, but it could have


def test_few_rows_and_empty_sides_give_nothing() -> None:
    assert measure(numeric_pair([1.0, 2.0], [1.0] * 9).window, DriftMethod(method="ks")).distances == []
    for reference, window in (([], [1.0] * 20), ([1.0] * 20, []), ([math.nan] * 5, [1.0] * 20)):
        measured = measure(numeric_pair(reference, window).window, DriftMethod(method="energy", threshold=0.1))
        assert (measured.distances, measured.p_value) == ([], None)
    empty = categorical_pair([], ["a"] * 20).window
    measured = measure_feature("x", empty, 20, 10, DriftRules())
    assert (measured.distances, measured.p_value) == ([], None)


def test_a_test_that_cannot_be_applied_does_not_decide() -> None:
    window = counted_pair([50, 30, 20], [5, 30, 20]).window
    rules = DriftRules(categorical=[DriftMethod(method="fisher_exact", threshold=0.1)])
    measured = measure_feature("x", window, 55, 10, rules)
    assert measured.distances[0].statistic is None
    assert not measured.distances[0].exceeded
    assert measured.p_value is not None
