"""The model file: does it load, and predict the same?"""

from __future__ import annotations

import numpy as np

from driftloop.events.decisions import GateResult
from driftloop.spec.gates import GateSpec
from driftloop.training import artifacts
from driftloop.training.estimators import predict
from driftloop.training.gates.trial import Trial

__all__ = ["judge_loadable"]

#: Rows that are predicted with the loaded file.
_ROWS = 2000


def judge_loadable(trial: Trial, gate: GateSpec) -> GateResult:
    """The bytes that will be registered load under the trusted types and predict the same, to the last bit."""
    some = trial.frame.iloc[:_ROWS]

    def result(passed: bool, value: float | None, sentence: str) -> GateResult:
        return GateResult(
            gate="loadable",
            passed=passed,
            value=value,
            bound=0.0,
            sentence=sentence,
            verdict="passed" if passed else "failed",
        )

    try:
        again = predict(artifacts.load(trial.candidate.artifact), trial.spec, some)
    except (artifacts.ArtifactError, ValueError, TypeError, AttributeError) as error:
        return result(False, None, f"the model file does not work: {error}")
    expected = trial.candidate.released[: len(some)]
    if np.array_equal(again, expected, equal_nan=True):
        return result(True, 0.0, "the model file loads and predicts the same")
    worst = float(np.nanmax(np.abs(again - expected)))
    return result(False, worst, f"the loaded model file predicts differently, by up to {worst:.3g}")
