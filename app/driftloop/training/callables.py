"""Training by a function of the user's own: ``training.estimator: "package.module:function"``.

The function is called with keywords only::

    def train(*, frame, labels, weights, parameters, seed):
        ...
        return fitted

``frame``: a pandas DataFrame of the numeric (float64, NaN for missing) and categorical (``str`` or None) features in
the spec's order, and of the other ones; n rows in order of time. ``labels`` (n,): int64 0 or 1, int64 class index, or
float64. ``weights``: float64 (n,) with mean 1, or None. ``parameters``: those of the spec. ``seed``: an integer; the
same arguments must give the same model. It returns a fitted estimator that takes such a frame: with ``predict`` for a
regression, else with ``predict_proba`` and ``classes_``. Only what the list of trusted types holds can be kept as a
model file (``training/artifacts.py``): scikit-learn's own estimators and pipelines.
"""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from driftloop.spec.model import ModelSpec
from driftloop.spec.problems import did_you_mean

__all__ = ["CallableError", "ModuleMissing", "check_function", "fitted_by", "is_callable_path"]


class CallableError(ValueError):
    """The function cannot be imported, raised an error, or returned something else than a fitted estimator."""


class ModuleMissing(CallableError):
    """Its module cannot be imported here."""


def is_callable_path(path: str | None) -> bool:
    """Whether ``training.estimator`` names a function (``package.module:function``)."""
    return path is not None and ":" in path


def fitted_by(
    spec: ModelSpec, frame: pd.DataFrame, labels: NDArray[Any], weights: NDArray[np.float64] | None
) -> Pipeline:
    """What the spec's function returns for the rows, as the last step of a pipeline. Raises :class:`CallableError`."""
    path = str(spec.training.estimator)
    function = _function(path)
    try:
        found = function(
            frame=frame.copy(),
            labels=labels.copy(),
            weights=None if weights is None else weights.copy(),
            parameters=copy.deepcopy(spec.training.parameters),
            seed=spec.training.seed,
        )
    except MemoryError:
        raise
    except Exception as error:  # whatever a user's function raises is the reason why there is no model
        raise CallableError(f"{path} raised {type(error).__name__}: {error}") from error
    wanted = ["predict"] if spec.task == "regression" else ["predict_proba", "classes_"]
    for name in wanted:
        if not hasattr(found, name):
            raise CallableError(
                f"{path} returned a {type(found).__name__} without {name!r}; it must return a fitted estimator with "
                f"{' and '.join(wanted)}"
            )
    if spec.task != "regression":
        _check_classes(spec, path, found.classes_)
    try:
        getattr(found, wanted[0])(frame)
    except Exception as error:  # an estimator of the user's own may raise anything
        raise CallableError(
            f"{path} returned a {type(found).__name__} that does not take the frame it was trained on "
            f"({type(error).__name__}: {error})"
        ) from error
    return Pipeline([("model", found)])


def check_function(path: str) -> None:
    """Without calling it: the function can be imported, and takes the keywords that it is called with. Raises
    :class:`CallableError`, :class:`ModuleMissing` if its module cannot be imported."""
    function = _function(path)
    given: dict[str, Any] = dict.fromkeys(("frame", "labels", "weights", "parameters", "seed"))
    try:
        inspect.signature(function).bind(**given)
    except TypeError as error:
        raise CallableError(
            f"training.estimator {path!r}: it is called with the keywords {', '.join(given)}, which it does not take: "
            f"{error}"
        ) from None
    except ValueError:
        return  # a compiled function does not say what it takes


def _function(path: str) -> Callable[..., Any]:
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a module that cannot be imported may raise anything
        raise ModuleMissing(
            f"training.estimator {path!r}: the module {module_name!r} cannot be imported "
            f"({type(error).__name__}: {error}); install it where trainings run, or add its folder to PYTHONPATH there"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        functions = [known for known, value in vars(module).items() if callable(value) and not known.startswith("_")]
        hint = did_you_mean(name, functions)
        raise CallableError(f"training.estimator {path!r}: {module_name!r} has no function {name!r}{hint}")
    return function  # type: ignore[no-any-return]


def _check_classes(spec: ModelSpec, path: str, classes: Any) -> None:
    count = 2 if spec.task == "binary" else len(spec.classes)
    known = np.asarray(classes)
    if known.ndim != 1 or not np.isin(known, np.arange(count)).all():
        raise CallableError(
            f"{path} returned an estimator of the classes {known.tolist()}; labels are 0 to {count - 1}, as given to it"
        )
