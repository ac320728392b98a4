"""How well a classifier tells the window's rows from the reference's: cross-validated ROC AUC with its significance.

The AUC is the chance that a random row of the window gets a higher score than one of the reference, so it is an effect
size by itself: 0.5 for no change that the classifier can find. Within a fold, given the model fitted on the others, it
is a Mann-Whitney statistic; its variance under no change, ties corrected, is known exactly.

Folds are not independent: each pair of rows of two folds speaks twice, once as training and once as test. For a score
that is linear in the training rows this doubles the variance of the mean over folds; the correction here is by
1 + K/(K - 1), that of C. Nadeau, Y. Bengio, "Inference for the generalization error", Machine Learning 52, 2003.
Without it such a score alarms falsely 14 times as often as p = 0.001 says.

D. Lopez-Paz, M. Oquab, "Revisiting classifier two-sample tests", ICLR 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import rankdata

from driftloop.multivariate.encoding import Matrix
from driftloop.multivariate.outcome import Effect, one_thread

__all__ = ["FOLDS", "cross_validated_auc", "linear_classifier", "rank_auc", "text_classifier", "tree_classifier"]

FOLDS = 5

#: Fit on rows with labels, score other rows: (train rows, labels, test rows) to (k,).
FitScore = Callable[[Any, NDArray[np.int64], Any], Matrix]


def tree_classifier(rows: Matrix, categorical: NDArray[np.bool_], reference_rows: int, *, seed: int = 0) -> Effect:
    """Histogram gradient boosting on :func:`~driftloop.multivariate.encoding.ordinal_matrix`: the first
    ``reference_rows`` rows are the reference's. Finds changes of shape and of how features go together."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    # A column of which nothing is known cannot be binned, and one with a single value tells nothing.
    useful = np.array([np.unique(column[~np.isnan(column)]).size + np.isnan(column).any() > 1 for column in rows.T])
    useful &= ~np.isnan(rows).all(axis=0)
    if not useful.any():
        return Effect(0.5, 1.0)
    chosen, kinds = rows[:, useful], categorical[useful]

    def fit_score(train: Matrix, labels: NDArray[np.int64], test: Matrix) -> Matrix:
        model = HistGradientBoostingClassifier(
            max_iter=40,
            max_leaf_nodes=8,
            min_samples_leaf=10,
            learning_rate=0.1,
            early_stopping=False,
            categorical_features=kinds if kinds.any() else None,
            random_state=seed,
        )
        known = ~np.isnan(train).all(axis=0)
        if not known.all():  # known in the rows to score alone
            train, test = np.where(known, train, 0.0), np.where(known, test, 0.0)
        scores: Matrix = model.fit(train, labels).decision_function(test)
        return scores

    return cross_validated_auc(chosen, reference_rows, fit_score, seed=seed)


def linear_classifier(rows: Matrix, reference_rows: int, *, seed: int = 0) -> Effect:
    """Ridge-penalised logistic regression on standardised components, for vectors of shape (m + n, length)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    length = max(rows.shape[1], 1)

    def fit_score(train: Matrix, labels: NDArray[np.int64], test: Matrix) -> Matrix:
        # The penalty grows with the number of components, as for standardised ones of which few matter.
        model = LogisticRegression(C=1.0 / length, solver="lbfgs", max_iter=200, tol=1e-6)
        scores: Matrix = make_pipeline(StandardScaler(), model).fit(train, labels).decision_function(test)
        return scores

    return cross_validated_auc(rows, reference_rows, fit_score, seed=seed)


def text_classifier(word_lists: list[list[str]], reference_rows: int, *, seed: int = 0) -> Effect:
    """Logistic regression on hashed word counts (4,096 columns, rows of length 1).

    K. Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009.
    """
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import normalize

    hashed = FeatureHasher(n_features=4096, input_type="string").transform(word_lists)
    rows = normalize(hashed)
    if not rows.nnz:
        return Effect(0.5, 1.0)

    def fit_score(train: Any, labels: NDArray[np.int64], test: Any) -> Matrix:
        scores: Matrix = (
            LogisticRegression(C=1.0, solver="lbfgs", max_iter=200, tol=1e-6).fit(train, labels).decision_function(test)
        )
        return scores

    return cross_validated_auc(rows, reference_rows, fit_score, seed=seed)


def cross_validated_auc(
    rows: Any, reference_rows: int, fit_score: FitScore, *, folds: int = FOLDS, seed: int = 0
) -> Effect:
    """Mean AUC over stratified folds, and the one-sided p-value of no change.

    ``rows`` (m + n rows) can be indexed by an array of rows. Scores are compared within folds alone: models of
    different folds have different scales. Fewer rows than ``folds`` on either side give an effect of None.
    """
    count = rows.shape[0]
    window_rows = count - reference_rows
    if min(reference_rows, window_rows) < folds:
        return Effect(None, None)
    labels = (np.arange(count) >= reference_rows).astype(np.int64)
    rng = np.random.default_rng(seed)
    fold = np.empty(count, np.intp)
    for side in (0, 1):
        members = rng.permutation(np.flatnonzero(labels == side))
        fold[members] = np.arange(members.size) % folds
    total = variance = weights = 0.0
    with one_thread():
        for index in range(folds):
            test = fold == index
            scores = fit_score(rows[~test], labels[~test], rows[test])
            area, spread = rank_auc(scores[labels[test] == 1], scores[labels[test] == 0])
            weight = float(np.count_nonzero(labels[test] == 1) * np.count_nonzero(labels[test] == 0))
            total += weight * area
            variance += weight**2 * spread
            weights += weight
    auc = total / weights
    deviation = math.sqrt(variance * (1 + folds / (folds - 1))) / weights
    p_value = float(ndtr(-(auc - 0.5) / deviation)) if deviation else 1.0
    return Effect(auc, p_value)


def rank_auc(higher: Matrix, lower: Matrix) -> tuple[float, float]:
    """AUC of scores that should be ``higher`` (n,) against ``lower`` (m,), and its variance if both come from one
    distribution, corrected for ties: E. L. Lehmann, "Nonparametrics", 1975, formula (1.35)."""
    n, m = higher.size, lower.size
    ranks = rankdata(np.concatenate([higher, lower]))
    area = (float(ranks[:n].sum()) - n * (n + 1) / 2) / (n * m)
    _, ties = np.unique(ranks, return_counts=True)
    both = n + m
    correction = float((ties.astype(np.float64) ** 3 - ties).sum()) / (both * (both - 1))
    return area, (both + 1 - correction) / (12 * n * m)
