"""What a challenger must pass before it is promoted: each gate a number, a bound and a sentence."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from driftloop.events.decisions import GateResult
from driftloop.spec.basics import Task
from driftloop.spec.gates import GateSpec
from driftloop.spec.model import ModelSpec
from driftloop.training import artifacts
from driftloop.training.comparison import Comparison, compare
from driftloop.training.estimators import predict

__all__ = ["Candidate", "Rival", "first_failure", "run_gates", "seed_from"]

_DEFAULT_METRIC: dict[Task, str] = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "mae"}
#: Rows that the loadable gate predicts with the loaded file.
_LOADED_ROWS = 2000
#: Sums of class probabilities may differ from 1 by this.
_SUM_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Candidate:
    """The challenger on the holdout's rows.

    ``scores`` are predictions of a model that has not seen these rows in training; ``released`` are those of the model
    in ``artifact``, which may have been fitted again on all rows.
    """

    scores: NDArray[np.float64]
    released: NDArray[np.float64]
    artifact: bytes


@dataclass(frozen=True)
class Rival:
    """The champion on the holdout's rows.

    ``known`` (n,) marks the rows that it has scores for, ``unseen`` (n,) those of them that are later than its own
    training data.
    """

    version: str
    scores: NDArray[np.float64]
    known: NDArray[np.bool_]
    unseen: NDArray[np.bool_]


def seed_from(text: str) -> int:
    """A seed for the bootstrap that depends on the text alone (a command id)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def run_gates(
    spec: ModelSpec,
    candidate: Candidate,
    champion: Rival | None,
    frame: pd.DataFrame,
    labels: NDArray[Any],
    *,
    seed: int,
) -> list[GateResult]:
    """Every gate of the spec, in its order, on the holdout (``frame`` of features, ``labels``, n rows each)."""
    results = []
    for gate in spec.gates:
        if gate.gate == "sanity":
            results.append(_sanity(spec, candidate))
        elif gate.gate == "loadable":
            results.append(_loadable(spec, candidate, frame))
        else:
            results.append(_metric(spec, gate, candidate, champion, labels, seed))
    return results


def first_failure(results: Sequence[GateResult]) -> GateResult | None:
    """The first gate that was not passed."""
    return next((result for result in results if not result.passed), None)


def _sanity(spec: ModelSpec, candidate: Candidate) -> GateResult:
    """Finite, in range, not constant: the released model's predictions and those it was judged by."""
    both = np.concatenate([candidate.scores, candidate.released])
    rows = len(candidate.released)
    distinct = len(np.unique(candidate.released, axis=0))

    def result(passed: bool, sentence: str) -> GateResult:
        return GateResult(gate="sanity", passed=passed, value=float(distinct), bound=2.0, sentence=sentence)

    if rows == 0:
        return result(False, "there are no holdout rows to predict")
    broken = int((~np.isfinite(both)).sum())
    if broken:
        return result(False, f"{broken} predictions are not finite numbers")
    if spec.task != "regression" and (both.min() < 0.0 or both.max() > 1.0):
        return result(False, f"predictions reach from {both.min():.4g} to {both.max():.4g}, outside of [0, 1]")
    if spec.task == "multiclass" and np.abs(both.sum(axis=1) - 1.0).max() > _SUM_TOLERANCE:
        return result(False, "the probabilities of some rows do not sum to 1")
    if distinct < 2:
        return result(False, f"all {rows:,} predictions are the same: the model has learnt nothing")
    return result(True, f"{rows:,} predictions, all finite and in range, {distinct:,} of them distinct")


def _loadable(spec: ModelSpec, candidate: Candidate, frame: pd.DataFrame) -> GateResult:
    """The bytes that will be registered load under the trusted types and predict the same, to the last bit."""
    some = frame.iloc[:_LOADED_ROWS]

    def result(passed: bool, value: float | None, sentence: str) -> GateResult:
        return GateResult(gate="loadable", passed=passed, value=value, bound=0.0, sentence=sentence)

    try:
        again = predict(artifacts.load(candidate.artifact), spec, some)
    except (artifacts.ArtifactError, ValueError, TypeError, AttributeError) as error:
        return result(False, None, f"the model file does not work: {error}")
    expected = candidate.released[: len(some)]
    if np.array_equal(again, expected, equal_nan=True):
        return result(True, 0.0, "the model file loads and predicts the same")
    worst = float(np.nanmax(np.abs(again - expected)))
    return result(False, worst, f"the loaded model file predicts differently, by up to {worst:.3g}")


def _metric(
    spec: ModelSpec, gate: GateSpec, candidate: Candidate, champion: Rival | None, labels: NDArray[Any], seed: int
) -> GateResult:
    metric = gate.metric or _DEFAULT_METRIC[spec.task]
    name = f"metric:{metric}"
    bound = -gate.margin if gate.mode == "non_inferiority" else gate.margin
    if champion is None:
        return GateResult(gate=name, passed=True, value=None, bound=bound, sentence="no champion to compare with")
    # Rows that the champion was trained on would flatter it; they are used only if too few others are left.
    fair = champion.unseen if int(champion.unseen.sum()) >= spec.minimum_rows else champion.known
    seen = int((fair & ~champion.unseen).sum())
    result = compare(
        spec.task,
        metric,
        labels[fair],
        candidate.scores[fair],
        champion.scores[fair],
        seed=seed,
        confidence=gate.confidence,
        decision_threshold=spec.performance.decision_threshold,
    )
    decisive = result.difference if gate.mode == "better" else result.low
    passed = math.isfinite(decisive) and decisive > bound
    return GateResult(
        gate=name,
        passed=passed,
        value=_finite(result.difference),
        bound=bound,
        low=_finite(result.low),
        high=_finite(result.high),
        sentence=_sentence(gate, result, champion.version, bound, passed, seen),
    )


def _sentence(gate: GateSpec, result: Comparison, version: str, bound: float, passed: bool, seen: int) -> str:
    if not math.isfinite(result.difference):
        return (
            f"{result.metric} is undefined on the {result.rows:,} holdout rows that champion {version} has scores for"
        )
    what = "the difference" if gate.mode == "better" else "the interval's lower end"
    note = f"; {seen:,} of these rows were in the champion's training data, too few are later" if seen else ""
    return (
        f"{result.metric} on {result.rows:,} later rows: challenger {result.challenger:.4f}, champion {version} "
        f"{result.champion:.4f}; better by {result.difference:+.4f} "
        f"[{result.low:+.4f}, {result.high:+.4f}] at {gate.confidence:.0%}; "
        f"{what} {'is' if passed else 'is not'} above {bound:+.4f} ({gate.mode.replace('_', '-')}){note}"
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
