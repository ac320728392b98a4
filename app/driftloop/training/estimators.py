"""Models named in a spec: build, fit, predict.

One path from features to numbers for training, gates, reference profiles and the production service: whoever has a
frame of features calls :func:`predict`. ``training.estimator`` names one of scikit-learn's own public classes, or, with
a colon, a function of the user's that is imported where models are trained; ``training.river`` one of a list of
River's.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from driftloop.profiles.columns import PREDICTION, Columns, prediction_column
from driftloop.spec.model import FeatureSpec, ModelSpec
from driftloop.spec.problems import KeyPath, key_text
from driftloop.training.callables import CallableError, fitted_by, is_callable_path
from driftloop.training.construction import class_at, constructed, misfit
from driftloop.training.errors import EstimatorError
from driftloop.training.river import river_pipeline

__all__ = [
    "EstimatorError",
    "build",
    "columns_of",
    "feature_frame",
    "fit",
    "predict",
    "sklearn_class",
    "weight_parameter",
]

#: Categories kept apart in one feature; the rarest beyond it share a code. Histogram gradient boosting takes 255 bins.
MAX_CATEGORIES = 250
_TREES = ("sklearn.ensemble.", "sklearn.tree.")
_CATEGORICAL = "categorical"
_NUMERIC = "numeric"
_MODEL = "model"
_ESTIMATOR: KeyPath = ("training", "estimator")
_PARAMETERS: KeyPath = ("training", "parameters")


def feature_frame(spec: ModelSpec, data: pd.DataFrame | Columns) -> pd.DataFrame:
    """The spec's features, in its order, in the types that the pipelines are fitted on.

    Numeric features become float64 with NaN for missing (infinite values count as missing: no estimator can use them),
    categorical and text ones objects that are ``str`` or None, written as in
    :class:`driftloop.profiles.columns.FeatureDecoder`, vector ones objects that are lists of floats or None. Models are
    fitted on the numeric and categorical ones; vectors and texts are only watched.
    Columns that the spec does not name are left out. Raises ``KeyError`` that names a feature which is not in ``data``.
    """
    absent = [name for name in spec.features if name not in data]
    if absent:
        raise KeyError(
            f"model {spec.model}: the rows have no column {absent[0]!r}; the spec's features are {list(spec.features)}"
        )
    rows = len(data) if isinstance(data, pd.DataFrame) else len(data[next(iter(spec.features))])
    index = data.index if isinstance(data, pd.DataFrame) else pd.RangeIndex(rows)
    columns: dict[str, Any] = {}
    for name, feature in spec.features.items():
        values = data[name]
        if feature.kind in ("categorical", "text"):
            columns[name] = pd.Series(_texts(values), index=index, dtype=object)
        elif feature.kind == "vector":
            columns[name] = pd.Series(_vectors(values), index=index, dtype=object)
        else:
            numbers = np.array(values, dtype=np.float64)
            numbers[np.isinf(numbers)] = np.nan
            columns[name] = pd.Series(numbers, index=index)
    return pd.DataFrame(columns, index=index)


def _vectors(values: Any) -> NDArray[np.object_]:
    """Lists and None, of a matrix with rows of NaN or of lists and None."""
    vectors = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        numbers = None if value is None or np.ndim(value) != 1 else np.asarray(value, dtype=np.float64)
        vectors[row] = None if numbers is None or np.isnan(numbers).all() else numbers.tolist()
    return vectors


def _texts(values: Any) -> NDArray[np.object_]:
    """Texts and None. Each distinct value is converted once: long columns hold few categories."""
    known: dict[Any, str | None] = {}
    texts = np.empty(len(values), dtype=object)
    for row, value in enumerate(values.tolist() if hasattr(values, "tolist") else values):
        # NaN is unequal to itself, so it would never be found again: it must not become a key.
        if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
            texts[row] = None
            continue
        # True == 1 and hashes alike, so the type belongs to the key.
        key = (type(value), value)
        if key not in known:
            known[key] = _text(value)
        texts[row] = known[key]
    return texts


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def build(spec: ModelSpec, *, empty: Collection[str] = ()) -> Pipeline:
    """The spec's estimator behind the encoding that suits it, not yet fitted.

    Trees get ordinal codes (histogram gradient boosting knows which columns are categories) and missing values as they
    are where the estimator takes them; all others get one-hot categories and numbers that are imputed by the median,
    with an indicator, and scaled. Unseen categories never fail: they count as missing or as none of the known ones.
    Features in ``empty`` are left out (a column without one value cannot be binned). ``random_state`` is the spec's
    seed unless the parameters say otherwise. Raises :class:`EstimatorError`.
    """
    estimator = _estimator(spec)
    names = {
        kind: [name for name, f in spec.features.items() if f.kind == kind and name not in empty]
        for kind in (_CATEGORICAL, _NUMERIC)
    }
    if not names[_CATEGORICAL] and not names[_NUMERIC]:
        if empty:
            why = "no feature has a single value, so there is nothing to learn from"
        else:
            why = "no feature is numeric or categorical, and models are not trained on vectors and texts"
        raise EstimatorError(f"model {spec.model}: {why}", ("features",))
    path = str(spec.training.estimator)
    parts: list[tuple[str, Any, list[str]]]
    steps: list[tuple[str, Any]]
    if path.startswith(_TREES):
        encoder = OrdinalEncoder(
            handle_unknown="use_encoded_value",
            unknown_value=np.nan,
            encoded_missing_value=np.nan,
            max_categories=MAX_CATEGORIES,
        )
        parts = [(_CATEGORICAL, encoder, names[_CATEGORICAL]), (_NUMERIC, "passthrough", names[_NUMERIC])]
        steps = [("prepare", _prepare(parts))]
        if "categorical_features" in estimator.get_params() and "categorical_features" not in spec.training.parameters:
            estimator.set_params(categorical_features=list(range(len(names[_CATEGORICAL]))) or None)
        if not get_tags(estimator).input_tags.allow_nan:
            steps.append(("impute", SimpleImputer(strategy="median", keep_empty_features=True)))
    else:
        one_hot = OneHotEncoder(
            handle_unknown="infrequent_if_exist", sparse_output=False, max_categories=MAX_CATEGORIES
        )
        impute = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
        numbers = Pipeline([("impute", impute), ("scale", StandardScaler())])
        parts = [(_CATEGORICAL, one_hot, names[_CATEGORICAL]), (_NUMERIC, numbers, names[_NUMERIC])]
        steps = [("prepare", _prepare(parts))]
    return Pipeline([*steps, (_MODEL, estimator)])


def _prepare(parts: list[tuple[str, Any, list[str]]]) -> ColumnTransformer:
    return ColumnTransformer([part for part in parts if part[2]])


def _estimator(spec: ModelSpec) -> Any:
    """The bare estimator with the spec's parameters."""
    path = spec.training.estimator
    if path is None:
        raise EstimatorError(
            f"model {spec.model}: the spec names no training.estimator, so nothing can be trained; "
            "name one, such as sklearn.ensemble.HistGradientBoostingClassifier",
            _ESTIMATOR,
        )
    found = sklearn_class(spec, path)
    parameters = spec.training.parameters
    try:
        estimator = found(**constructed(parameters, lambda nested: sklearn_class(spec, nested, _PARAMETERS)))
    except EstimatorError:
        raise
    except (TypeError, ValueError) as error:
        said = misfit(found, parameters, error) if isinstance(error, TypeError) else error
        raise EstimatorError(
            f"model {spec.model}: training.parameters do not fit {path}: {said}", _PARAMETERS
        ) from None
    if spec.task == "ranking":
        raise EstimatorError(f"model {spec.model}: ranking models are watched, but cannot be trained here")
    if spec.task == "regression":
        if not is_regressor(estimator):
            raise EstimatorError(
                f"model {spec.model}: the task is regression, but {path} is not a regressor", _ESTIMATOR
            )
    elif not is_classifier(estimator):
        raise EstimatorError(f"model {spec.model}: the task is {spec.task}, but {path} is not a classifier", _ESTIMATOR)
    elif not hasattr(estimator, "predict_proba"):
        raise EstimatorError(
            f"model {spec.model}: {path} gives no probabilities (predict_proba) with these parameters; "
            "choose one that does",
            _ESTIMATOR,
        )
    if "random_state" in estimator.get_params() and "random_state" not in spec.training.parameters:
        estimator.set_params(random_state=spec.training.seed)
    nested = {
        name for name, value in estimator.get_params().items() if name.endswith("__random_state") and value is None
    }
    return estimator.set_params(**dict.fromkeys(sorted(nested), spec.training.seed))


