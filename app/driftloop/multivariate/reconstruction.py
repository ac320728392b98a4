"""How well rows fit the linear structure of the reference: the error of reconstruction by principal components.

Columns are imputed, categories become their frequency in the reference, everything is standardised by the reference,
and rows are projected to the first components and back. NannyML's data reconstruction does the same on a whole chunk.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from driftloop.multivariate.encoding import Matrix
from driftloop.multivariate.outcome import Effect, one_thread
from driftloop.profiles.columns import Columns, select_rows

__all__ = ["EXPLAINED", "Reconstruction", "pca_reconstruction"]

#: Components are taken until they explain more than this share of the variance.
EXPLAINED = 0.65
_FOLDS = 5
_LARGEST = 1e100


@dataclass(frozen=True)
class Reconstruction:
    """Imputation, encoding, scale and components of a reference."""

    kinds: Mapping[str, str]
    fill: Mapping[str, float | str | None]
    frequencies: Mapping[str, Mapping[str, float]]
    mean: Matrix
    scale: Matrix
    components: Matrix  # (k, features), orthonormal rows

    @classmethod
    def fit(cls, reference: Columns, kinds: Mapping[str, str], explained: float = EXPLAINED) -> Reconstruction:
        """From reference rows; ``kinds`` maps the features to ``numeric`` or ``categorical``."""
        fill: dict[str, float | str | None] = {}
        frequencies: dict[str, dict[str, float]] = {}
        for name, kind in kinds.items():
            if kind == "numeric":
                numbers = np.asarray(reference[name], np.float64)
                known = numbers[~np.isnan(numbers)]
                fill[name] = float(known.mean()) if known.size else 0.0
            else:
                counts = Counter(text for text in reference[name] if text is not None)
                common = min(counts, key=lambda text: (-counts[text], text), default=None)
                fill[name] = common
                rows = len(reference[name])
                if common is not None:
                    counts[common] = rows - sum(counts.values()) + counts[common]
                frequencies[name] = {text: count / rows for text, count in counts.items()}
        unscaled = cls(kinds, fill, frequencies, np.zeros(len(kinds)), np.ones(len(kinds)), np.empty((0, len(kinds))))
        encoded = unscaled.encode(reference)
        mean = encoded.mean(axis=0)
        scale = encoded.std(axis=0)
        # As in scikit-learn's scaler, a constant column keeps its unit.
        scale[scale <= 10 * np.finfo(np.float64).eps * np.maximum(np.abs(mean), 1.0)] = 1.0
        standard = (encoded - mean) / scale
        _, singular, axes = np.linalg.svd(standard - standard.mean(axis=0), full_matrices=False)
        variance = singular**2
        total = float(variance.sum())
        if not total:
            return cls(kinds, fill, frequencies, mean, scale, axes[:0])
        shares = np.cumsum(variance / total)
        kept = min(int(np.searchsorted(shares, explained, side="right")) + 1, axes.shape[0])
        return cls(kinds, fill, frequencies, mean, scale, axes[:kept])

    def encode(self, columns: Columns) -> Matrix:
        """Imputed rows with frequencies for categories (0 for one that the reference has not), (n, features)."""
        encoded = []
        for name, kind in self.kinds.items():
            if kind == "numeric":
                numbers = np.array(columns[name], np.float64)
                numbers[np.isnan(numbers)] = self.fill[name]
                encoded.append(numbers)
            else:
                known, fill = self.frequencies[name], self.fill[name]
                texts = [fill if text is None else text for text in columns[name]]
                encoded.append(np.array([known.get(str(text), 0.0) for text in texts], np.float64))
        return np.column_stack(encoded)

    def errors(self, columns: Columns) -> Matrix:
        """The Euclidean distance of each standardised row to its reconstruction, (n,)."""
        standard = (self.encode(columns) - self.mean) / self.scale
        rest = standard - (standard @ self.components.T) @ self.components
        distances: Matrix = np.linalg.norm(rest, axis=1)
        return distances


def pca_reconstruction(reference: Columns, window: Columns, kinds: Mapping[str, str], *, seed: int = 0) -> Effect:
    """The change of the mean error in standard deviations of the reference's own errors, and its two-sided p-value.

    Rows that components were fitted on fit them better than new ones do. So the reference is cut into five folds, the
    errors of each are those by the components of the others, and the window's are averaged over the same five. The
    spread of pieces of the reference that are as large as the window is then that of a mean of independent rows, and
    the p-value that of Welch's test: B. L. Welch, "The generalization of Student's problem", Biometrika 34, 1947.
    """
    whole = len(next(iter(reference.values())))
    rows = len(next(iter(window.values())))
    if whole < 2 * _FOLDS or rows < 2:
        return Effect(None, None)
    if any(_largest(side, kinds) > _LARGEST for side in (reference, window)):
        return Effect(None, None, "values are too large to be squared")
    order = np.random.default_rng(seed).permutation(whole)
    fresh, current = np.empty(whole), np.zeros(rows)
    with one_thread():
        for fold in range(_FOLDS):
            inside = np.sort(order[fold::_FOLDS])
            outside = np.setdiff1d(order, inside)
            fitted = Reconstruction.fit(select_rows(reference, outside.tolist()), kinds)
            fresh[inside] = fitted.errors(select_rows(reference, inside.tolist()))
            current += fitted.errors(window) / _FOLDS
    return _compare(fresh, current)


def _largest(columns: Columns, kinds: Mapping[str, str]) -> float:
    numbers = [np.asarray(columns[name], np.float64) for name, kind in kinds.items() if kind == "numeric"]
    return max((float(np.abs(column[~np.isnan(column)]).max(initial=0.0)) for column in numbers), default=0.0)


def _compare(fresh: NDArray[np.float64], current: NDArray[np.float64]) -> Effect:
    before, now = float(fresh.mean()), float(current.mean())
    detail = f"mean error {now:.3g} against {before:.3g}"
    spread, spread_now = float(fresh.var(ddof=1)), float(current.var(ddof=1))
    # Errors of a structure without rest are rounding.
    if spread <= 1e-18 and abs(now - before) <= 1e-9:
        return Effect(0.0, 1.0, detail)
    parts = spread / fresh.size, spread_now / current.size
    error = math.sqrt(sum(parts))
    size = abs(now - before) / math.sqrt(spread) if spread > 1e-18 else float(np.finfo(np.float64).max)
    if not error:
        return Effect(size, 0.0, detail)
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (fresh.size - 1) + parts[1] ** 2 / (current.size - 1))
    return Effect(size, float(2.0 * stdtr(freedom, -abs(now - before) / error)), detail)
