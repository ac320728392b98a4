"""All gates of a spec, one after the other: none is left out because another has failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import pandas as pd
from msgspec import structs
from numpy.typing import NDArray

from driftloop.events.decisions import GateResult
from driftloop.spec.gates import GateKind, GateSpec
from driftloop.spec.model import ModelSpec
from driftloop.training.gates.calibration import judge_calibration
from driftloop.training.gates.fairness import judge_group_gaps
from driftloop.training.gates.loadable import judge_loadable
from driftloop.training.gates.metric import judge_metric
from driftloop.training.gates.robustness import judge_robustness
from driftloop.training.gates.sanity import judge_sanity
from driftloop.training.gates.schema import judge_schema
from driftloop.training.gates.slices import judge_slices
from driftloop.training.gates.trial import Candidate, Reference, Rival, Trial

__all__ = ["first_failure", "run_gates"]

_GATES: Final[dict[GateKind, Callable[[Trial, GateSpec], GateResult]]] = {
    "sanity": judge_sanity,
    "loadable": judge_loadable,
    "schema": judge_schema,
    "metric": judge_metric,
    "slices": judge_slices,
    "fairness": judge_group_gaps,
    "robustness": judge_robustness,
    "calibration": judge_calibration,
}


def run_gates(
    spec: ModelSpec,
    candidate: Candidate,
    champion: Rival | None,
    frame: pd.DataFrame,
    labels: NDArray[Any],
    *,
    seed: int,
    reference: Reference | None = None,
) -> list[GateResult]:
    """Every gate of the spec, in its order, on the holdout (``frame`` of features, ``labels``, n rows each).

    ``reference``: the rows that the challenger learnt from, for the spread of features and labels; without, the
    holdout stands for them. ``seed`` decides all resampling and noise: the same input gives the same results.
    """
    trial = Trial(spec, candidate, champion, frame, labels, reference or Reference(frame, labels), seed)
    return [_judged(trial, gate) for gate in spec.gates]


def first_failure(results: Sequence[GateResult]) -> GateResult | None:
    """The first gate that was not passed."""
    return next((result for result in results if not result.passed), None)


def _judged(trial: Trial, gate: GateSpec) -> GateResult:
    try:
        return _with_left_out(trial, gate, _GATES[gate.gate](trial, gate))
    except Exception as error:  # noqa: BLE001 - a model may raise anything; it is not passed, and the other gates are still run
        return GateResult(
            gate=gate.gate,
            passed=False,
            value=None,
            bound=None,
            sentence=f"the gate could not be run: {type(error).__name__}: {error}",
            verdict="failed",
        )


def _with_left_out(trial: Trial, gate: GateSpec, result: GateResult) -> GateResult:
    """What lacks rows to compare on says how many the champion has learned: later on there are others."""
    compares = gate.gate in ("metric", "slices") or gate.margin is not None
    if result.verdict != "insufficient" or trial.champion is None or not compares:
        return result
    return structs.replace(result, left_out=trial.fair_rows(trial.champion).left_out or None)
