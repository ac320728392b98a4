"""From a training set to everything that is registered: model file, reference profile, metrics, gates.

A pure function of rows, spec, champion and seed; files, processes, Kafka and the registry are elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any

import msgspec
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
from driftloop.training import progress
from driftloop.training.artifacts import dump
from driftloop.training.candidates import Selection
from driftloop.training.choice import Choice, Plan, make_plan
from driftloop.training.dataset import TrainingSet
from driftloop.training.digest import model_digest
from driftloop.training.estimators import EstimatorError, columns_of, fit, predict
from driftloop.training.gap import GapReport, before_gap
from driftloop.training.gates import Candidate, Reference, Rival, run_gates
from driftloop.training.handover.brought import Brought
from driftloop.training.importance import permutation_importances
from driftloop.training.learning_on import LearnedOn, Start, starting_point
from driftloop.training.provenance import code_commit, machine, threads
from driftloop.training.search import SearchResult

__all__ = ["Champion", "Trained", "environment", "lineage_of", "train"]

_PACKAGES = ("driftloop", "scikit-learn", "skops", "numpy", "scipy", "pandas", "river")


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
    bound the event times of the rows that the model file was fitted on, the end exclusive. ``parameters``: those that a
    search found, with the spec's own (None: there was none). The other three say how rows, parameters and start were
    chosen, where the spec leaves a choice.
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
    parameters: dict[str, Any] | None = None
    choice: Choice | None = None
    search: SearchResult | None = None
    learned_on: LearnedOn | None = None
    gap: GapReport | None = None


def train(
    spec: ModelSpec,
    data: TrainingSet,
    champion: Champion | None,
    *,
    seed: int,
    changed_at_ms: int | None = None,
    brought: Brought | None = None,
) -> Trained:
    """Fit on the earlier rows, judge on the later ones, fit again on all if the spec says so.

    Of the earlier rows ``training.gap`` takes those away that the judged model would not know in service. Which of them
    are learned, and with which parameters, is settled on them alone (``training.candidates``
    and ``search``; ``changed_at_ms`` is the change that a detector has dated). A River model learns on from the
    champion, so only rows that the champion has not learned are split. The reference profile describes the rows that
    the judged model learned and the holdout. Its predictions are out of sample: those of the holdout by the model that
    the gates judge, those of each half of the earlier rows by a model fitted on the other half, or, row by row, before
    the row was learned. A model is more certain of the rows that it was fitted on than it will be of new ones. Raises
    :class:`EstimatorError` or :class:`~driftloop.training.dataset.SplitError` if the rows do not allow it. ``seed`` is
    that of the gates' resampling; the estimator's own is in the spec. ``brought``: a model that was fitted elsewhere on
    the earlier rows, and is judged in place of one that is fitted here.
    """
    start = None if spec.training.river is None else starting_point(spec, data, champion)
    whole, later = (data if start is None else start.new).split(spec.training.holdout)
    earlier, gap = before_gap(spec, whole, later)
    if gap is not None:
        progress.line(f"training.gap: {gap.left_out:,} of {gap.rows:,} rows before the holdout are not learned")
    plan = make_plan(spec, earlier, changed_at_ms, seed=seed) if brought is None else Plan(spec)
    chosen = plan.select(earlier)
    learned = earlier.rows(chosen.places)
    if brought is None:
        progress.phase(f"fitting on {len(learned):,} rows")
    if brought is not None:
        judged, fresh = brought.pipeline, brought.out_of_sample(spec, learned)
    elif start is None:
        judged = fit(plan.spec, learned.frame, learned.labels, chosen.weights)
        fresh = _crossed(plan.spec, learned, judged, chosen.weights)
    else:
        judged, fresh = start.learn(spec, learned)
        fresh = np.concatenate([predict(judged, spec, start.learned.frame), fresh])
        learned = start.learned.followed_by(learned)
    scores = predict(judged, spec, later.frame)
    released, everything, taken = judged, earlier, chosen
    if spec.training.refit_on_all and brought is None:
        everything = whole.followed_by(later)
        progress.phase(f"fitting again, the {len(later):,} later rows with the others")
        released, taken = _refitted(plan, start, everything)
    seen_ms = everything.predicted_at_ms[taken.places]
    digest = model_digest(released, spec)
    artifact = dump(released) if brought is None else brought.artifact
    candidate = Candidate(
        scores,
        predict(released, spec, later.frame),
        artifact,
        judged=lambda frame: predict(judged, spec, frame),
    )
    rival = None if champion is None else _rival(spec, champion, later)
    progress.phase(f"judging by {len(spec.gates)} gates on {len(later):,} later rows")
    reference = Reference(earlier.frame, earlier.labels)
    gates = run_gates(spec, candidate, rival, later.frame, later.labels, seed=seed, reference=reference)
    metrics = _metrics(spec, scores, later)
    progress.phase("making the reference profile")
    described, fresh = learned.followed_by(later), np.concatenate([fresh, scores])
    columns = columns_of(spec, described.frame, fresh)
    profile = ReferenceProfile.build(
        spec,
        columns,
        model_version="",
        metrics=_references(metrics),
        label_mean=float(np.mean(described.labels)) if spec.task != "multiclass" else 0.0,
        from_ms=int(described.predicted_at_ms[0]),
        to_ms=int(described.predicted_at_ms[-1]) + 1,
        importances=permutation_importances(judged, spec, later.frame, later.labels, seed=seed),
        estimators=fit_estimators(spec, columns_of(spec, described.frame), fresh, described.labels),
        losses=reference_losses(spec.task, scores, later.labels, spec.performance.decision_threshold),
    )
    return Trained(
        artifact=artifact,
        profile=with_reference_windows(profile, spec, columns, described.predicted_at_ms),
        metrics={
            name: value.value
            for name, value in metrics.items()
            if value.value is not None and name in reported_metrics(spec)
        },
        gates=gates,
        model_digest=digest,
        train_rows=len(chosen.places),
        holdout_rows=len(later),
        seen_from_ms=int(seen_ms[0]),
        seen_to_ms=int(seen_ms[-1]) + 1,
        parameters=None if plan.search is None else plan.spec.training.parameters,
        choice=None if plan.choice is None else _with_selection(plan.choice, taken, everything),
        search=plan.search,
        learned_on=None if start is None else start.report,
        gap=gap,
    )


def _refitted(plan: Plan, start: Start | None, data: TrainingSet) -> tuple[Pipeline, Selection]:
    """The model that goes live, fitted on the chosen rows of all, and which those are."""
    chosen = plan.select(data)
    rows = data.rows(chosen.places)
    if start is not None:
        return start.learn(plan.spec, rows)[0], chosen
    return fit(plan.spec, rows.frame, rows.labels, chosen.weights), chosen


def _with_selection(choice: Choice, taken: Selection, data: TrainingSet) -> Choice:
    return msgspec.structs.replace(choice, selected_rows=len(taken.places), selection_sha256=taken.digest(data))


def lineage_of(spec: ModelSpec, trained: Trained, dataset: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """What a version was made of, JSON-able. With ``judging_seed``, ``compared_with`` and the data set's file it is all
    that :mod:`driftloop.training.reproduction` needs."""
    return {
        "dataset": dict(dataset),
        "spec_digest": spec_digest(spec),
        "estimator": spec.training.estimator,
        "parameters": spec.training.parameters if trained.parameters is None else trained.parameters,
        "seed": spec.training.seed,
        "refit_on_all": spec.training.refit_on_all,
        "train_rows": trained.train_rows,
        "holdout_rows": trained.holdout_rows,
        "model_digest": trained.model_digest,
        "environment": environment(),
        "code_commit": code_commit(),
        # As text: the order of features is that of the columns, and objects are kept with sorted keys.
        "spec": msgspec.json.encode(spec).decode(),
        "training": msgspec.to_builtins(spec.training),
        **{
            name: msgspec.to_builtins(said)
            for name, said in (
                ("choice", trained.choice),
                ("search", trained.search),
                ("learned_on", trained.learned_on),
                ("gap", trained.gap),
            )
            if said is not None
        },
        **more,
    }


def environment() -> dict[str, str]:
    """Versions of what a fit depends on, and the machine's kind."""
    found = {"python": python_version(), **machine(), **threads()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def _crossed(
    spec: ModelSpec, earlier: TrainingSet, judged: Pipeline, weights: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Out-of-sample predictions of the earlier rows: each half in time by a model fitted on the other."""
    half = len(earlier) // 2
    first, second = slice(0, half), slice(half, None)
    parts = []
    for inside, outside in ((first, second), (second, first)):
        frame = earlier.frame.iloc[inside]
        try:
            model = fit(
                spec,
                earlier.frame.iloc[outside],
                earlier.labels[outside],
                None if weights is None else weights[outside],
            )
        except EstimatorError:
            # Half of the rows may hold one class only; in-sample predictions are better than none.
            model = judged
        parts.append(predict(model, spec, frame))
    return np.concatenate(parts)


def _rival(spec: ModelSpec, champion: Champion, later: TrainingSet) -> Rival:
    pipeline = champion.pipeline
    features = None if pipeline is None else tuple(str(name) for name in getattr(pipeline, "feature_names_in_", ()))
    try:
        scores = None if pipeline is None else predict(pipeline, spec, later.frame)
    except Exception as error:  # noqa: BLE001  (the spec's features may not be those that it was fitted with)
        progress.line(f"the champion cannot predict these rows, what it said live is compared: {error}")
        scores = None
    if pipeline is None or scores is None:
        known = (later.versions == champion.version) & np.isfinite(later.said.reshape(len(later), -1)).all(axis=1)
        return Rival(champion.version, later.said, known, known, features=features or None)
    known = np.ones(len(later), dtype=np.bool_)
    trained_to_ms = champion.trained_to_ms
    unseen = known if trained_to_ms is None else later.predicted_at_ms >= trained_to_ms
    return Rival(
        champion.version,
        scores,
        known,
        unseen,
        predict=lambda frame: predict(pipeline, spec, frame),
        features=features or None,
    )


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
