"""Which rows and parameters to train with: every candidate is trained, and one is chosen on later rows.

Three parts of the training set, each strictly later in event time than the one before: the rows that candidates select
from, the slice on which they are compared, the holdout of the gates. Choosing the best of several makes its value on
the slice look better than it is; the gates' holdout has no part in the choice, so their numbers stay honest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from driftloop.spec.metrics import direction_of
from driftloop.spec.model import ModelSpec
from driftloop.spec.training import CandidateSpec
from driftloop.training import progress
from driftloop.training.candidates import Selection, Unavailable, select
from driftloop.training.comparison import DEFAULT_METRIC, compare, metric_value
from driftloop.training.dataset import TrainingSet
from driftloop.training.errors import EstimatorError
from driftloop.training.estimators import fit, predict
from driftloop.training.gap import before_gap
from driftloop.training.search import SearchResult, search

__all__ = ["CandidateResult", "Choice", "Plan", "choose", "make_plan"]

Floats = NDArray[np.float64]


class CandidateResult(Struct, frozen=True, kw_only=True):
    """A candidate on the slice: its rows (training ones), the metric, and how much better the chosen one is, with a
    paired 95 % bootstrap interval. ``left_out``: why it was not compared."""

    name: str
    candidate: CandidateSpec
    rows: int = 0
    first_predicted_ms: int | None = None
    last_predicted_ms: int | None = None
    value: float | None = None
    behind: float | None = None
    behind_low: float | None = None
    behind_high: float | None = None
    left_out: str | None = None


class Choice(Struct, frozen=True, kw_only=True):
    """How a candidate was chosen. Times bound the slice; ``selection_sha256`` is over the ids and weights of the rows
    that the registered model was fitted on, and ``selected_rows`` their number."""

    metric: str
    slice_rows: int
    slice_from_ms: int
    slice_to_ms: int
    chosen: str
    candidates: list[CandidateResult]
    changed_at_ms: int | None = None
    selected_rows: int = 0
    selection_sha256: str = ""


@dataclass(frozen=True)
class Plan:
    """What to fit: a spec with the searched parameters, and the chosen candidate (None: every row, unweighted)."""

    spec: ModelSpec
    candidate: CandidateSpec | None = None
    changed_at_ms: int | None = None
    choice: Choice | None = None
    search: SearchResult | None = None

    def select(self, data: TrainingSet) -> Selection:
        """The rows of ``data`` that are learned."""
        if self.candidate is None:
            return Selection(np.arange(len(data), dtype=np.int64))
        try:
            return select(self.candidate, data, self.spec.task, self.changed_at_ms)
        except Unavailable as error:
            raise EstimatorError(f"model {self.spec.model}: {self.candidate.name}: {error}") from None


def make_plan(spec: ModelSpec, earlier: TrainingSet, changed_at_ms: int | None, *, seed: int) -> Plan:
    """Choose candidate and parameters on ``earlier``, the rows before the gates' holdout.

    The candidate is chosen with the spec's own parameters, the search then looks at the chosen rows. Raises
    :class:`~driftloop.training.errors.EstimatorError`, and :class:`~driftloop.training.dataset.SplitError` if there is
    no later slice.
    """
    plan = Plan(spec)
    if spec.training.candidates:
        candidate, choice = choose(spec, earlier, changed_at_ms, seed=seed)
        plan = Plan(spec, candidate, changed_at_ms, choice)
    if spec.training.search is None:
        return plan
    chosen = plan.select(earlier)
    progress.phase(f"searching parameters on {len(chosen.places):,} rows")
    found = search(spec, earlier.rows(chosen.places), chosen.weights)
    parameters = {**spec.training.parameters, **found.parameters}
    tuned = msgspec.structs.replace(spec, training=msgspec.structs.replace(spec.training, parameters=parameters))
    return Plan(tuned, plan.candidate, changed_at_ms, plan.choice, found)


def choose(
    spec: ModelSpec, earlier: TrainingSet, changed_at_ms: int | None, *, seed: int
) -> tuple[CandidateSpec, Choice]:
    """Train every candidate of the spec and compare them on the slice; of equals the one listed first is chosen.

    One that selects nothing, fewer rows than ``training.minimum_rows``, or rows of one class only is left out, and its
    result says why. ``seed`` is that of the intervals. Raises as :func:`make_plan` does.
    """
    pool, later = earlier.split(spec.training.choice.share)
    pool, _ = before_gap(spec, pool, later, "the slice of training.choice")
    metric = spec.training.choice.metric or DEFAULT_METRIC[spec.task]
    direction = direction_of(spec.task, metric) or 0
    results: list[CandidateResult] = []
    scores: list[Floats | None] = []
    for place, candidate in enumerate(spec.training.candidates, start=1):
        progress.phase(f"fitting candidate {place} of {len(spec.training.candidates)}: {candidate.name}")
        result, said = _one(spec, candidate, pool, later, metric, changed_at_ms)
        results.append(result)
        scores.append(said)
    values = [-math.inf if result.value is None else direction * result.value for result in results]
    best = int(np.argmax(values))
    winner = scores[best]
    if winner is None:
        why = "; ".join(f"{result.name}: {result.left_out}" for result in results)
        raise EstimatorError(f"model {spec.model}: none of training.candidates could be trained and compared: {why}")
    for place, said in enumerate(scores):
        if said is not None and place != best:
            results[place] = _behind(spec, metric, later, results[place], winner, said, seed)
    choice = Choice(
        metric=metric,
        slice_rows=len(later),
        slice_from_ms=int(later.predicted_at_ms[0]),
        slice_to_ms=int(later.predicted_at_ms[-1]) + 1,
        chosen=results[best].name,
        candidates=results,
        changed_at_ms=changed_at_ms,
    )
    return spec.training.candidates[best], choice


def _one(
    spec: ModelSpec,
    candidate: CandidateSpec,
    pool: TrainingSet,
    later: TrainingSet,
    metric: str,
    changed_at_ms: int | None,
) -> tuple[CandidateResult, Floats | None]:
    result = CandidateResult(name=candidate.name, candidate=candidate)
    try:
        chosen = select(candidate, pool, spec.task, changed_at_ms)
    except Unavailable as error:
        return msgspec.structs.replace(result, left_out=str(error)), None
    rows = pool.rows(chosen.places)
    result = msgspec.structs.replace(
        result,
        rows=len(rows),
        first_predicted_ms=int(rows.predicted_at_ms[0]),
        last_predicted_ms=int(rows.predicted_at_ms[-1]),
    )
    if len(rows) < spec.training.minimum_rows:
        why = f"{len(rows):,} rows before the slice, and training.minimum_rows is {spec.training.minimum_rows:,}"
        return msgspec.structs.replace(result, left_out=why), None
    if spec.task != "regression" and len(np.unique(rows.labels)) < 2:
        return msgspec.structs.replace(result, left_out="all of its labels are of one class"), None
    # A refusal of the estimator is not one of the rows: it ends the run and is not hidden behind other candidates.
    scores = predict(fit(spec, rows.frame, rows.labels, chosen.weights), spec, later.frame)
    if not np.isfinite(scores).all():
        return msgspec.structs.replace(result, left_out="its predictions are not finite numbers"), None
    value = metric_value(spec.task, metric, later.labels, scores, spec.performance.decision_threshold)
    if not math.isfinite(value):
        return msgspec.structs.replace(result, left_out=f"{metric} is undefined on the slice"), None
    return msgspec.structs.replace(result, value=value), scores


def _behind(
    spec: ModelSpec,
    metric: str,
    later: TrainingSet,
    result: CandidateResult,
    winner: Floats,
    said: Floats,
    seed: int,
) -> CandidateResult:
    found = compare(
        spec.task,
        metric,
        later.labels,
        winner,
        said,
        seed=seed,
        decision_threshold=spec.performance.decision_threshold,
    )
    return msgspec.structs.replace(
        result, behind=found.difference, behind_low=_finite(found.low), behind_high=_finite(found.high)
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
