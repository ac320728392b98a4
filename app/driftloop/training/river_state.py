"""What a River model has learned, as JSON: read back without a pickle, and equal for equal models.

skops cannot hold most River models: some keep lambdas, bound methods or classes with slots, others compiled objects. So
their state is written here as a flat table of plain values, and read back into objects of the classes in :data:`STATE`
and of no other. The table is flat because River's search trees may be deeper than Python can recurse.
"""

from __future__ import annotations

import collections
import importlib
import json
import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["MODELS", "OPTIMIZERS", "STATE", "RiverStateError", "dumps", "loads"]

#: River models that can be trained and kept, with the tasks that each is for.
MODELS: dict[str, tuple[str, ...]] = {
    "river.linear_model.LogisticRegression": ("binary",),
    "river.linear_model.PAClassifier": ("binary",),
    "river.linear_model.SoftmaxRegression": ("binary", "multiclass"),
    "river.linear_model.LinearRegression": ("regression",),
    "river.linear_model.PARegressor": ("regression",),
    "river.tree.HoeffdingTreeClassifier": ("binary", "multiclass"),
    "river.tree.HoeffdingTreeRegressor": ("regression",),
}

#: What the parameters of a model may name by ``class``.
OPTIMIZERS = frozenset(f"river.optim.{name}" for name in ("AdaGrad", "Adam", "RMSProp", "SGD"))

#: Every class of which a state may hold objects.
STATE = frozenset(
    {
        "river.linear_model.lin_reg.LinearRegression",
        "river.linear_model.log_reg.LogisticRegression",
        "river.linear_model.pa.PAClassifier",
        "river.linear_model.pa.PARegressor",
        "river.linear_model.softmax.SoftmaxRegression",
        "river.optim.ada_grad.AdaGrad",
        "river.optim.adam.Adam",
        "river.optim.initializers.Zeros",
        "river.optim.losses.CrossEntropy",
        "river.optim.losses.EpsilonInsensitiveHinge",
        "river.optim.losses.Hinge",
        "river.optim.losses.Log",
        "river.optim.losses.Squared",
        "river.optim.rms_prop.RMSProp",
        "river.optim.schedulers.Constant",
        "river.optim.sgd.SGD",
        "river.preprocessing.scale.StandardScaler",
        "river.proba.gaussian.Gaussian",
        "river.stats.mean.Mean",
        "river.stats.var.Var",
        "river.tree.hoeffding_tree_classifier.HoeffdingTreeClassifier",
        "river.tree.hoeffding_tree_regressor.HoeffdingTreeRegressor",
        "river.tree.nodes.branch.NominalBinaryBranch",
        "river.tree.nodes.branch.NominalMultiwayBranch",
        "river.tree.nodes.branch.NumericBinaryBranch",
        "river.tree.nodes.branch.NumericMultiwayBranch",
        "river.tree.nodes.htc_nodes.LeafMajorityClass",
        "river.tree.nodes.htc_nodes.LeafNaiveBayes",
        "river.tree.nodes.htc_nodes.LeafNaiveBayesAdaptive",
        "river.tree.nodes.htr_nodes.LeafAdaptive",
        "river.tree.nodes.htr_nodes.LeafMean",
        "river.tree.nodes.htr_nodes.LeafModel",
        "river.tree.splitter.ebst_splitter.EBSTNode",
        "river.tree.splitter.gaussian_splitter.GaussianSplitter",
        "river.tree.splitter.nominal_splitter_classif.NominalSplitterClassif",
        "river.tree.splitter.nominal_splitter_reg.NominalSplitterReg",
        "river.tree.splitter.tebst_splitter.TEBSTSplitter",
    }
)

_INITIALIZER = "river.optim.initializers.Zeros"

_FACTORIES: dict[str, Any] = {"float": float, "int": int, "dict": dict}
_EMPTY: dict[str, Any] = {
    "counter": collections.Counter,
    "dict": dict,
    "list": list,
    "random": lambda: random.Random(0),
    "set": set,
}
_UNWRITTEN = object()


