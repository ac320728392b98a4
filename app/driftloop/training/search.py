"""A search over an estimator's parameters, each judged on rows that are later than those it was fitted on."""

from __future__ import annotations

import itertools
import math
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from sklearn.model_selection import TimeSeriesSplit

from driftloop.spec.metrics import direction_of
from driftloop.spec.model import ModelSpec
from driftloop.spec.training import SearchSpec
from driftloop.training.comparison import DEFAULT_METRIC, metric_value
from driftloop.training.dataset import TrainingSet
from driftloop.training.errors import EstimatorError
from driftloop.training.estimators import fit, predict
from driftloop.training.gap import places_before_gap

__all__ = ["SearchResult", "Tried", "folds_of", "search", "settings_of"]


class Tried(Struct, frozen=True, kw_only=True):
    """One setting of the searched parameters: the metric on each fold, and their mean. ``error``: why there is none."""

    parameters: dict[str, Any]
    values: list[float | None] = []
    mean: float | None = None
    error: str | None = None


class SearchResult(Struct, frozen=True, kw_only=True):
    """What was tried, in its order, and the place of the best. Folds are (rows fitted on, rows judged on)."""

    method: str
    split: str
    metric: str
    seed: int
    folds: list[tuple[int, int]]
    tried: list[Tried]
    best: int

    @property
    def parameters(self) -> dict[str, Any]:
        """The best setting."""
        return self.tried[self.best].parameters


def settings_of(search: SearchSpec) -> list[dict[str, Any]]:
    """The settings that are tried: every combination of a grid, or ``n`` distinct ones by chance, fewer if there are no
    more. The same spec gives the same list."""
    names = sorted(search.parameters)
    if search.method == "grid":
        return [
            dict(zip(names, values, strict=True))
            for values in itertools.product(*(search.parameters[name] for name in names))
        ]
    rng = np.random.default_rng(search.seed)
    found: dict[bytes, dict[str, Any]] = {}
    for _ in range(20 * search.n):
        drawn = {name: _drawn(search.parameters[name], rng) for name in names}
        found.setdefault(msgspec.json.encode(drawn), drawn)
        if len(found) == search.n:
            break
    return list(found.values())


def _drawn(values: Any, rng: np.random.Generator) -> Any:
    if isinstance(values, list):
        return values[int(rng.integers(len(values)))]
    low, high = float(values["low"]), float(values["high"])
    if values.get("integer") and not values.get("log"):
        return int(rng.integers(math.ceil(low), math.floor(high) + 1))
    value = math.exp(rng.uniform(math.log(low), math.log(high))) if values.get("log") else rng.uniform(low, high)
    return round(value) if values.get("integer") else float(value)


def folds_of(search: SearchSpec, data: TrainingSet) -> list[tuple[slice, slice]]:
    """Rows to fit on and later rows to judge on, the second always strictly later in time than the first.

    ``time_series``: scikit-learn's TimeSeriesSplit, with boundaries moved so that rows of one instant stay together;
    ``forward``: all but the last ``share``, and those. Folds that would be empty are left out. Raises
    :class:`~driftloop.training.errors.EstimatorError` if none is left.
    """
    rows = len(data)
    bounds: list[tuple[int, int]] = []
    if search.split == "forward":
        bounds = [(round(rows * (1.0 - search.share)), rows)]
    elif rows > search.folds:
        bounds = [
            (int(later[0]), int(later[-1]) + 1)
            for _, later in TimeSeriesSplit(n_splits=search.folds).split(np.empty((rows, 1)))
        ]
    found = []
    for start, end in bounds:
        start, end = _instant(data.predicted_at_ms, start), _instant(data.predicted_at_ms, end)
        if 0 < start < end:
            found.append((slice(0, start), slice(start, end)))
    if not found:
        raise EstimatorError(
            f"training.search: {rows:,} rows cannot be split in time; allow more rows, or leave it out"
        )
    return found


def _instant(times: NDArray[np.int64], place: int) -> int:
    """The place of the first row of the same instant."""
    return place if not 0 < place < len(times) else int(np.searchsorted(times, times[place], side="left"))


def _learnable(
    spec: ModelSpec, data: TrainingSet, folds: list[tuple[slice, slice]]
) -> list[tuple[NDArray[np.int64], slice]]:
    """The places of the rows to fit on, without those that ``training.gap`` takes away. Folds that have none are left
    out."""
    found = [
        (places_before_gap(spec, data.rows(earlier), int(data.predicted_at_ms[later.start])), later)
        for earlier, later in folds
    ]
    kept = [(places, later) for places, later in found if len(places)]
    if not kept:
        raise EstimatorError(
            f"training.search: training.gap: {spec.training.gap} leaves no row to fit on before any of the "
            f"{len(folds)} later parts of {len(data):,} rows; allow more rows or a shorter gap, or leave the search out"
        )
    return kept


def search(spec: ModelSpec, data: TrainingSet, weights: NDArray[np.float64] | None) -> SearchResult:
    """Try the settings of ``training.search`` on ``data``. The first of several equally good ones is the best.

    Raises :class:`~driftloop.training.errors.EstimatorError` if none can be fitted and judged.
    """
    wanted = spec.training.search
    assert wanted is not None, "the caller has looked"
    metric = wanted.metric or DEFAULT_METRIC[spec.task]
    direction = direction_of(spec.task, metric) or 0
    folds = _learnable(spec, data, folds_of(wanted, data))
    tried = [_try(spec, setting, data, weights, folds, metric) for setting in settings_of(wanted)]
    means = [-math.inf if one.mean is None else direction * one.mean for one in tried]
    best = int(np.argmax(means))
    if math.isinf(means[best]) and means[best] < 0:
        raise EstimatorError(f"model {spec.model}: training.search found no setting that works: {tried[0].error}")
    return SearchResult(
        method=wanted.method,
        split=wanted.split,
        metric=metric,
        seed=wanted.seed,
        folds=[(len(earlier), later.stop - later.start) for earlier, later in folds],
        tried=tried,
        best=best,
    )


def _try(
    spec: ModelSpec,
    setting: dict[str, Any],
    data: TrainingSet,
    weights: NDArray[np.float64] | None,
    folds: list[tuple[NDArray[np.int64], slice]],
    metric: str,
) -> Tried:
    training = msgspec.structs.replace(spec.training, parameters={**spec.training.parameters, **setting})
    tuned = msgspec.structs.replace(spec, training=training)
    values: list[float | None] = []
    for earlier, later in folds:
        try:
            model = fit(
                tuned, data.frame.iloc[earlier], data.labels[earlier], None if weights is None else weights[earlier]
            )
        except EstimatorError as error:
            return Tried(parameters=setting, values=values, error=str(error))
        scores = predict(model, spec, data.frame.iloc[later])
        if not np.isfinite(scores).all():
            return Tried(parameters=setting, values=values, error="its predictions are not finite numbers")
        value = metric_value(spec.task, metric, data.labels[later], scores, spec.performance.decision_threshold)
        values.append(value if math.isfinite(value) else None)
    known = [value for value in values if value is not None]
    if not known:
        return Tried(parameters=setting, values=values, error=f"{metric} is undefined on every fold")
    return Tried(parameters=setting, values=values, mean=math.fsum(known) / len(known))
