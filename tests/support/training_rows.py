"""Rows for the tests of training: a numeric and a categorical feature that matter, with missing values."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from driftloop.events.messages import Labeled
from driftloop.spec.gates import GateSpec
from driftloop.spec.model import FeatureSpec, ModelSpec
from driftloop.spec.training import TrainingSpec

DAY_MS = 86_400_000
LINEAR = {"binary": "LogisticRegression", "multiclass": "LogisticRegression", "regression": "Ridge"}


def make_spec(task: str = "binary", estimator: str | None = None, **more: Any) -> ModelSpec:
    training = more.pop("training", {})
    if estimator is None:
        estimator = f"sklearn.linear_model.{LINEAR[task]}"
    return ModelSpec(
        model=more.pop("model", "m"),
        task=task,  # type: ignore[arg-type]
        features={
            "x": FeatureSpec(kind="numeric"),
            "colour": FeatureSpec(kind="categorical"),
            "noise": FeatureSpec(kind="numeric"),
        },
        classes=["low", "middle", "high"] if task == "multiclass" else [],
        training=TrainingSpec(estimator=estimator, **{"minimum_rows": 50, **training}),
        gates=more.pop(
            "gates", [GateSpec(gate="sanity"), GateSpec(gate="loadable"), GateSpec(gate="metric", margin=0.05)]
        ),
        minimum_rows=more.pop("minimum_rows", 30),
        **more,
    )


def make_rows(
    task: str = "binary", rows: int = 400, seed: int = 0, sign: float = 1.0
) -> tuple[pd.DataFrame, NDArray[Any], NDArray[np.int64]]:
    """Frame, labels and times (ten rows an hour from time 0). ``sign`` -1 turns the relation round: concept drift."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    colour = rng.choice(["red", "green", "blue"], rows).astype(object)
    signal = sign * (2.0 * x + np.where(colour == "red", 1.5, 0.0)) + rng.normal(size=rows)
    x[rng.random(rows) < 0.05] = np.nan
    colour[rng.random(rows) < 0.05] = None
    frame = pd.DataFrame({"x": x, "colour": pd.Series(colour, dtype=object), "noise": rng.normal(size=rows)})
    labels: NDArray[Any]
    if task == "regression":
        labels = signal
    elif task == "binary":
        labels = (signal > 0.5).astype(np.int64)
    else:
        labels = np.digitize(signal, [-1.0, 1.5])
    return frame, labels, np.arange(rows, dtype=np.int64) * (DAY_MS // 240)


def make_labeled(
    spec: ModelSpec,
    frame: pd.DataFrame,
    labels: NDArray[Any],
    times: NDArray[np.int64],
    *,
    version: str = "v1",
    prefix: str = "p",
    said: float = 0.5,
) -> list[Labeled]:
    """The rows as they are in the topic."""
    rows = []
    for index, (values, label, at) in enumerate(
        zip(frame.to_dict("records"), labels.tolist(), times.tolist(), strict=True)
    ):
        known = {name: value for name, value in values.items() if value is not None and value == value}
        prediction: Any = dict.fromkeys(spec.classes, 1 / 3) if spec.task == "multiclass" else said
        truth = spec.classes[label] if spec.task == "multiclass" else label
        rows.append(
            Labeled(
                prediction_id=f"{prefix}{index}",
                model_id=spec.model,
                model_version=version,
                predicted_at_ms=at,
                labeled_at_ms=at + 3_600_000,
                features=msgspec.Raw(msgspec.json.encode(known)),
                prediction=msgspec.Raw(msgspec.json.encode(prediction)),
                label=msgspec.Raw(msgspec.json.encode(truth)),
                revision=0,
                late=False,
                source_partition=0,
                prediction_offset=index,
                label_offset=index,
            )
        )
    return rows
