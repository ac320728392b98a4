"""Trials for the tests of gates: a holdout with groups, and models that are plain functions of its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from driftloop.events.decisions import GateResult
from driftloop.spec.gates import GateSpec
from driftloop.spec.model import ModelSpec
from driftloop.training.gates import Candidate, Reference, Rival, run_gates
from support.training_rows import make_spec

Floats = NDArray[np.float64]
Model = Callable[[pd.DataFrame], Floats]

COLOURS = ("red", "green", "blue", "grey")


def sigmoid(values: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-values)))


def good(frame: pd.DataFrame) -> Floats:
    """The probability that :func:`holdout` draws its labels with; missing values count as 0."""
    return sigmoid(1.5 * np.nan_to_num(np.asarray(frame["x"], np.float64)))


def holdout(rows: int, seed: int, colours: Sequence[str] = COLOURS) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Features as those of ``make_spec``, and labels whose probability is :func:`good`."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=rows),
            "colour": pd.Series(rng.choice(list(colours), rows).astype(object), dtype=object),
            "noise": rng.normal(size=rows),
        }
    )
    return frame, (rng.random(rows) < good(frame)).astype(np.int64)


def judge(
    gate: GateSpec,
    frame: pd.DataFrame,
    labels: NDArray[Any],
    challenger: Model | Floats,
    champion: Model | Floats | None = None,
    *,
    spec: ModelSpec | None = None,
    seed: int = 0,
    reference: Reference | None = None,
    features: tuple[str, ...] | None = None,
) -> GateResult:
    """One gate's result; models are functions of the rows, or their scores."""
    spec = make_spec(gates=[gate]) if spec is None else spec
    every = np.ones(len(labels), np.bool_)

    def scores(model: Model | Floats) -> tuple[Floats, Model | None]:
        return (model(frame), model) if callable(model) else (model, None)

    mine, predict = scores(challenger)
    rival = None
    if champion is not None:
        theirs, predict_theirs = scores(champion)
        rival = Rival("v1", theirs, every, every, predict=predict_theirs, features=features)  # type: ignore[arg-type]
    candidate = Candidate(mine, mine, b"", judged=predict, served=predict)  # type: ignore[arg-type]
    spec = ModelSpec(**{name: getattr(spec, name) for name in spec.__struct_fields__ if name != "gates"}, gates=[gate])
    return run_gates(spec, candidate, rival, frame, labels, seed=seed, reference=reference)[0]
