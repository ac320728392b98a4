"""Effects and p-values of the multivariate methods: references of other libraries, false alarms, power, extremes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import gamma, mannwhitneyu, norm, pearson3, spearmanr
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler

from driftloop.multivariate.correlation import correlation_change, rank_correlations
from driftloop.multivariate.domain_classifier import (
    cross_validated_auc,
    linear_classifier,
    rank_auc,
    text_classifier,
    tree_classifier,
)
from driftloop.multivariate.encoding import Matrix, ordinal_matrix, score_matrix
from driftloop.multivariate.kernel import (
    centroid_shift,
    gaussian_kernel,
    mmd,
    pearson_iii_upper,
    unbiased_mmd2,
)
from driftloop.multivariate.reconstruction import Reconstruction, pca_reconstruction
from driftloop.profiles.columns import Columns

KINDS = {"a": "numeric", "b": "numeric", "c": "numeric", "place": "categorical"}
NUMERIC = ["a", "b", "c"]


def make_columns(rows: int, seed: int, *, shift: float = 0.0, broken: bool = False) -> Columns:
    """Two correlated numbers, a skewed one with gaps, a category. ``broken``: the first two lose their relation."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=rows)
    b = rng.normal(size=rows) if broken else 0.8 * a + 0.6 * rng.normal(size=rows)
    c = rng.exponential(size=rows)
    c[rng.random(rows) < 0.1] = math.nan
    place = [None if value == 4 else "wxyz"[value] for value in rng.integers(0, 5, rows)]
    return {"a": a + shift, "b": b, "c": c, "place": place}


def numbers(columns: Columns) -> Matrix:
    return np.column_stack([np.asarray(columns[name]) for name in NUMERIC])


# -- the classifier ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", [0, 1, 8])
def test_rank_auc_is_scikit_learns_and_its_variance_scipys(digits: int) -> None:
    rng = np.random.default_rng(1)
    higher, lower = rng.normal(0.4, 1, 40).round(digits), rng.normal(0, 1, 60).round(digits)
    area, variance = rank_auc(higher, lower)
    labels = np.r_[np.ones(40), np.zeros(60)]
    assert area == pytest.approx(roc_auc_score(labels, np.r_[higher, lower]), abs=1e-12)
    p_value = norm.sf((area - 0.5) / math.sqrt(variance))
    expected = mannwhitneyu(higher, lower, alternative="greater", method="asymptotic", use_continuity=False).pvalue
    assert p_value == pytest.approx(expected, rel=1e-9)


def test_a_known_score_gives_its_own_auc() -> None:
    """With a score that does not depend on the fit, the mean over folds is near the AUC over all rows, and a perfect
    score gives 1."""
    rng = np.random.default_rng(2)
    rows = np.concatenate([rng.normal(0, 1, (300, 1)), rng.normal(0.5, 1, (300, 1))])
    effect = cross_validated_auc(rows, 300, lambda train, labels, test: test[:, 0])
    whole = roc_auc_score(np.arange(600) >= 300, rows[:, 0])
    assert effect.size == pytest.approx(whole, abs=0.01)
    perfect = cross_validated_auc(np.arange(100.0)[:, None], 50, lambda train, labels, test: test[:, 0])
    assert perfect.size == 1.0
    assert perfect.p_value is not None
    assert perfect.p_value < 1e-6
    assert cross_validated_auc(rows, 597, lambda train, labels, test: test[:, 0]) == (None, None, "")


def test_the_classifier_finds_what_single_features_hide() -> None:
    """The relation of two features breaks, each alone stays as it was."""
    matrix, categorical = ordinal_matrix(make_columns(600, 3), make_columns(400, 4, broken=True), KINDS)
    effect = tree_classifier(matrix, categorical, 600)
    assert effect.size is not None
    assert effect.p_value is not None
    assert effect.size > 0.6
    assert effect.p_value < 1e-4


def test_results_do_not_depend_on_the_order_of_columns_or_threads() -> None:
    before, now = make_columns(200, 5), make_columns(100, 6, shift=0.5)
    matrix, categorical = ordinal_matrix(before, now, KINDS)
    assert tree_classifier(matrix, categorical, 200, seed=1) == tree_classifier(matrix, categorical, 200, seed=1)
    assert mmd(score_matrix(before, now, KINDS), 200).size == pytest.approx(
        mmd(score_matrix(before, now, dict(reversed(KINDS.items()))), 200).size, rel=1e-9
    )


