"""What is wrong with a spec's training that can be told before there are rows.

The estimator is made as a training makes it, with its parameters, and scikit-learn's own checks of those are run, which
a fit begins with. Nothing is fitted: whether parameters suit the rows (components of a PCA, neighbours) only rows tell.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from driftloop.spec.model import ModelSpec
from driftloop.spec.problems import KeyPath, did_you_mean, key_text
from driftloop.spec.training import SearchSpec
from driftloop.training.callables import CallableError, ModuleMissing, check_function, is_callable_path
from driftloop.training.construction import parameter_names
from driftloop.training.errors import EstimatorError
from driftloop.training.estimators import build, feature_frame, sklearn_class, weight_parameter
from driftloop.training.river import river_pipeline
from driftloop.training.spec_check import BuildProblem

__all__ = ["build_problems"]

_ESTIMATOR: KeyPath = ("training", "estimator")
_PARAMETERS: KeyPath = ("training", "parameters")
_SEARCHED: KeyPath = ("training", "search", "parameters")
#: How scikit-learn begins its complaint about a parameter.
_NAMED = re.compile(r"The '(\w+)' parameter of ")

Found = Iterator[BuildProblem]


def build_problems(spec: ModelSpec, *, imports: bool = True) -> Found:
    """Why trainings of this spec will fail (or, not ``fatal``, what they will do without). ``imports``: a function of
    the user's is imported, and not left out. A training that is handed over is another's matter."""
    training = spec.training
    if spec.task == "ranking" or training.handover is not None:
        return
    if training.river is not None:
        yield from _river(spec)
    elif is_callable_path(training.estimator):
        if imports:
            yield from _function(str(training.estimator))
    elif training.estimator is not None:
        yield from _estimator(spec)


def _function(path: str) -> Found:
    try:
        check_function(path)
    except CallableError as error:
        more = "; on a machine that trains nothing, leave this out with --no-trainer"
        text = _without(str(error), _ESTIMATOR) + (more if isinstance(error, ModuleMissing) else "")
        yield BuildProblem(key=_ESTIMATOR, text=text)


def _river(spec: ModelSpec) -> Found:
    if not any(feature.kind in ("numeric", "categorical") for feature in spec.features.values()):
        text = "no feature is numeric or categorical, and models are not trained on vectors and texts"
        yield BuildProblem(key=("features",), text=text)
        return
    try:
        model: Any = river_pipeline(spec)[-1]
    except EstimatorError as error:
        yield _told(spec, error)
        return
    # River checks little when a model is made, and needs no more than a row to say the rest.
    rows = max(4, len(spec.classes))
    values: dict[str, list[Any]] = {
        "numeric": [0.0, 1.0, math.nan, 2.0],
        "categorical": ["a", "b", None, "a"],
        "text": ["a", "b", None, "a"],
        "vector": [None, None, None, None],
    }
    cycled = np.arange(rows) % 4
    data = {name: [values[feature.kind][place] for place in cycled] for name, feature in spec.features.items()}
    frame = feature_frame(spec, {name: np.array(column, dtype=object) for name, column in data.items()})
    labels = np.arange(rows, dtype=np.float64) if spec.task == "regression" else np.arange(rows) % model.classes
    try:
        model.learn(frame, labels)
        model.__getstate__()
    except Exception as error:  # noqa: BLE001  (River raises whatever a wrong parameter leads to)
        text = f"{spec.training.river.model} cannot learn a row with these parameters: {_words(error)}"  # type: ignore[union-attr]
        yield BuildProblem(key=("training", "river", "parameters"), text=text)


def _estimator(spec: ModelSpec) -> Found:
    path = str(spec.training.estimator)
    try:
        found = sklearn_class(spec, path)
    except EstimatorError as error:
        yield _told(spec, error)
        return
    names, search = parameter_names(found), spec.training.search
    searched = {} if search is None else _first_values(search)
    # What the class cannot be made without may be left to the search.
    filled = _with(spec, {name: searched[name] for name in _needed(found) & set(searched)}, over=False)
    problems = list(_of(filled))
    # The search replaces its own parameters, except where candidates are compared without them.
    replaced = set() if spec.training.candidates else set(searched)
    told = [one for one in problems if not (one.key[:2] == _PARAMETERS and set(one.key[2:]) & replaced)]
    yield from told
    if search is None:
        return
    for name in search.parameters:
        if names is not None and name not in names:
            nested = "; parameters of an object inside cannot be searched" if "__" in name else ""
            hint = did_you_mean(name, names) or nested or f"; it has {', '.join(names)}"
            yield BuildProblem(key=(*_SEARCHED, name), text=f"{path} has no parameter {name!r}{hint}")
        elif not told:
            yield from _values(filled, name, search)


def _values(spec: ModelSpec, name: str, search: SearchSpec) -> Found:
    """Values of one searched parameter that the estimator refuses. A training counts such a setting as failed and goes
    on with the others, so one is fatal only if no other is left."""
    values = search.parameters[name]
    key: KeyPath = (*_SEARCHED, name)
    if isinstance(values, dict):
        given = [((*key, end), _number(values, end)) for end in ("low", "high")]
    else:
        given = [((*key, index), value) for index, value in enumerate(values)]
    about = (_PARAMETERS, (*_PARAMETERS, name), _ESTIMATOR)
    refused = []
    for place, value in given:
        found = [one for one in _of(_with(spec, {name: value})) if one.key in about]
        if found:
            refused.append((place, found[0].text))
    if len(refused) == len(given):
        yield BuildProblem(key=key, text=f"no value can be used: {refused[0][1]}")
        return
    for place, text in refused:
        yield BuildProblem(key=place, text=f"a setting with this value will fail: {text}", fatal=False)


def _of(spec: ModelSpec) -> Found:
    """Problems of the estimator with the parameters that the spec has."""
    try:
        pipeline = build(spec)
        parts = list(_parts(pipeline[-1]))
    except EstimatorError as error:
        yield _told(spec, error)
        return
    except Exception as error:  # noqa: BLE001  (scikit-learn looks into what it is given, such as the steps of a pipeline)
        yield BuildProblem(key=_PARAMETERS, text=f"{spec.training.estimator} cannot be used: {_words(error)}")
        return
    for depth, part in parts:
        try:
            part._validate_params()
        except ValueError as error:
            named = _NAMED.match(str(error))
            own = named is not None and not depth and named[1] in spec.training.parameters
            key: KeyPath = (*_PARAMETERS, named[1]) if own and named else _PARAMETERS
            yield BuildProblem(key=key, text=str(error))
    for index, candidate in enumerate(spec.training.candidates):
        if candidate.candidate == "decayed":
            try:
                weight_parameter(spec, pipeline)
            except EstimatorError as error:
                yield _told(spec, error, ("training", "candidates", index))


def _parts(estimator: Any) -> Iterator[tuple[int, Any]]:
    """The estimator (depth 0) and those among its parameters (1) that have scikit-learn's checks of parameters."""
    nested = [value for _, value in sorted(estimator.get_params(deep=True).items(), key=lambda item: item[0])]
    seen: set[int] = set()
    for place, part in enumerate([estimator, *nested]):
        if hasattr(part, "_validate_params") and not isinstance(part, type) and id(part) not in seen:
            seen.add(id(part))
            yield min(place, 1), part


