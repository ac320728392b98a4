"""Sampled rows of reference and window as matrices.

Ranks and categories are taken over both sides pooled. So under no change the two sides are exchangeable, which
permutation tests need, and no outlier can stretch a scale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from driftloop.profiles.columns import Columns

__all__ = ["Matrix", "ordinal_matrix", "score_matrix"]

Matrix = NDArray[np.float64]

#: One-hot categories of one feature; the rarer ones share a column.
_ONE_HOT = 20
#: Ordinal codes of one feature: what histogram gradient boosting takes.
_CODES = 250


def ordinal_matrix(reference: Columns, window: Columns, kinds: Mapping[str, str]) -> tuple[Matrix, NDArray[np.bool_]]:
    """Rows for trees: reference rows, then window rows, shape (m + n, features), and which columns are categories.

    Numbers stay as they are, categories get codes by descending frequency in both sides together, missing is NaN.
    ``kinds`` maps the features to ``numeric`` or ``categorical``.
    """
    columns = []
    for name, kind in kinds.items():
        if kind == "numeric":
            columns.append(np.concatenate([_numbers(reference[name]), _numbers(window[name])]))
        else:
            texts = [*reference[name], *window[name]]
            codes = {text: float(min(at, _CODES - 1)) for at, text in enumerate(_by_frequency(texts))}
            columns.append(np.array([np.nan if text is None else codes[text] for text in texts], np.float64))
    categorical = np.array([kind == "categorical" for kind in kinds.values()], np.bool_)
    rows = _rows(reference) + _rows(window)
    return np.column_stack(columns) if columns else np.empty((rows, 0)), categorical


def score_matrix(reference: Columns, window: Columns, kinds: Mapping[str, str]) -> Matrix:
    """Rows for distances: reference rows, then window rows, shape (m + n, columns).

    A number becomes its normal score (the normal quantile of its mid-rank in both sides together), so that the expected
    squared distance of two rows in it is about 2; a category becomes a one-hot row of the 20 most frequent ones and the
    rest, whose distance is 2 where two rows differ. A missing number has the score 0 and, if there are any, an
    indicator column. B. L. van der Waerden, "Order tests for the two-sample problem", 1952, for the scores.
    """
    columns = []
    for name, kind in kinds.items():
        if kind == "numeric":
            values = np.concatenate([_numbers(reference[name]), _numbers(window[name])])
            known = ~np.isnan(values)
            scores = np.zeros(values.size)
            if known.any():
                scores[known] = ndtri(rankdata(values[known]) / (np.count_nonzero(known) + 1))
            columns.append(scores)
            if not known.all():
                columns.append((~known).astype(np.float64))
        else:
            texts = [*reference[name], *window[name]]
            places = {text: min(at, _ONE_HOT) for at, text in enumerate(_by_frequency(texts))}
            width = max(places.values(), default=-1) + 1
            # Missing is a category of its own, the last one.
            at = np.array([width if text is None else places[text] for text in texts], np.intp)
            columns.extend(np.eye(width + 1)[at].T)
    rows = _rows(reference) + _rows(window)
    return np.column_stack(columns) if columns else np.empty((rows, 0))


def _numbers(column: object) -> Matrix:
    return np.asarray(column, np.float64)


def _by_frequency(texts: Sequence[str | None]) -> list[str]:
    counts = Counter(text for text in texts if text is not None)
    return sorted(counts, key=lambda text: (-counts[text], text))


def _rows(columns: Columns) -> int:
    return len(next(iter(columns.values()), ()))