def sklearn_class(spec: ModelSpec, path: str, key: KeyPath = _ESTIMATOR) -> type:
    """scikit-learn's public estimator class that the spec's ``key`` names. Raises :class:`EstimatorError`."""
    try:
        found = class_at(path, "sklearn", "scikit-learn")
    except ValueError as error:
        raise EstimatorError(f"model {spec.model}: {key_text(key)} {error}", key) from None
    if not issubclass(found, BaseEstimator):
        raise EstimatorError(f"model {spec.model}: {key_text(key)} {path!r} is not an estimator class", key)
    return found


def fit(
    spec: ModelSpec, frame: pd.DataFrame, labels: NDArray[Any], weights: NDArray[np.float64] | None = None
) -> Pipeline:
    """A pipeline fitted on the rows of ``frame`` (n rows) and ``labels`` (n,), each with its weight if there are some.

    Labels are 0 or 1 (binary), the index in ``spec.classes`` (multiclass), or float (regression). The same rows, in the
    same order, with the same spec give the same model. Raises :class:`EstimatorError` if a classifier would see one
    class only, if labels are not finite, if scikit-learn refuses the parameters or the rows, or if there are weights
    and the estimator takes none. ``training.river`` and ``training.estimator: module:function`` are fitted here too.
    """
    features = feature_frame(spec, frame)
    targets = np.asarray(labels, dtype=np.float64 if spec.task == "regression" else np.int64)
    if len(features) != len(targets):
        raise EstimatorError(f"model {spec.model}: {len(features)} rows of features, but {len(targets)} labels")
    if len(targets) == 0:
        raise EstimatorError(f"model {spec.model}: there is no row to train on")
    if spec.task == "regression":
        if not np.isfinite(targets).all():
            infinite = int((~np.isfinite(targets)).sum())
            raise EstimatorError(f"model {spec.model}: {infinite} of {len(targets)} labels are not finite numbers")
    elif len(np.unique(targets)) < 2:
        raise EstimatorError(f"model {spec.model}: all {len(targets)} labels are of one class; a classifier needs two")
    if spec.training.river is not None:
        pipeline = river_pipeline(spec)
        pipeline[-1].learn(features, targets, weights)
        return pipeline
    if is_callable_path(spec.training.estimator):
        try:
            return fitted_by(spec, features, targets, weights)
        except CallableError as error:
            raise EstimatorError(f"model {spec.model}: {error}") from error
    empty = {name for name in features.columns if not features[name].notna().any()}
    pipeline = build(spec, empty=empty)
    more = {} if weights is None else {weight_parameter(spec, pipeline): weights}
    try:
        pipeline.fit(features, targets, **more)
    except (ValueError, TypeError) as error:
        raise EstimatorError(
            f"model {spec.model}: {spec.training.estimator} could not be fitted on {len(targets)} rows: {error}"
        ) from error
    return pipeline


