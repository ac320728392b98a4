"""From a training set to everything that is registered: model file, reference profile, metrics, gates.

A pure function of rows, spec, champion and seed; files, processes, Kafka and the registry are elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from driftloop.drift.reference_windows import with_reference_windows
from driftloop.events.decisions import GateResult
from driftloop.performance.estimated.fit import fit_estimators
from driftloop.performance.losses import reference_losses
from driftloop.performance.metrics import MetricValue
from driftloop.performance.pointwise import evaluate_model
from driftloop.profiles.reference import MetricReference, ReferenceProfile
from driftloop.spec.load import spec_digest
from driftloop.spec.metrics import reported_metrics
from driftloop.spec.model import ModelSpec
from driftloop.training.artifacts import dump
from driftloop.training.dataset import TrainingSet
from driftloop.training.digest import content_digest
from driftloop.training.estimators import EstimatorError, columns_of, fit, predict
from driftloop.training.gates import Candidate, Rival, run_gates
from driftloop.training.importance import permutation_importances

__all__ = ["Champion", "Trained", "environment", "lineage_of", "train"]

_PACKAGES = ("driftloop", "scikit-learn", "skops", "numpy", "scipy", "pandas")


@dataclass(frozen=True)
class Champion:
    """The version in production. ``pipeline`` None: it has no model file, what it said live is compared instead.

    ``trained_to_ms``: the end of its own training data, None if unknown.
    """

    version: str
    pipeline: Pipeline | None
    trained_to_ms: int | None


@dataclass(frozen=True)
class Trained:
    """A challenger. ``profile`` has no model version yet: the registry names it.

    ``metrics`` are its values on the holdout, by a model that had not seen it. ``seen_from_ms`` and ``seen_to_ms``
    bound the event times of the rows that the model file was fitted on, the end exclusive.
    """

    artifact: bytes
    profile: ReferenceProfile
    metrics: dict[str, float]
    gates: list[GateResult]
    model_digest: str
    train_rows: int
    holdout_rows: int
    seen_from_ms: int
    seen_to_ms: int


def train(spec: ModelSpec, data: TrainingSet, champion: Champion | None, *, seed: int) -> Trained:
    """Fit on the earlier rows, judge on the later ones, fit again on all if the spec says so.

    The reference profile describes all rows. Its predictions are out of sample: those of the holdout by the model that
    the gates judge, those of each half of the earlier rows by a model fitted on the other half. A model is more certain
    of the rows that it was fitted on than it will be of new ones. Raises :class:`EstimatorError` or
    :class:`~driftloop.training.dataset.SplitError` if the rows do not allow it. ``seed`` is that of the gates'
    resampling; the estimator's own is in the spec.
    """
    earlier, later = data.split(spec.training.holdout)
    judged = fit(spec, earlier.frame, earlier.labels)
    scores = predict(judged, spec, later.frame)
    released = fit(spec, data.frame, data.labels) if spec.training.refit_on_all else judged
    digest = content_digest(released)  # before it predicts: search trees count their calls
    seen = data if spec.training.refit_on_all else earlier
    artifact = dump(released)
    candidate = Candidate(scores, predict(released, spec, later.frame), artifact)
    rival = None if champion is None else _rival(spec, champion, later)
    gates = run_gates(spec, candidate, rival, later.frame, later.labels, seed=seed)
    metrics = _metrics(spec, scores, later)
    fresh = np.concatenate([_crossed(spec, earlier, judged), scores])
    columns = columns_of(spec, data.frame, fresh)
    profile = ReferenceProfile.build(
        spec,
        columns,
        model_version="",
        metrics=_references(metrics),
        label_mean=float(np.mean(data.labels)) if spec.task != "multiclass" else 0.0,
        from_ms=int(data.predicted_at_ms[0]),
        to_ms=int(data.predicted_at_ms[-1]) + 1,
        importances=permutation_importances(judged, spec, later.frame, later.labels, seed=seed),
        estimators=fit_estimators(spec, columns_of(spec, data.frame), fresh, data.labels),
        losses=reference_losses(spec.task, scores, later.labels, spec.performance.decision_threshold),
    )
    return Trained(
        artifact=artifact,
        profile=with_reference_windows(profile, spec, columns, data.predicted_at_ms),
        metrics={
            name: value.value
            for name, value in metrics.items()
            if value.value is not None and name in reported_metrics(spec)
        },
        gates=gates,
        model_digest=digest,
        train_rows=len(earlier),
        holdout_rows=len(later),
        seen_from_ms=int(seen.predicted_at_ms[0]),
        seen_to_ms=int(seen.predicted_at_ms[-1]) + 1,
    )


def lineage_of(spec: ModelSpec, trained: Trained, dataset: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """What a version was made of, JSON-able: enough to fit it again and compare the digest."""
    return {
        "dataset": dict(dataset),
        "spec_digest": spec_digest(spec),
        "estimator": spec.training.estimator,
        "parameters": spec.training.parameters,
        "seed": spec.training.seed,
        "refit_on_all": spec.training.refit_on_all,
        "train_rows": trained.train_rows,
        "holdout_rows": trained.holdout_rows,
        "model_digest": trained.model_digest,
        "environment": environment(),
        **more,
    }


def environment() -> dict[str, str]:
    """Versions of what a fit depends on."""
    found = {"python": python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def _crossed(spec: ModelSpec, earlier: TrainingSet, judged: Pipeline) -> NDArray[np.float64]:
    """Out-of-sample predictions of the earlier rows: each half in time by a model fitted on the other."""
    half = len(earlier) // 2
    first, second = slice(0, half), slice(half, None)
    parts = []
    for inside, outside in ((first, second), (second, first)):
        frame = earlier.frame.iloc[inside]
        try:
            model = fit(spec, earlier.frame.iloc[outside], earlier.labels[outside])
        except EstimatorError:
            # Half of the rows may hold one class only; in-sample predictions are better than none.
            model = judged
        parts.append(predict(model, spec, frame))
    return np.concatenate(parts)


def _rival(spec: ModelSpec, champion: Champion, later: TrainingSet) -> Rival:
    if champion.pipeline is None:
        known = (later.versions == champion.version) & np.isfinite(later.said.reshape(len(later), -1)).all(axis=1)
        return Rival(champion.version, later.said, known, known)
    known = np.ones(len(later), dtype=np.bool_)
    trained_to_ms = champion.trained_to_ms
    unseen = known if trained_to_ms is None else later.predicted_at_ms >= trained_to_ms
    return Rival(champion.version, predict(champion.pipeline, spec, later.frame), known, unseen)


def _metrics(spec: ModelSpec, scores: NDArray[np.float64], later: TrainingSet) -> dict[str, MetricValue]:
    """None at all if the predictions are not usable: then the sanity gate says why."""
    if not np.isfinite(scores).all():
        return {}
    value = spec.performance.value
    weights = None if value is None or value.column is None else later.frame[value.column].to_numpy(np.float64)
    return evaluate_model(spec, scores, later.labels, weights)


def _references(metrics: Mapping[str, MetricValue]) -> dict[str, MetricReference]:
    return {
        name: MetricReference(value=metric.value, low=metric.low, high=metric.high, rows=metric.rows)
        for name, metric in metrics.items()
        if metric.value is not None
    }