def _needed(found: type) -> set[str]:
    """Parameters without which the class cannot be made."""
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return set()
    return {parameter.name for parameter in parameters if parameter.default is parameter.empty}


def _first_values(search: SearchSpec) -> dict[str, Any]:
    return {
        name: _number(values, "low") if isinstance(values, dict) else values[0]
        for name, values in search.parameters.items()
    }


def _number(bounds: dict[str, Any], end: str) -> float | int:
    """An end of a range as the search draws it."""
    if not bounds.get("integer"):
        return float(bounds[end])
    number = float(bounds[end])
    return math.ceil(number) if end == "low" else math.floor(number)


def _with(spec: ModelSpec, parameters: dict[str, Any], *, over: bool = True) -> ModelSpec:
    own = spec.training.parameters
    merged = {**own, **parameters} if over else {**parameters, **own}
    return msgspec.structs.replace(spec, training=msgspec.structs.replace(spec.training, parameters=merged))


def _told(spec: ModelSpec, error: EstimatorError, key: KeyPath | None = None) -> BuildProblem:
    key = key or error.key or ("training",)
    return BuildProblem(key=key, text=_without(str(error).removeprefix(f"model {spec.model}: "), key))


def _without(text: str, key: KeyPath) -> str:
    """The sentence without the key that it begins with, which is said before it."""
    return text.removeprefix(f"{key_text(key)} ") if text.startswith(f"{key_text(key)} '") else text


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