class RiverStateError(ValueError):
    """The model holds something that cannot be written, or the text does not describe a model."""


def dumps(model: object) -> str:
    """The state of ``model``. Raises :class:`RiverStateError` for an object of a class outside of :data:`STATE`."""
    return _Writer(model).text()


def loads(text: str, fresh: object) -> object:
    """The model of :func:`dumps`. ``fresh`` is one as its parameters make it, which gives what is no state: methods and
    factories. Raises :class:`RiverStateError`."""
    try:
        return _Reader(json.loads(text)).into(fresh)
    except RiverStateError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise RiverStateError(f"the River model's state is damaged ({type(error).__name__}: {error})") from error


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _attributes(value: object) -> Iterator[tuple[str, Any]]:
    """Instance attributes, from slots too, in an order that does not depend on the instance's history."""
    names = set(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        names.update((slots,) if isinstance(slots, str) else slots)
    for name in sorted(names - {"__dict__", "__weakref__"}):
        if hasattr(value, name):
            yield name, getattr(value, name)


def _is_vector(value: object) -> bool:
    return _name(type(value)) == "river._river_rust.vectordict.VectorDict"


class _Writer:
    """One entry of the table for each object, in the order in which they are found."""

    def __init__(self, model: object) -> None:
        self._places: dict[int, int] = {}
        self._found: list[Any] = []
        self._table: list[Any] = []
        self._value(model)
        while len(self._table) < len(self._found):
            self._table.append(self._entry(self._found[len(self._table)]))

    def text(self) -> str:
        return json.dumps(self._table, separators=(",", ":"))

    def _value(self, value: Any) -> Any:
        """A plain value as it is, ``[place]`` for anything else."""
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, int | float):
            return value
        if id(value) not in self._places:
            self._places[id(value)] = len(self._found)
            # Kept alive, so that no other object gets its id.
            self._found.append(value)
        return [self._places[id(value)]]

    def _entry(self, value: Any) -> Any:
        if isinstance(value, random.Random):
            # None of the models draws from it; it is there for sampling from a distribution.
            return ["random"]
        if _is_vector(value):
            _, (content, factory, mask, _) = value.__reduce_ex__(4)[:2]
            if mask is not None or _name(type(factory)) not in ("builtins.NoneType", _INITIALIZER):
                raise RiverStateError("it holds a vector of weights with a mask or a factory of its own")
            return ["vector", self._value(factory), self._pairs(content)]
        if isinstance(value, collections.defaultdict):
            kind = getattr(value.default_factory, "__name__", "")
            return ["defaultdict", kind if _FACTORIES.get(kind) is value.default_factory else "", self._pairs(value)]
        if isinstance(value, collections.Counter):
            return ["counter", self._pairs(value)]
        if type(value) is dict:
            return ["dict", self._pairs(value)]
        if type(value) is list:
            return ["list", [self._value(item) for item in value]]
        if type(value) is set:
            return ["set", [self._key(item) for item in sorted(value, key=lambda item: (type(item).__name__, item))]]
        name = _name(type(value))
        if name not in STATE:
            raise RiverStateError(f"it holds a {name}, which cannot be kept")
        return [
            "object",
            name,
            [[key, self._value(item)] for key, item in _attributes(value) if not self._is_code(item)],
        ]

    @staticmethod
    def _is_code(value: Any) -> bool:
        # Of the classes in STATE callables are methods or functions that the parameters decide.
        return callable(value) and _name(type(value)) not in STATE

    def _pairs(self, content: Any) -> list[Any]:
        return [[self._key(key), self._value(item)] for key, item in content.items()]

    @staticmethod
    def _key(key: Any) -> Any:
        if isinstance(key, np.generic):
            key = key.item()
        if key is None or isinstance(key, bool | int | float | str):
            return key
        raise RiverStateError(f"it holds a mapping with a key of the type {_name(type(key))}, which cannot be kept")


