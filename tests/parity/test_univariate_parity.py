"""Univariate drift methods against golden values of Evidently, NannyML and statsmodels.

Where the definitions differ, the test holds the peer's value to the peer's formula on the same counts, so that
docs/methods.md states the difference truly. The values are made by make_univariate.py.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from driftloop.drift.methods import categorical_method, numeric_method
from driftloop.drift.pairs import CategoricalPair, NumericPair
from support.drift_pairs import categorical_pair, numeric_pair

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("golden_univariate.json").read_text())
Case = dict[str, Any]


def categorical(pair: CategoricalPair, name: str) -> float:
    statistic = categorical_method(name)(pair).statistic
    assert statistic is not None
    return statistic


def numeric(pair: NumericPair, name: str) -> float:
    statistic = numeric_method(name)(pair).statistic
    assert statistic is not None
    return statistic


def evidently_shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Evidently puts 0.0001, or a millionth of the smallest share if that is below 0.0001, in empty places."""
    shares: NDArray[np.float64] = counts / counts.sum()
    smallest = shares[shares > 0].min()
    shares[shares == 0] = smallest / 1e6 if smallest <= 0.0001 else 0.0001
    return shares


@pytest.mark.parametrize("case", GOLDEN["categorical"])
def test_categorical_distances(case: Case) -> None:
    pair = categorical_pair(case["reference"], case["window"])
    values = case["values"]
    equal = {
        "nannyml jensen_shannon": categorical(pair, "jensen_shannon"),
        "nannyml hellinger": categorical(pair, "hellinger"),
        "nannyml l_infinity": categorical(pair, "l_infinity"),
        "evidently hellinger": categorical(pair, "hellinger"),
        "evidently TVD distance": categorical(pair, "total_variation"),
        # Evidently takes natural logarithms, whose largest distance is sqrt(ln 2).
        "evidently jensenshannon": categorical(pair, "jensen_shannon") * math.sqrt(math.log(2)),
    }
    assert equal == pytest.approx({name: values[name] for name in equal}, rel=1e-9)


@pytest.mark.parametrize("case", GOLDEN["categorical"])
def test_psi_and_kullback_leibler_differ_by_smoothing_and_direction(case: Case) -> None:
    pair = categorical_pair(case["reference"], case["window"])
    filled = (pair.bins[0] + pair.bins[1]) > 0
    p, q = (evidently_shares(counts[filled]) for counts in pair.bins)
    assert case["values"]["evidently psi"] == pytest.approx(float(((q - p) * np.log(q / p)).sum()), rel=1e-9)
    # scipy's entropy, which Evidently calls, norms the shares again.
    assert case["values"]["evidently kl_div"] == pytest.approx(float(stats.entropy(p, q)), rel=1e-9)
    if min(counts[filled].min() for counts in pair.bins) >= 5:
        assert categorical(pair, "psi") == pytest.approx(case["values"]["evidently psi"], rel=0.05)


@pytest.mark.parametrize("case", GOLDEN["categorical"])
def test_categorical_tests(case: Case) -> None:
    pair = categorical_pair(case["reference"], case["window"])
    values = case["values"]
    table = np.vstack(pair.bins)
    table = table[:, table.sum(axis=0) > 0]
    # NannyML: rare categories are not pooled, and 2 x 2 tables have Yates' correction.
    assert values["nannyml chi2"] == pytest.approx(stats.chi2_contingency(table).statistic, rel=1e-9)
    if pair.pooled.pooled <= 1 and table.shape[1] > 2:
        assert categorical(pair, "chi_square") == pytest.approx(values["nannyml chi2"], rel=1e-9)
    if "evidently z p" in values:
        p_value = categorical_method("z_test")(pair).p_value
        assert p_value == pytest.approx(values["evidently z p"], rel=1e-9)
        assert p_value == pytest.approx(values["statsmodels proportions_ztest p"], rel=1e-9)
    if "evidently g_test p" in values:
        # Evidently takes the reference's counts for the truth instead of a sample.
        theirs = stats.power_divergence(table[1], table[0], lambda_="log-likelihood").pvalue
        assert values["evidently g_test p"] == pytest.approx(theirs, rel=1e-6)
        ours = categorical_method("g_test")(pair).p_value
        assert ours is not None
        assert ours > theirs


@pytest.mark.parametrize("case", GOLDEN["numeric"])
def test_numeric_distances(case: Case) -> None:
    reference, window = np.array(case["reference"]), np.array(case["window"])
    pair = numeric_pair(reference, window)
    values = case["values"]
    assert numeric(pair, "ks") == pytest.approx(values["nannyml kolmogorov_smirnov"], abs=1e-12)
    # Equal where values lie on anchors; between them they are known by number and mean only.
    on_anchors = bool(np.isin(window, reference).all())
    tolerance = {"rel": 1e-9} if on_anchors else {"abs": 4e-3 * reference.std()}
    assert numeric(pair, "wasserstein_raw") == pytest.approx(values["nannyml wasserstein"], **tolerance)
    # Evidently's deviation has the divisor n.
    deviation, ours = float(reference.std()), numeric(pair, "wasserstein") * float(reference.std(ddof=1))
    assert ours == pytest.approx(values["evidently wasserstein"] * deviation, **tolerance)
    assert numeric(pair, "energy_raw") == pytest.approx(values["evidently energy"], rel=1e-9 if on_anchors else 1e-2)
    shift = numeric_method("mean_shift")(pair)
    low, high = (values[f"statsmodels welch {side}"] / reference.std(ddof=1) for side in ("low", "high"))
    expected = (0.0, max(-low, high)) if low <= 0 <= high else (low, high)
    assert (shift.low, shift.high) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("case", GOLDEN["numeric"])
def test_binned_numeric_distances_differ_by_their_bins(case: Case) -> None:
    reference, window = np.array(case["reference"]), np.array(case["window"])
    values = case["values"]
    edges = np.histogram_bin_edges(np.concatenate([reference, window]), bins="sturges")
    p, q = (evidently_shares(np.histogram(side, edges)[0]) for side in (reference, window))
    assert values["evidently psi"] == pytest.approx(float(((q - p) * np.log(q / p)).sum()), rel=1e-9)
    edges = np.histogram_bin_edges(reference, bins="doane")
    shares = [np.histogram(side, edges)[0] / side.size for side in (reference, window)]
    p, q = (np.append(share, max(1 - share.sum(), 0.0)) for share in shares)
    hellinger = math.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2)
    assert values["nannyml hellinger"] == pytest.approx(hellinger, rel=1e-6)


def test_the_golden_values_are_of_known_releases() -> None:
    assert set(GOLDEN["versions"]) == {"evidently", "nannyml", "statsmodels"}
