"""Which features moved one prediction away from what the model says on average over rows of its training set.

For an output that is a sum of functions of one feature each, such as a linear model behind any encoding by feature, the
contribution of a feature is its own term less the term's mean over the background: for a linear model coefficient times
(encoded value less its mean), summed over the columns that the feature was encoded into. That is the Shapley value. It
is given on the scale on which the model is linear: log-odds for two classes, the logarithm of the class's probability
over the geometric mean of all classes' for several, the value itself for a regression. Whether the model's output is
such a sum is not assumed of a type but found out: the terms must add up to the output within 1e-9 of the largest one,
and the scale must give the probabilities. All other models: sampled Shapley values of the prediction
(:func:`driftloop.multivariate.attribution.shapley_contributions`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.pipeline import Pipeline

from driftloop.multivariate.attribution import adds_up, shapley_contributions
from driftloop.profiles.columns import Columns, select_rows
from driftloop.spec.model import ModelSpec
from driftloop.training.estimators import feature_frame, predict
from driftloop.training.river import RiverEstimator

__all__ = ["Moved", "Part", "moved", "seed_of"]

Floats = NDArray[np.float64]
Score = Callable[[Columns], Floats]

_TOLERANCE = 1e-9
#: Rows of the background that sampled Shapley values use; they come again for other orders of the features.
_SHAPLEY_ROWS = 200
_PAIRS = 2_000


class Part(Struct, frozen=True, kw_only=True):
    """A feature's contribution. ``standard_error``: how far other rows of the background, or other orders of features,
    would put it; None: nothing was sampled."""

    feature: str
    value: float
    standard_error: float | None = None


class Moved(Struct, frozen=True, kw_only=True):
    """``base`` (the mean over ``background_rows`` rows) and all contributions add up to ``output`` but for
    ``remainder``, which is rounding. ``scale``: what the numbers are. The largest contribution comes first."""

    scale: str
    exact: bool
    output: float
    base: float
    parts: list[Part]
    remainder: float
    background_rows: int


def seed_of(prediction_id: str) -> int:
    """The seed of all that is drawn for a prediction: asking again gives the same numbers."""
    return int.from_bytes(hashlib.sha256(f"audit\n{prediction_id}".encode()).digest()[:8], "big")


def moved(
    spec: ModelSpec,
    pipeline: Pipeline,
    background: Columns,
    row: Columns,
    *,
    seed: int,
    sampled: bool = False,
    pairs: int = _PAIRS,
) -> Moved:
    """Explain one row. ``background``: columns of m rows, ``row``: of one; ``sampled``: the background is a sample of
    the training set. For several classes the one that the model finds likeliest is explained.

    Raises ``ValueError`` or ``KeyError`` if the model does not take the rows, and for an empty background.
    """
    rows = len(next(iter(background.values()), ()))
    if not rows:
        raise ValueError("there is no row to compare with")
    features = [name for name, feature in spec.features.items() if feature.kind in ("numeric", "categorical")]
    said = predict(pipeline, spec, row)
    chosen = int(said[0].argmax()) if said.ndim == 2 else 1
    link = _link(spec, pipeline, chosen)
    if link is not None:
        score, scale = link
        exact = _additive(score, background, row, features, sampled=sampled)
        if exact is not None and _gives_probabilities(spec, pipeline, row, chosen):
            return _result(scale, exact[0], exact[1], exact[2], rows, exact=True)

    def probability(columns: Columns) -> Floats:
        found = predict(pipeline, spec, columns)
        return found[:, chosen] if found.ndim == 2 else found

    rng = np.random.default_rng(seed)
    kept = np.sort(rng.permutation(rows)[:_SHAPLEY_ROWS])
    held = select_rows(background, kept.tolist())
    # Whole rounds use each row equally often, so that base and contributions add up.
    rounds = max(1, math.ceil(pairs / len(kept)))
    drawn = max(2, rounds * len(kept))
    found = shapley_contributions(probability, held, row, features, pairs=drawn, seed=seed, given=True)
    parts = [
        Part(feature=part.feature, value=part.value, standard_error=part.standard_error) for part in found.contributions
    ]
    return _result(_words(spec, chosen), found.window_mean, found.reference_mean, parts, len(kept), exact=False)


def _result(scale: str, output: float, base: float, parts: list[Part], rows: int, *, exact: bool) -> Moved:
    return Moved(
        scale=scale,
        exact=exact,
        output=output,
        base=base,
        parts=sorted(parts, key=lambda part: (-abs(part.value), part.feature)),
        remainder=output - math.fsum([base, *(part.value for part in parts)]),
        background_rows=rows,
    )


def _words(spec: ModelSpec, chosen: int) -> str:
    if spec.task == "regression":
        return "predicted value"
    return "probability of class 1" if spec.task == "binary" else f"probability of {spec.classes[chosen]}"


def _additive(
    score: Score, background: Columns, row: Columns, features: list[str], *, sampled: bool
) -> tuple[float, float, list[Part]] | None:
    """(output, base, contributions), or None if the score is not a sum of functions of one feature."""
    rows = len(next(iter(background.values())))
    held = select_rows(row, [0] * rows)
    output = float(score(row)[0])
    outputs = score(background)
    base, scale = _mean(outputs), max(abs(output), float(np.abs(outputs).max()))
    parts = []
    for name in features:
        others = score({**held, name: background[name]})
        error = float(others.std(ddof=1)) / math.sqrt(rows) if sampled and rows > 1 else None
        scale = max(scale, float(np.abs(others).max()))
        parts.append(Part(feature=name, value=output - _mean(others), standard_error=error))
    total = math.fsum([base, *(part.value for part in parts)])
    if not adds_up(total, output, scale):
        return None
    return output, base, parts


def _link(spec: ModelSpec, pipeline: Pipeline, chosen: int) -> tuple[Score, str] | None:
    """The score on whose scale a linear model is linear; None for models that are not linear by their type."""
    model = _last(pipeline)
    river = isinstance(model, RiverEstimator) and model.model.startswith("river.linear_model.")
    if not river and not hasattr(model, "coef_"):
        return None
    if spec.task == "regression":
        return lambda columns: predict(pipeline, spec, columns), "predicted value"
    if river:
        if spec.task != "binary":
            return None
        return lambda columns: _logit(predict(pipeline, spec, columns)), "log-odds of class 1"
    if not hasattr(pipeline, "decision_function"):
        return None

    def decided(columns: Columns) -> Floats:
        return np.asarray(pipeline.decision_function(feature_frame(spec, columns)), dtype=np.float64)

    if spec.task == "binary":
        return decided, "log-odds of class 1"
    known = np.flatnonzero(np.asarray(pipeline.classes_) == chosen)
    if not known.size:
        return None
    at = int(known[0])

    def centred(columns: Columns) -> Floats:
        scores = decided(columns)
        if scores.ndim == 1:  # only two of the classes were seen
            scores = np.stack([-scores / 2, scores / 2], axis=1)
        return np.asarray(scores[:, at] - scores.mean(axis=1))

    return centred, f"log of the probability of {spec.classes[chosen]} over the geometric mean of all classes'"


def _gives_probabilities(spec: ModelSpec, pipeline: Pipeline, row: Columns, chosen: int) -> bool:
    """Whether the decision function is what the probabilities are made from, on the log scale."""
    if spec.task == "regression" or isinstance(_last(pipeline), RiverEstimator):
        return True
    said = predict(pipeline, spec, row)
    scores = np.asarray(pipeline.decision_function(feature_frame(spec, row)), dtype=np.float64)
    if spec.task == "binary":
        return bool(abs(expit(scores[0]) - said[0]) <= _TOLERANCE)
    if scores.ndim == 1:
        scores = np.stack([-scores / 2, scores / 2], axis=1)
    at = int(np.flatnonzero(np.asarray(pipeline.classes_) == chosen)[0])
    return bool(abs(softmax(scores[0])[at] - said[0, chosen]) <= _TOLERANCE)


def _last(pipeline: Pipeline) -> object:
    model: object = pipeline
    while isinstance(model, Pipeline):
        model = model[-1]
    return model


def _logit(probability: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.log(probability) - np.log1p(-probability)


def _mean(values: Floats) -> float:
    return math.fsum(values.tolist()) / len(values)