class _Reader:
    """Makes the objects of a table first, then fills each."""

    def __init__(self, table: Any) -> None:
        if not isinstance(table, list) or not all(isinstance(entry, list) and entry for entry in table):
            raise RiverStateError("the River model's state is not a table")
        self._table = table
        self._made: list[Any] = [_UNWRITTEN] * len(table)
        self._fill: list[tuple[int, Any]] = []

    def into(self, fresh: object) -> object:
        self._make(0, fresh)
        while self._fill:
            self._filled(*self._fill.pop())
        if self._made[0] is not fresh:
            raise RiverStateError(f"the state is that of another model than a {_name(type(fresh))}")
        return fresh

    def _make(self, place: int, template: Any) -> Any:
        """The object of a place, empty so far; ``template`` stands there in a fresh model."""
        if self._made[place] is not _UNWRITTEN:
            return self._made[place]
        entry = self._table[place]
        kind = entry[0]
        made: Any
        if kind == "object":
            if entry[1] not in STATE:
                raise RiverStateError(
                    f"the state names the class {entry[1]!r}, which is not among those of River models"
                )
            same = template is not None and _name(type(template)) == entry[1]
            made = template if same else _blank(entry[1])
        elif kind == "defaultdict":
            made = template if isinstance(template, collections.defaultdict) else None
            if made is None:
                made = collections.defaultdict(_FACTORIES.get(entry[1]))
        elif kind == "vector":
            from river.utils import VectorDict

            factory = self._value(entry[1], None)
            if factory is not None and _name(type(factory)) != _INITIALIZER:
                raise RiverStateError("the state holds a vector of weights with a factory that is not listed")
            made = VectorDict({_checked(key): float(value) for key, value in entry[2]}, factory)
        else:
            made = _EMPTY[kind]()
        self._made[place] = made
        self._fill.append((place, made))
        return made

    def _filled(self, place: int, made: Any) -> None:
        entry = self._table[place]
        kind = entry[0]
        if kind == "object":
            for name, value in entry[2]:
                if not isinstance(name, str) or name.startswith("__"):
                    raise RiverStateError(f"the state names the attribute {name!r}")
                object.__setattr__(made, name, self._value(value, getattr(made, name, None)))
        elif kind in ("dict", "counter", "defaultdict"):
            for key, value in entry[-1]:
                if kind == "defaultdict" and made.default_factory not in (None, float, int):
                    # What the fresh model's factory makes is filled: it may hold a factory of its own.
                    made[_checked(key)] = self._value(value, made.default_factory())
                else:
                    made[_checked(key)] = self._value(value, None)
        elif kind == "list":
            made.extend(self._value(value, None) for value in entry[1])
        elif kind == "set":
            made.update(_checked(key) for key in entry[1])

    def _value(self, value: Any, template: Any) -> Any:
        if isinstance(value, list):
            (place,) = value
            if not isinstance(place, int) or not 0 <= place < len(self._table):
                raise RiverStateError(f"the state refers to {place!r}, which is not in it")
            return self._make(place, template)
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise RiverStateError(f"the state holds {value!r} where a value is expected")


def _checked(key: Any) -> Any:
    if key is None or isinstance(key, bool | int | str) or (isinstance(key, float) and not math.isnan(key)):
        return key
    raise RiverStateError(f"the state holds the key {key!r}")


def _blank(name: str) -> Any:
    """An object of a class in :data:`STATE` without any attribute."""
    module, _, kind = name.rpartition(".")
    cls = getattr(importlib.import_module(module), kind)
    made = cls.__new__(cls)
    if kind == "EBSTNode":
        # Which of two functions it is follows from the kind of the target, and ours are single numbers.
        made._update_estimator = cls._update_estimator_univariate
    return made