def test_words_tell_texts_apart() -> None:
    rng = np.random.default_rng(7)
    old = [list(rng.choice(["late", "early", "gate"], 5)) for _ in range(150)]
    same = [list(rng.choice(["late", "early", "gate"], 5)) for _ in range(150)]
    new = [list(rng.choice(["late", "early", "strike"], 5)) for _ in range(150)]
    changed, unchanged = text_classifier([*old, *new], 150), text_classifier([*old, *same], 150)
    assert changed.size is not None
    assert changed.size > 0.9
    assert unchanged.p_value is not None
    assert unchanged.p_value > 0.01
    assert text_classifier([[] for _ in range(40)], 20) == (0.5, 1.0, "")


# -- kernels -------------------------------------------------------------------------------------------------------


def test_the_kernel_is_scikit_learns_and_the_statistic_its_definition() -> None:
    rng = np.random.default_rng(8)
    rows = rng.normal(size=(25, 3))
    rows[15:] += 0.7
    pairs = [float(((rows[i] - rows[j]) ** 2).sum()) for i, j in itertools.combinations(range(25), 2)]
    kernel = gaussian_kernel(rows)
    np.testing.assert_allclose(kernel, rbf_kernel(rows, gamma=1 / (2 * np.median(pairs))), rtol=1e-9, atol=1e-12)
    # Gretton et al. 2012, formula (3), as it stands there.
    x, y = range(15), range(15, 25)
    expected = (
        sum(kernel[i, j] for i in x for j in x if i != j) / (15 * 14)
        + sum(kernel[i, j] for i in y for j in y if i != j) / (10 * 9)
        - 2 * sum(kernel[i, j] for i in x for j in y) / (15 * 10)
    )
    assert unbiased_mmd2(kernel, 15) == pytest.approx(expected, rel=1e-9)
    found = mmd(rows, 15)
    assert found.size == pytest.approx(math.sqrt(max(expected, 0.0)), rel=1e-9)


def test_the_p_value_is_that_of_all_assignments() -> None:
    """Seven rows against five: all 792 assignments can be listed."""
    rng = np.random.default_rng(9)
    rows = rng.normal(size=(12, 2))
    rows[7:] += 0.8
    kernel = gaussian_kernel(rows)
    found = unbiased_mmd2(kernel, 7)
    null = []
    for window in itertools.combinations(range(12), 5):
        order = [at for at in range(12) if at not in window] + list(window)
        null.append(unbiased_mmd2(kernel[np.ix_(order, order)], 7))
    exact = float(np.mean(np.array(null) >= found - 1e-12))
    p_value = mmd(rows, 7).p_value
    assert p_value is not None
    assert p_value == pytest.approx(exact, abs=0.03)
    assert len(null) == 792


@pytest.mark.parametrize("skewness", [-1.5, -0.2, 0.0, 0.3, 2.0])
def test_pearson_iii_is_scipys(skewness: float) -> None:
    for at in (-1.0, 0.5, 3.0, 6.0):
        assert pearson_iii_upper(at, skewness) == pytest.approx(pearson3.sf(at, skewness), rel=1e-7, abs=1e-12)
    assert pearson_iii_upper(2.0, 1.0) == pytest.approx(gamma.sf(4 + 2 * 2.0, 4), rel=1e-9)


def test_the_centroid_shift_is_the_distance_of_the_means_in_large_samples() -> None:
    rng = np.random.default_rng(10)
    rows = rng.normal(size=(1_900, 8))
    rows[1_000:, 0] += 2.0
    effect = centroid_shift(rows, 1_000)
    assert effect.size == pytest.approx(2.0 / math.sqrt(8), rel=0.05)
    scaled = centroid_shift(rows * 1e200, 1_000)
    assert scaled.size == pytest.approx(effect.size, rel=1e-9)


# -- components and correlations -----------------------------------------------------------------------------------


