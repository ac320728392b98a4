"""Does a feature know the label, or the time when it became known?

A feature that tells the label of *later* rows almost without error, when all that is learnt is one number for each of
its values on *earlier* rows, was most likely made from the label. Each feature is looked at alone: what only several
features together give away is not found, nor is a leak that is as weak as an honest feature.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy.stats import rankdata

from driftloop.spec.model import ModelSpec
from driftloop.training.dataset import TrainingSet
from driftloop.training.validation.result import CheckResult, above

__all__ = ["label_power", "leakage_checks"]

Floats = NDArray[np.float64]

#: Numeric values are put into so many bins of equal frequency at most, and no fewer rows each than that.
_BINS = 256
_ROWS_IN_BIN = 5
#: So many rows of each class, or rows at all, must be in either half to say anything.
_FEWEST = 10


def leakage_checks(spec: ModelSpec, data: TrainingSet) -> Iterator[CheckResult]:
    """How well each numeric or categorical feature alone tells the label."""
    rules = spec.training.validation
    if rules.leakage is None:
        return
    for name, feature in spec.features.items():
        if feature.kind not in ("numeric", "categorical") or name in rules.known_in_advance:
            continue
        power = label_power(data.frame[name], data.labels, spec.task)
        if power is None:
            sentence = f"too few rows, or rows of a class, to say how well {name!r} alone tells the label"
            yield CheckResult(check="leakage", column=name, value=None, bound=rules.leakage.fail, sentence=sentence)
            continue
        result = above(
            "leakage",
            power,
            rules.leakage,
            f"{name!r} alone tells the labels of the later rows with a power of {power:.4f} of 1",
            column=name,
            percent=False,
        )
        yield _with_hint(result, name)


def _with_hint(result: CheckResult, name: str) -> CheckResult:
    if result.verdict == "pass":
        return result
    hint = f"is {name!r} known when the prediction is made? If so, add it to training.validation.known_in_advance"
    return replace(result, sentence=f"{result.sentence}; {hint}")


def label_power(values: pd.Series[Any], labels: NDArray[Any], task: str) -> float | None:
    """How well the values tell the labels of the later half of the rows: 0 no better than without them, 1 always.

    ``values`` (n,) numbers or texts in order of time, ``labels`` (n,). The mean label of each value (or bin of values,
    or of the missing ones) in the earlier half is the forecast of the later half. Classification: 2 AUC - 1, for more
    than two classes the mean over those with rows enough; a numeric feature also by its own order. Regression: R², a
    numeric feature also by its squared rank correlation. None: too few rows.
    """
    half = len(labels) // 2
    if half < _FEWEST:
        return None
    numeric = values.dtype != object
    codes = _bins(values.to_numpy(np.float64), half) if numeric else _categories(values, half)
    raw = values.to_numpy(np.float64)[half:] if numeric else None
    if task == "regression":
        targets = labels.astype(np.float64)
        scale = float(np.abs(targets).max())
        if scale == 0.0 or np.ptp(targets / scale) == 0.0:
            return None
        targets /= scale  # 1e308 squared is infinite
        return _regression_power(_means(codes, targets, half)[half:], targets[half:], raw)
    powers = []
    classes = [1] if task == "binary" else np.unique(labels).tolist()
    for name in classes:
        truth = labels == name
        counts = [int(truth[:half].sum()), int(truth[half:].sum())]
        if min(counts) < _FEWEST or counts[0] > half - _FEWEST or counts[1] > len(labels) - half - _FEWEST:
            continue
        powers.append(_class_power(_means(codes, truth.astype(np.float64), half)[half:], truth[half:], raw))
    return float(np.mean(powers)) if powers else None


def _bins(values: Floats, half: int) -> NDArray[np.intp]:
    """Bins of equal frequency of the earlier half's values; missing values are a bin of their own."""
    known = values[:half][np.isfinite(values[:half])]
    bins = min(_BINS, max(known.size // _ROWS_IN_BIN, 1))
    edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1])) if known.size else np.empty(0)
    codes = np.searchsorted(edges, values, side="left")
    return np.where(np.isnan(values), edges.size + 1, codes)


def _categories(values: pd.Series[Any], half: int) -> NDArray[np.intp]:
    """A number for each category of the earlier half; those that only the later half has are one category."""
    known = {value: code for code, value in enumerate(dict.fromkeys(values.iloc[:half]))}
    return np.array([known.get(value, len(known)) for value in values], np.intp)


def _means(codes: NDArray[np.intp], targets: Floats, half: int) -> Floats:
    """Each row's forecast: its code's mean target in the earlier half, drawn to the overall mean by one row."""
    size = int(codes.max()) + 1
    overall = float(targets[:half].mean())
    sums = np.bincount(codes[:half], targets[:half], minlength=size)
    counts = np.bincount(codes[:half], minlength=size)
    return ((sums + overall) / (counts + 1))[codes]


def _class_power(forecast: Floats, truth: NDArray[np.bool_], raw: Floats | None) -> float:
    powers = [2.0 * _auc(forecast, truth) - 1.0]
    if raw is not None:
        known = np.isfinite(raw)
        if 0 < truth[known].sum() < known.sum():
            powers.append(abs(2.0 * _auc(raw[known], truth[known]) - 1.0) * float(known.mean()))
    return max(0.0, *powers)


def _auc(scores: Floats, truth: NDArray[np.bool_]) -> float:
    """The area under the ROC curve by the rank sum, ties counting half."""
    ones = int(truth.sum())
    zeros = len(truth) - ones
    return float((rankdata(scores)[truth].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def _regression_power(forecast: Floats, truth: Floats, raw: Floats | None) -> float | None:
    spread = float(((truth - truth.mean()) ** 2).sum())
    if spread == 0.0:
        return None
    powers = [1.0 - float(((truth - forecast) ** 2).sum()) / spread]
    if raw is not None:
        known = np.isfinite(raw)
        correlation = rank_correlation(raw[known], truth[known])
        if correlation is not None:
            powers.append(correlation**2 * float(known.mean()))
    return max(0.0, *powers)


def rank_correlation(first: Floats, second: Floats) -> float | None:
    """Spearman's; None for fewer than ten rows or a constant."""
    if len(first) < _FEWEST or _constant(first) or _constant(second):
        return None
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def _constant(values: Floats) -> bool:
    return bool(values.min() == values.max())
