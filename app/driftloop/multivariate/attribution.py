"""What moved the mean score: the change of a model's mean output from the reference's rows to the window's, by feature.

Shapley values of the game v(S) = the mean output when the features in S come from a row of the window and all others
from a row of the reference, both drawn at random: v(all) - v(none) is the change, and the contributions add up to it.
K. Budhathoki et al., "Why did the distribution change?", AISTATS 2021, attribute changes of a distribution so;
E. Strumbelj, I. Kononenko, "Explaining prediction models and individual predictions with feature contributions",
Knowledge and Information Systems 41, 2014, draw permutations as here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftloop.multivariate.encoding import Matrix
from driftloop.profiles.columns import Columns, select_rows

__all__ = [
    "Attribution",
    "Contribution",
    "NotAdditive",
    "additive_contributions",
    "adds_up",
    "linear_contributions",
    "shapley_contributions",
]

#: Columns of n rows to outputs (n,).
Predict = Callable[[Columns], Matrix]

_BATCH_PAIRS = 2_000
_TOLERANCE = 1e-9


class NotAdditive(ValueError):
    """The output is no sum of functions of one feature each, so that there are no exact contributions."""


def adds_up(total: Matrix | float, output: Matrix | float, scale: float) -> bool:
    """Whether every total of terms is the model's output within 1e-9 of ``scale``, the largest absolute output that
    the terms were made from: what is left then is rounding. Never with values that are not finite."""
    if not math.isfinite(scale):
        return False
    return bool(np.all(np.abs(np.asarray(total) - np.asarray(output)) <= _TOLERANCE * scale))


@dataclass(frozen=True)
class Contribution:
    """A feature's part of the change. ``standard_error`` says how far another sample of rows (and of permutations)
    would put it; None where there are too few rows to tell."""

    feature: str
    value: float
    standard_error: float | None


@dataclass(frozen=True)
class Attribution:
    """``reference_mean`` and ``window_mean`` are those of the model's output over the rows; ``remainder`` is what the
    contributions leave of their difference: rounding, or pairs that do not use every row equally often. ``exact``: no
    permutations were drawn."""

    reference_mean: float
    window_mean: float
    contributions: list[Contribution]
    exact: bool

    @property
    def change(self) -> float:
        return self.window_mean - self.reference_mean

    @property
    def remainder(self) -> float:
        return self.change - math.fsum(part.value for part in self.contributions)


def linear_contributions(
    coefficients: Matrix, reference: Matrix, window: Matrix, names: Sequence[str], intercept: float = 0.0
) -> Attribution:
    """For an output that is ``intercept + rows @ coefficients``: coefficient times change of the mean, which is the
    Shapley value. Rows (m, d) and (n, d), coefficients (d,)."""
    before, now = reference.mean(axis=0), window.mean(axis=0)
    terms = (reference * coefficients, window * coefficients)
    contributions = [
        Contribution(name, float(coefficients[at] * (now[at] - before[at])), _error(terms[0][:, at], terms[1][:, at]))
        for at, name in enumerate(names)
    ]
    return Attribution(
        intercept + float(before @ coefficients), intercept + float(now @ coefficients), contributions, True
    )


def additive_contributions(
    predict: Predict, reference: Columns, window: Columns, features: Sequence[str]
) -> Attribution:
    """For an output that is a sum of functions of one feature each (a linear model behind any encoding by feature).

    Exact: with all other features held at the first row of the reference, the mean output over the window's values of
    a feature less that over the reference's is its contribution. The model is asked for (d + 1)(m + n) rows. Raises
    :class:`NotAdditive` if the terms of any of the rows do not add up to its output.
    """
    rows_before, rows_now = _rows(reference), _rows(window)
    if not rows_before or not rows_now:
        raise ValueError(f"expected a row on each side, got {rows_before}, {rows_now}")
    outputs = (predict(reference), predict(window))
    sides = ((reference, select_rows(reference, [0] * rows_before)), (window, select_rows(reference, [0] * rows_now)))

    def alone(names: Sequence[str]) -> list[Matrix]:
        return [predict({**held, **{name: side[name] for name in names}}) for side, held in sides]

    terms = [alone([name]) for name in features]
    # Columns that nobody asks about have their term too.
    if rest := [name for name in reference if name not in features and name in window]:
        terms.append(alone(rest))
    scale = max(float(np.abs(side).max()) for pair in (outputs, *terms) for side in pair)
    if not math.isfinite(scale):
        raise NotAdditive("the model's output is not finite everywhere")
    base = float(outputs[0][0])
    for at, output in enumerate(outputs):
        total = base + np.sum([pair[at] - base for pair in terms], axis=0)
        if not adds_up(total, output, scale):
            raise NotAdditive("the model's output is no sum of functions of one feature each")
    contributions = [
        Contribution(name, _mean(now) - _mean(before), _error(before, now))
        for name, (before, now) in zip(features, terms, strict=False)
    ]
    return Attribution(_mean(outputs[0]), _mean(outputs[1]), contributions, True)


def shapley_contributions(
    predict: Predict,
    reference: Columns,
    window: Columns,
    features: Sequence[str],
    *,
    pairs: int = 2_000,
    seed: int = 0,
    given: bool = False,
) -> Attribution:
    """Sampled for any model. ``predict`` must treat rows on their own. ``given``: the window's rows are those that are
    asked about, such as a single one, and not a sample of others: they add nothing to the standard errors.

    Each pair is a row of the reference and one of the window; in a random order of the features, and then in the
    opposite one, its values go over from one to the other, and each feature gets the change of the output at its step.
    Every row is used equally often (up to one), so that the contributions of an additive model are exact when ``pairs``
    is a multiple of both numbers of rows. The model is asked for ``2 * pairs * (d + 1)`` rows, in batches.
    """
    rows_before, rows_now = _rows(reference), _rows(window)
    if pairs < 2 or not rows_before or not rows_now:
        raise ValueError(f"expected at least two pairs and a row on each side, got {pairs}, {rows_before}, {rows_now}")
    rng = np.random.default_rng(seed)
    before_at = _evenly(rows_before, pairs, rng)
    now_at = _evenly(rows_now, pairs, rng)
    count = len(features)
    orders = rng.permuted(np.tile(np.arange(count), (pairs, 1)), axis=1)
    gains = np.zeros((pairs, count))
    for start in range(0, pairs, _BATCH_PAIRS):
        batch = slice(start, min(start + _BATCH_PAIRS, pairs))
        for order in (orders[batch], orders[batch, ::-1]):
            gains[batch] += _walk(predict, reference, window, features, before_at[batch], now_at[batch], order) / 2
    sides = [before_at] if given else [before_at, now_at]
    contributions = [
        Contribution(name, float(gains[:, at].mean()), _pair_error(gains[:, at], sides))
        for at, name in enumerate(features)
    ]
    return Attribution(_mean(predict(reference)), _mean(predict(window)), contributions, False)


def _walk(
    predict: Predict,
    reference: Columns,
    window: Columns,
    features: Sequence[str],
    before_at: NDArray[np.intp],
    now_at: NDArray[np.intp],
    orders: NDArray[np.intp],
) -> Matrix:
    """Gains (pairs, features) of each feature at its step."""
    size, count = orders.shape
    before = select_rows(reference, before_at.tolist())
    now = select_rows(window, now_at.tolist())
    rank = np.empty_like(orders)
    np.put_along_axis(rank, orders, np.arange(count)[None, :], axis=1)
    outputs = np.empty((count + 1, size))
    for step in range(count + 1):
        mixed = {name: _mix(before[name], now[name], rank[:, at] < step) for at, name in enumerate(features)}
        outputs[step] = predict({**before, **mixed})
    steps = np.diff(outputs, axis=0).T  # (pairs, steps)
    return np.take_along_axis(steps, rank, axis=1)


def _mix(
    before: NDArray[np.float64] | list[str | None],
    now: NDArray[np.float64] | list[str | None],
    moved: NDArray[np.bool_],
) -> NDArray[np.float64] | list[str | None]:
    if isinstance(before, np.ndarray):
        shape = (-1, *[1] * (before.ndim - 1))
        return np.where(moved.reshape(shape), np.asarray(now), before)
    return [new if use else old for old, new, use in zip(before, now, moved, strict=True)]


def _evenly(rows: int, pairs: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Row numbers in random order, each ``pairs / rows`` times, up to one."""
    rounds = [rng.permutation(rows) for _ in range(-(-pairs // rows))]
    return np.concatenate(rounds)[:pairs]


def _pair_error(gains: Matrix, sides: Sequence[NDArray[np.intp]]) -> float | None:
    """As of a two-sample U-statistic: the spread of the mean gains of a side's rows, over the number of its rows."""
    variance = 0.0
    for at in sides:
        used = np.bincount(at)
        means = np.bincount(at, gains)[used > 0] / used[used > 0]
        if means.size < 2:
            return None
        variance += float(means.var(ddof=1)) / means.size
    return math.sqrt(variance)


def _error(before: Matrix, now: Matrix) -> float | None:
    if before.size < 2 or now.size < 2:
        return None
    return math.sqrt(float(before.var(ddof=1)) / before.size + float(now.var(ddof=1)) / now.size)


def _mean(values: Matrix) -> float:
    return math.fsum(values.tolist()) / len(values)


def _rows(columns: Columns) -> int:
    return len(next(iter(columns.values()), ()))