def test_reconstruction_errors_are_those_of_scikit_learn() -> None:
    before, now = numbers(make_columns(200, 11)), numbers(make_columns(80, 12))
    before, now = np.nan_to_num(before, nan=0.5), np.nan_to_num(now, nan=0.5)
    scaler = StandardScaler().fit(before)
    pca = PCA(n_components=0.65).fit(scaler.transform(before))
    scaled = scaler.transform(now)
    expected = np.linalg.norm(scaled - pca.inverse_transform(pca.transform(scaled)), axis=1)
    fitted = Reconstruction.fit(dict(zip(NUMERIC, before.T, strict=True)), dict.fromkeys(NUMERIC, "numeric"))
    np.testing.assert_allclose(fitted.errors(dict(zip(NUMERIC, now.T, strict=True))), expected, rtol=1e-9)


def test_a_broken_relation_raises_the_reconstruction_error() -> None:
    kinds = dict.fromkeys(["a", "b"], "numeric")
    effect = pca_reconstruction(make_columns(600, 13), make_columns(300, 14, broken=True), kinds)
    assert effect.size is not None
    assert effect.size > 0.5
    assert effect.p_value is not None
    assert effect.p_value < 1e-6
    assert "against" in effect.detail


def test_rank_correlations_are_spearmans() -> None:
    rng = np.random.default_rng(15)
    rows = rng.normal(size=(50, 3))
    rows[:, 1] += rows[:, 0]
    rows[:, 2] = rows[:, 2].round(0)
    found, common = rank_correlations(rows)
    np.testing.assert_allclose(found, spearmanr(rows).statistic, rtol=1e-9)
    assert (common == 50).all()
    rows[:30, 0] = math.nan
    found, common = rank_correlations(rows)
    # Of the rows that both have, ranks among all the values of each: here those of the first feature.
    from scipy.stats import rankdata

    first, second = rankdata(rows[30:, 0]), rankdata(rows[:, 1])[30:]
    assert found[0, 1] == pytest.approx(np.corrcoef(first, second)[0, 1], rel=1e-9)
    assert common[0, 1] == 20


def test_the_changed_pair_is_named() -> None:
    before, now = numbers(make_columns(500, 16)), numbers(make_columns(300, 17, broken=True))
    effect = correlation_change(before, now, NUMERIC)
    assert effect.detail.startswith("a and b")
    assert effect.size == pytest.approx(0.8, abs=0.15)
    assert effect.p_value is not None
    assert effect.p_value < 1e-9


# -- false alarms and power ----------------------------------------------------------------------------------------

METHODS = ["tree", "mmd", "pca", "correlation", "linear", "centroid"]


def p_value_of(method: str, rows: int, seed: int, *, shift: float = 0.0) -> float:
    reference = 2 * rows
    before, now = make_columns(reference, seed), make_columns(rows, 10_000 + seed, shift=shift)
    if method == "tree":
        found = tree_classifier(*ordinal_matrix(before, now, KINDS), reference, seed=seed)
    elif method == "mmd":
        found = mmd(score_matrix(before, now, KINDS), reference, seed=seed)
    elif method == "pca":
        found = pca_reconstruction(before, now, KINDS, seed=seed)
    elif method == "correlation":
        found = correlation_change(numbers(before), numbers(now), NUMERIC)
    else:
        rng = np.random.default_rng(seed)
        vectors = rng.normal(size=(reference + rows, 16)) ** 3  # heavy tails
        vectors[reference:] += shift
        test = linear_classifier if method == "linear" else centroid_shift
        found = test(vectors, reference, seed=seed)
    assert found.p_value is not None
    return found.p_value


@pytest.mark.parametrize(
    ("method", "rows", "repeats"),
    [
        ("tree", 100, 20),
        ("mmd", 100, 60),
        ("mmd", 500, 5),
        ("pca", 100, 200),
        ("pca", 500, 60),
        ("correlation", 100, 200),
        ("correlation", 500, 60),
        ("linear", 100, 60),
        ("centroid", 100, 120),
    ],
)
def test_false_alarms_are_as_rare_as_the_p_value_says(method: str, rows: int, repeats: int) -> None:
    """The bound is the 99.9 % quantile of the binomial distribution with the nominal rate."""
    from scipy.stats import binom

    p_values = np.array([p_value_of(method, rows, seed) for seed in range(repeats)])
    for level in (0.05, 0.01, 0.001):
        assert np.count_nonzero(p_values < level) <= binom.ppf(0.999, repeats, level), f"at {level}"


