"""Which features moved a window's mean score: a version's model on sampled rows of its reference and of the window."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from driftloop.multivariate.attribution import (
    Attribution,
    NotAdditive,
    additive_contributions,
    shapley_contributions,
)
from driftloop.profiles.columns import Columns
from driftloop.profiles.inputs import InputStats
from driftloop.spec.model import ModelSpec
from driftloop.training.estimators import predict

__all__ = ["Explanation", "ExplanationError", "explain_window"]

#: Regressors whose output is a sum over features behind the encodings of :func:`~driftloop.training.estimators.build`.
#: Behind others, such as products of features, it is not, which the terms of the rows tell.
_ADDITIVE = frozenset(
    {
        "ARDRegression", "BayesianRidge", "ElasticNet", "ElasticNetCV", "HuberRegressor", "Lasso", "LassoCV",
        "LinearRegression", "LinearSVR", "QuantileRegressor", "Ridge", "RidgeCV", "SGDRegressor", "TheilSenRegressor",
    }
)  # fmt: skip


class ExplanationError(ValueError):
    """A window's change cannot be explained; the message says why, and what to do."""


@dataclass(frozen=True)
class Explanation:
    """The change of the mean score by feature, the largest first. ``output``: what the score is."""

    output: str
    attribution: Attribution
    rows: int
    reference_rows: int


def explain_window(
    spec: ModelSpec,
    pipeline: Pipeline,
    stats: InputStats,
    *,
    output_class: str | None = None,
    pairs: int = 2_000,
    seed: int = 0,
) -> Explanation:
    """Decompose the change of the mean score from the reference's sampled rows to the window's.

    The score is the probability of class 1 (binary), the value (regression) or the probability of ``output_class``
    (multiclass; None: the class whose mean probability changed most). Exact for linear regressors whose terms add up to
    the output of every row, else sampled.
    Raises :class:`ExplanationError` if there is no sample of rows, or the sample or model does not fit the spec.
    """
    sample, reference_sample = stats.sample, stats.profile.sample
    if sample is None or reference_sample is None:
        raise ExplanationError(
            "no rows of this window were sampled: give the spec drift.multivariate.methods and register a version with "
            "it; segments are never sampled"
        )
    if not len(sample):
        raise ExplanationError("the window has no sampled rows")
    columns = sample.columns()
    absent = [name for name in spec.features if name not in columns]
    if absent:
        raise ExplanationError(
            f"the sampled rows have no feature {absent[0]!r}: they were taken for a version with another spec"
        )
    features = [name for name, feature in spec.features.items() if feature.kind in ("numeric", "categorical")]
    if spec.task == "multiclass":
        chosen = _class_index(spec, pipeline, reference_sample.columns, columns, output_class)
        output = f"probability of {spec.classes[chosen]}"
    elif output_class is not None:
        raise ExplanationError(f"only a multiclass model has classes to choose from, and the task is {spec.task}")
    else:
        chosen, output = 0, "probability of class 1" if spec.task == "binary" else "predicted value"

    def score(rows: Columns) -> NDArray[np.float64]:
        found = predict(pipeline, spec, rows)
        return found[:, chosen] if found.ndim == 2 else found

    try:
        attribution = None
        if spec.task == "regression" and type(pipeline[-1]).__name__ in _ADDITIVE:
            with contextlib.suppress(NotAdditive):
                attribution = additive_contributions(score, reference_sample.columns, columns, features)
        if attribution is None:
            attribution = shapley_contributions(
                score, reference_sample.columns, columns, features, pairs=pairs, seed=seed
            )
    except (KeyError, ValueError) as error:
        raise ExplanationError(f"the model does not take the spec's features: {error}") from error
    ordered = sorted(attribution.contributions, key=lambda part: (-abs(part.value), part.feature))
    return Explanation(
        output=output,
        attribution=Attribution(attribution.reference_mean, attribution.window_mean, ordered, attribution.exact),
        rows=len(sample),
        reference_rows=len(reference_sample.rows.ranks),
    )


def _class_index(
    spec: ModelSpec, pipeline: Pipeline, reference: Columns, window: Columns, output_class: str | None
) -> int:
    if output_class is None:
        change = predict(pipeline, spec, window).mean(axis=0) - predict(pipeline, spec, reference).mean(axis=0)
        return int(np.abs(change).argmax())
    if output_class not in spec.classes:
        raise ExplanationError(f"the spec has no class {output_class!r}; it has {', '.join(spec.classes)}")
    return spec.classes.index(output_class)
