"""River models as estimators: they learn row by row, and learn on from where the champion stopped.

Encoding. River takes mappings, so no table of columns has to be known in advance: a number goes in under the feature's
name, scaled by its running mean and deviation (River's ``StandardScaler``, which learns with the model), a category as
``name=value: 1`` and a missing number as ``name#missing: 1``. A Hoeffding tree for classes takes numbers and categories
as they are, and nothing for what is missing.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.pipeline import Pipeline

from driftloop.spec.model import ModelSpec
from driftloop.spec.problems import did_you_mean
from driftloop.training.construction import class_at, constructed, misfit
from driftloop.training.errors import EstimatorError
from driftloop.training.river_state import MODELS, OPTIMIZERS, RiverStateError, dumps, loads

__all__ = ["RiverClassifier", "RiverEstimator", "RiverRegressor", "river_pipeline"]

_NOMINAL = frozenset({"river.tree.HoeffdingTreeClassifier"})


def river_pipeline(spec: ModelSpec) -> Pipeline:
    """The spec's River model, which has not learned anything yet, as the only step of a pipeline.

    Raises :class:`~driftloop.training.errors.EstimatorError` for a model or parameters that cannot be used.
    """
    river = spec.training.river
    assert river is not None, "the caller has looked"
    if river.model not in MODELS:
        raise EstimatorError(
            f"model {spec.model}: training.river.model {river.model!r} cannot be kept as a model file; "
            f"choose one of {', '.join(sorted(MODELS))}{did_you_mean(river.model, MODELS)}",
            ("training", "river", "model"),
        )
    if spec.task not in MODELS[river.model]:
        raise EstimatorError(
            f"model {spec.model}: {river.model} is for {' and '.join(MODELS[river.model])} models, "
            f"and the task is {spec.task}",
            ("training", "river", "model"),
        )
    kind = RiverRegressor if spec.task == "regression" else RiverClassifier
    try:
        made = kind(
            model=river.model,
            parameters=json.dumps(river.parameters, sort_keys=True),
            numeric=[name for name, feature in spec.features.items() if feature.kind == "numeric"],
            categorical=[name for name, feature in spec.features.items() if feature.kind == "categorical"],
            classes=0 if spec.task == "regression" else 2 if spec.task == "binary" else len(spec.classes),
        )
        made.start()
    except (ValueError, TypeError, NotImplementedError) as error:
        raise EstimatorError(
            f"model {spec.model}: training.river: {error}", ("training", "river", "parameters")
        ) from None
    return Pipeline([("model", made)])


class RiverEstimator(BaseEstimator):  # type: ignore[misc]
    """A River model behind scikit-learn's verbs.

    ``model``: import path; ``parameters``: JSON text; ``numeric`` and ``categorical``: names of the columns that it
    uses; ``classes``: how many there are, 0 for a regression.
    """

    def __init__(self, model: str, parameters: str, numeric: list[str], categorical: list[str], classes: int) -> None:
        self.model = model
        self.parameters = parameters
        self.numeric = numeric
        self.categorical = categorical
        self.classes = classes

    def start(self) -> None:
        """Begin with nothing learned. Raises ``ValueError`` for parameters that do not fit."""
        self.model_, self.scaler_ = self._fresh()
        self.rows_ = 0
        if self.classes:
            self.classes_ = np.arange(self.classes, dtype=np.int64)

    def fit(self, frame: pd.DataFrame, labels: NDArray[Any]) -> RiverEstimator:
        """Begin anew and learn the rows, in their order."""
        self.start()
        self.learn(frame, labels)
        return self

    def learn(
        self, frame: pd.DataFrame, labels: NDArray[Any], weights: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Learn n rows on, one by one in their order. Returns what the model said of each before it learned it: (n,)
        values, (n, k) probabilities."""
        if weights is not None:
            raise EstimatorError(f"{self.model} learns row by row and takes no sample_weight")
        said = []
        integral = bool(self.classes)
        for row, label in zip(self._rows(frame), np.asarray(labels).tolist(), strict=True):
            said.append(self._say(self._scaled(row)))
            if self.scaler_ is not None:
                self.scaler_.learn_one(row[0])
            self.model_.learn_one(self._scaled(row), int(label) if integral else float(label))
            self.rows_ += 1
        return np.array(said, dtype=np.float64).reshape(self._shape(len(frame)))

    def copy(self) -> RiverEstimator:
        """Another one that has learned the same."""
        made = type(self).__new__(type(self))
        made.__setstate__(self.__getstate__())
        return made

    def same_kind_as(self, other: object) -> bool:
        """Whether the other is the same model on the same columns, so that one can go on where the other stopped."""
        return type(other) is type(self) and self.get_params() == other.get_params()

    def _values(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        said = [self._say(self._scaled(row)) for row in self._rows(frame)]
        return np.array(said, dtype=np.float64).reshape(self._shape(len(frame)))

    def _shape(self, rows: int) -> tuple[int, ...]:
        return (rows, self.classes) if self.classes else (rows,)

    def _rows(self, frame: pd.DataFrame) -> Any:
        """Each row as (numbers, everything else)."""
        nominal = self.model in _NOMINAL
        numbers = [(name, f"{name}#missing", frame[name].tolist()) for name in self.numeric]
        texts = [(name, frame[name].tolist()) for name in self.categorical]
        for row in range(len(frame)):
            found: dict[str, float] = {}
            rest: dict[str, Any] = {}
            for name, missing, values in numbers:
                value = values[row]
                if math.isfinite(value):
                    found[name] = value
                elif not nominal:
                    rest[missing] = 1.0
            for name, values in texts:
                text = values[row]
                if text is not None and nominal:
                    rest[name] = text
                elif text is not None:
                    rest[f"{name}={text}"] = 1.0
            yield found, rest

    def _scaled(self, row: tuple[dict[str, float], dict[str, Any]]) -> dict[str, Any]:
        numbers, rest = row
        return {**(numbers if self.scaler_ is None else self.scaler_.transform_one(numbers)), **rest}

    def _say(self, row: dict[str, Any]) -> float | list[float]:
        if not self.classes:
            value = self.model_.predict_one(row)
            return 0.0 if value is None else float(value)
        shares = self.model_.predict_proba_one(row)
        found = [float(shares.get(index, 0.0)) for index in range(self.classes)]
        total = sum(found)
        if total == 0.0:
            return [1.0 / self.classes] * self.classes  # before the first row there is nothing to go by
        return [share / total for share in found]

    def _fresh(self) -> tuple[Any, Any]:
        from river.preprocessing import StandardScaler

        if self.model not in MODELS:
            raise ValueError(f"{self.model!r} is not among the River models that can be kept")
        cls = class_at(self.model, "river", "River")
        parameters = constructed(json.loads(self.parameters), _optimizer)
        try:
            model = cls(**parameters)
        except TypeError as error:
            raise ValueError(f"the parameters do not fit {self.model}: {misfit(cls, parameters, error)}") from None
        return model, None if self.model in _NOMINAL else StandardScaler()

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(self.get_params())
        if hasattr(self, "model_"):
            try:
                state["learned"] = dumps(self.model_)
                state["scaling"] = "" if self.scaler_ is None else dumps(self.scaler_)
            except RiverStateError as error:
                raise EstimatorError(f"{self.model} cannot be kept as a model file: {error}") from error
            state["rows"] = self.rows_
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        learned, scaling, rows = state.pop("learned", None), state.pop("scaling", ""), state.pop("rows", 0)
        self.__init__(**state)  # type: ignore[misc]
        if learned is None:
            return
        self.start()
        self.model_ = loads(learned, self.model_)
        if self.scaler_ is not None:
            self.scaler_ = loads(scaling, self.scaler_)
        self.rows_ = int(rows)


class RiverClassifier(ClassifierMixin, RiverEstimator):  # type: ignore[misc]
    """A River classifier; the labels are 0 to k - 1."""

    def predict_proba(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """(n, k) probabilities of the classes."""
        return self._values(frame)

    def predict(self, frame: pd.DataFrame) -> NDArray[np.int64]:
        """(n,) the likeliest class of each row."""
        return np.asarray(self._values(frame).argmax(axis=1), dtype=np.int64)


class RiverRegressor(RegressorMixin, RiverEstimator):  # type: ignore[misc]
    """A River regressor."""

    def predict(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """(n,) values."""
        return self._values(frame)


def _optimizer(path: str) -> type:
    if path not in OPTIMIZERS:
        raise ValueError(
            f"the parameter's class {path!r} is not allowed; it may be one of {', '.join(sorted(OPTIMIZERS))}"
        )
    return class_at(path, "river", "River")