def test_the_variance_over_folds_is_that_of_dependent_folds() -> None:
    """Under no change the standardised AUC of a linear score has a deviation of about 1: it would be 1.4 if folds were
    taken for independent."""
    standardised = []
    for seed in range(150):
        rows = np.random.default_rng(seed).normal(size=(180, 24))
        p_value = linear_classifier(rows, 120, seed=seed).p_value
        assert p_value is not None
        standardised.append(norm.isf(p_value))
    assert 0.75 < float(np.std(standardised)) < 1.15


@pytest.mark.parametrize("method", ["tree", "mmd", "linear", "centroid"])
def test_a_clear_shift_is_significant_at_the_default_level(method: str) -> None:
    p_values = [p_value_of(method, 300, seed, shift=1.0) for seed in range(3)]
    assert max(p_values) < 0.001


# -- extremes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"a": np.ones(60), "b": np.ones(60)}, {"a": np.ones(40), "b": np.ones(40)}),
        (
            {"a": np.full(60, math.nan), "b": np.full(60, math.nan)},
            {"a": np.full(40, math.nan)} | {"b": np.full(40, math.nan)},
        ),
        ({"a": ["x"] * 60, "b": [None] * 60}, {"a": ["x"] * 40, "b": [None] * 40}),
    ],
    ids=["constant", "all missing", "one category"],
)
def test_columns_that_tell_nothing_are_no_drift(before: Columns, now: Columns) -> None:
    kinds = {name: "categorical" if isinstance(column, list) else "numeric" for name, column in before.items()}
    found = [
        tree_classifier(*ordinal_matrix(before, now, kinds), 60),
        mmd(score_matrix(before, now, kinds), 60),
        pca_reconstruction(before, now, kinds),
    ]
    for effect in found:
        assert effect.p_value == 1.0
        assert effect.size in (0.0, 0.5)
    if "numeric" in kinds.values():
        empty = correlation_change(*(np.column_stack(list(side.values())) for side in (before, now)), ["a", "b"])
        assert empty == (None, None, "")


def test_a_constant_that_changes_is_drift() -> None:
    before: Columns = {"a": np.ones(60), "b": np.zeros(60)}
    now: Columns = {"a": np.ones(40), "b": np.full(40, 1e-3)}
    kinds = dict.fromkeys(before, "numeric")
    for effect in (
        tree_classifier(*ordinal_matrix(before, now, kinds), 60),
        mmd(score_matrix(before, now, kinds), 60),
        pca_reconstruction(before, now, kinds),
    ):
        assert effect.size is not None
        assert effect.p_value is not None
        assert effect.size > 0.2
        assert effect.p_value < 1e-3


def test_more_features_than_rows() -> None:
    rng = np.random.default_rng(20)
    names = [f"f{at}" for at in range(60)]
    before: Columns = {name: rng.normal(size=20) for name in names}
    now: Columns = {name: rng.normal(size=12) for name in names}
    kinds = dict.fromkeys(names, "numeric")
    effect = pca_reconstruction(before, now, kinds)
    assert effect.size is not None
    assert effect.p_value is not None
    assert effect.p_value > 0.001
    assert tree_classifier(*ordinal_matrix(before, now, kinds), 20).size is not None


def test_one_outlier_hides_nothing_and_large_values_do_not_overflow() -> None:
    before, now = dict(make_columns(300, 21)), dict(make_columns(200, 22, shift=1.5))
    plain = mmd(score_matrix(before, now, KINDS), 300)
    with_outlier = np.asarray(now["a"]).copy()
    with_outlier[0] = 1e308
    spoilt = {**now, "a": with_outlier}
    found = mmd(score_matrix(before, spoilt, KINDS), 300)
    assert found.size == pytest.approx(plain.size, abs=0.01)
    assert found.p_value is not None
    assert found.p_value < 1e-6
    refused = pca_reconstruction(before, spoilt, KINDS)
    assert refused.size is None
    assert "too large" in refused.detail
    vectors = np.random.default_rng(1).normal(size=(100, 3)) * 1e307
    assert math.isfinite(centroid_shift(vectors, 60).size or math.nan)