def weight_parameter(spec: ModelSpec, pipeline: Pipeline) -> str:
    """The name under which weights reach the estimator, through pipelines in pipelines. Raises
    :class:`EstimatorError` if it takes none."""
    name, estimator = "", pipeline
    while isinstance(estimator, Pipeline):
        step, estimator = estimator.steps[-1]
        name += f"{step}__"
    if not has_fit_parameter(estimator, "sample_weight"):
        path = f"{type(estimator).__module__}.{type(estimator).__qualname__}"
        raise EstimatorError(
            f"model {spec.model}: {path} takes no sample_weight, so it cannot be trained on a candidate with weights; "
            "leave 'decayed' out of training.candidates, or choose an estimator that takes weights"
        )
    return f"{name}sample_weight"


def predict(pipeline: Pipeline, spec: ModelSpec, frame: pd.DataFrame | Columns) -> NDArray[np.float64]:
    """What the model says about each row, as the ``prediction`` of an event holds it.

    binary: the probability of class 1, (n,) in [0, 1]; regression: the value, (n,); multiclass: probabilities in the
    order of ``spec.classes``, (n, k), 0 for a class that training never saw. Rows are independent of each other.
    """
    features = feature_frame(spec, frame)
    if spec.task == "regression":
        if len(features) == 0:
            return np.empty(0, dtype=np.float64)
        return np.asarray(pipeline.predict(features), dtype=np.float64).reshape(len(features))
    count = 2 if spec.task == "binary" else len(spec.classes)
    probabilities = np.zeros((len(features), count), dtype=np.float64)
    if len(features):
        probabilities[:, np.asarray(pipeline.classes_, dtype=np.int64)] = pipeline.predict_proba(features)
    return probabilities[:, 1].copy() if spec.task == "binary" else probabilities


def _column(values: pd.Series[Any], feature: FeatureSpec) -> NDArray[np.float64] | list[str | None]:
    if feature.kind == "vector":
        missing = [math.nan] * (feature.length or 0)
        rows = [missing if value is None else value for value in values]
        return np.array(rows, dtype=np.float64).reshape(len(rows), feature.length or 0)
    return values.to_numpy(np.float64) if feature.kind == "numeric" else values.tolist()


def columns_of(spec: ModelSpec, frame: pd.DataFrame, predictions: NDArray[np.float64] | None = None) -> Columns:
    """The frame as :data:`~driftloop.profiles.columns.Columns`, with the model's output where it is given."""
    features = feature_frame(spec, frame)
    columns: dict[str, NDArray[np.float64] | list[str | None]] = {
        name: _column(features[name], feature) for name, feature in spec.features.items()
    }
    if predictions is not None:
        values: list[Any] = (
            [tuple(row) for row in predictions.tolist()] if predictions.ndim == 2 else predictions.tolist()
        )
        columns[PREDICTION] = prediction_column(spec, values)
    return columns
