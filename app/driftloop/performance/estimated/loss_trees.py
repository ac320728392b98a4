"""The loss model of a regression: boosted oblivious trees over coded features, cheap enough for every prediction.

One question per level, so a leaf's number is made of ``depth`` comparisons of whole columns: about a fifth of what
trees with a question per node cost in numpy, and a table of a few kilobytes. Both losses share the trees.

References: J. H. Friedman, "Greedy function approximation: a gradient boosting machine", Annals of Statistics 29, 2001;
L. Prokhorenkova et al., "CatBoost: unbiased boosting with categorical features", NeurIPS 2018 (oblivious trees).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftloop.profiles.columns import Columns
from driftloop.profiles.estimators import FeatureCodes, LossTrees, ObliviousTree

__all__ = ["encode", "expected_losses", "fit_loss_trees"]

MAX_TREES: Final = 48
_DEPTH: Final = 3
_RATE: Final = 0.3
_SHRINK_ROWS: Final = 5.0  # so many rows of nothing in every leaf
_PATIENCE: Final = 8
_CODES: Final = 64
#: Rows that the trees are fitted on, evenly spread over the reference; the means are corrected on all of them.
_FIT_ROWS: Final = 20_000
_MINIMUM_ROWS: Final = 200


def encode(codes: Sequence[FeatureCodes], columns: Columns) -> NDArray[np.uint8]:
    """Codes of each row, shape (features, n). A column that is not there counts as missing."""
    rows = len(next(iter(columns.values())))
    encoded = np.zeros((len(codes), rows), np.uint8)
    for at, code in enumerate(codes):
        column = columns.get(code.name)
        if column is None:
            continue
        if code.categories is not None:
            known, other = code.categories, code.other
            encoded[at] = [0 if value is None else known.get(value, other) for value in column]
        else:
            values = np.asarray(column, np.float64)
            encoded[at] = np.searchsorted(code.edges, values, side="right") + 1
            encoded[at][np.isnan(values)] = 0
    return encoded


def expected_losses(trees: LossTrees, columns: Columns) -> NDArray[np.float64]:
    """The losses that the model expects of each row, shape (n, outputs). Additions in one fixed order."""
    encoded = encode(trees.codes, columns)
    return _apply(trees, encoded)


def _apply(trees: LossTrees, encoded: NDArray[np.uint8]) -> NDArray[np.float64]:
    expected = np.empty((len(trees.outputs), encoded.shape[1]))
    expected[:] = np.array(trees.base)[:, None]
    for tree in trees.trees:
        leaf = _leaf(tree.features, tree.thresholds, encoded)
        for output, values in enumerate(tree.leaves):
            expected[output] += np.array(values)[leaf]
    np.clip(expected, np.array(trees.low)[:, None], np.array(trees.high)[:, None], out=expected)
    return np.ascontiguousarray(expected.T)


def _leaf(features: Sequence[int], thresholds: Sequence[int], encoded: NDArray[np.uint8]) -> NDArray[np.uint8]:
    leaf = np.zeros(encoded.shape[1], np.uint8)
    for level, (feature, threshold) in enumerate(zip(features, thresholds, strict=True)):
        leaf |= (encoded[feature] > threshold).view(np.uint8) << np.uint8(level)
    return leaf


def fit_loss_trees(columns: Columns, losses: NDArray[np.float64], outputs: Sequence[str]) -> LossTrees | None:
    """Fit losses, shape (n, outputs), on columns of n rows; None with too few rows or losses that are not finite.

    Every fifth row decides how many trees there are. Afterwards the base is moved so that the mean expected loss of
    the reference is its mean loss.
    """
    rows = len(losses)
    if rows < _MINIMUM_ROWS or not np.isfinite(losses).all():
        return None
    codes = [_code(name, column, losses[:, 0]) for name, column in sorted(columns.items())]
    encoded = encode(codes, columns)
    scale = losses.std(axis=0)
    if not np.isfinite(scale).all():
        return None
    scale[scale == 0.0] = 1.0
    base = losses.mean(axis=0)
    chosen = np.unique(np.linspace(0, rows - 1, min(rows, _FIT_ROWS)).round().astype(np.int64))
    targets = (losses[chosen] - base) / scale
    fitted = [
        ObliviousTree(tree.features, tree.thresholds, (np.array(tree.leaves) * scale[:, None]).tolist())
        for tree in _boost(encoded[:, chosen], targets)
    ]
    unshifted = LossTrees(
        codes=codes,
        outputs=list(outputs),
        base=base.tolist(),
        low=[0.0] * len(outputs),
        high=losses.max(axis=0).tolist(),
        trees=fitted,
    )
    shift = base - _apply(unshifted, encoded).mean(axis=0)
    return LossTrees(
        codes=codes,
        outputs=list(outputs),
        base=(base + shift).tolist(),
        low=unshifted.low,
        high=unshifted.high,
        trees=fitted,
    )


def _code(name: str, column: NDArray[np.float64] | list[str | None], loss: NDArray[np.float64]) -> FeatureCodes:
    if isinstance(column, np.ndarray):
        finite = np.sort(column[np.isfinite(column)])
        if not finite.size:
            return FeatureCodes(name=name)
        ranks = np.linspace(0, finite.size - 1, _CODES - 2).round().astype(np.int64)
        return FeatureCodes(name=name, edges=np.unique(finite[ranks])[1:].tolist())
    counts = Counter(value for value in column if value is not None)
    kept = set(sorted(counts, key=lambda value: (-counts[value], value))[: _CODES - 2])
    sums: Counter[str | None] = Counter()
    rows: Counter[str | None] = Counter()
    for value, row_loss in zip(column, loss.tolist(), strict=True):
        if value is not None:
            group = value if value in kept else None  # None: all the rarer ones together
            sums[group] += row_loss
            rows[group] += 1
    # Ordered by mean loss, a threshold on the code can part categories as well as any subset could (Breiman et al.
    # 1984, section 4.2); shrunk to the overall mean, so that rare ones do not stand at the ends by chance.
    mean = float(loss.mean())
    ranked = sorted(sums, key=lambda group: ((sums[group] + 10.0 * mean) / (rows[group] + 10.0), group or ""))
    numbers = {group: index + 1 for index, group in enumerate(ranked)}
    other = numbers.pop(None, 0)
    return FeatureCodes(name=name, categories={str(group): number for group, number in numbers.items()}, other=other)


def _boost(encoded: NDArray[np.uint8], targets: NDArray[np.float64]) -> list[ObliviousTree]:
    held_out = np.arange(len(targets)) % 5 == 4
    inside, outside = np.ascontiguousarray(encoded[:, ~held_out]), np.ascontiguousarray(encoded[:, held_out])
    rest, rest_outside = targets[~held_out].copy(), targets[held_out].copy()
    trees: list[ObliviousTree] = []
    best, best_count = float(np.square(rest_outside).mean()), 0
    while len(trees) < MAX_TREES and len(trees) - best_count < _PATIENCE:
        tree = _grow(inside, rest)
        if not tree.features:
            break
        trees.append(tree)
        for part, codes in ((rest, inside), (rest_outside, outside)):
            leaf = _leaf(tree.features, tree.thresholds, codes)
            for output, values in enumerate(tree.leaves):
                part[:, output] -= np.array(values)[leaf]
        error = float(np.square(rest_outside).mean())
        if error < best:
            best, best_count = error, len(trees)
    return trees[:best_count]


def _grow(encoded: NDArray[np.uint8], rest: NDArray[np.float64]) -> ObliviousTree:
    """The tree whose questions, one after the other, lower the squared error most over all leaves together."""
    features: list[int] = []
    thresholds: list[int] = []
    leaf = np.zeros(encoded.shape[1], np.int64)
    for level in range(_DEPTH):
        best = (1e-12, -1, -1)
        for feature in range(len(encoded)):
            gain, threshold = _best_split(encoded[feature], leaf, rest, 1 << level)
            if gain > best[0]:
                best = (gain, feature, threshold)
        if best[1] < 0:
            break
        features.append(best[1])
        thresholds.append(best[2])
        leaf |= (encoded[best[1]] > best[2]).astype(np.int64) << level
    size = 1 << len(features)
    rows = np.bincount(leaf, minlength=size)
    leaves = [
        (_RATE * np.bincount(leaf, weights=column, minlength=size) / (rows + _SHRINK_ROWS)).tolist()
        for column in rest.T
    ]
    return ObliviousTree(features, thresholds, leaves)


def _best_split(
    codes: NDArray[np.uint8], leaf: NDArray[np.int64], rest: NDArray[np.float64], leaves: int
) -> tuple[float, int]:
    at = leaf * _CODES + codes
    rows = np.bincount(at, minlength=leaves * _CODES).reshape(leaves, _CODES).cumsum(axis=1).astype(np.float64)
    whole = rows[:, -1:]
    gains = np.zeros(_CODES)
    for column in rest.T:
        sums = np.bincount(at, weights=column, minlength=leaves * _CODES).reshape(leaves, _CODES).cumsum(axis=1)
        total = sums[:, -1:]
        gain = sums**2 / (rows + _SHRINK_ROWS) + (total - sums) ** 2 / (whole - rows + _SHRINK_ROWS)
        gains += (gain - total**2 / (whole + _SHRINK_ROWS)).sum(axis=0)
    threshold = int(gains[:-1].argmax())
    return float(gains[threshold]), threshold
