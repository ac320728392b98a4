"""A digest of what a fitted model holds, and of nothing else.

Neither model files nor pickles will do: skops names objects by memory address and writes the time, pickle bytes depend
on which equal texts happen to be one object, and both copy the padding between the fields of structured arrays, which
is whatever the memory held before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from driftloop.multivariate.outcome import one_thread
from driftloop.spec.model import ModelSpec
from driftloop.training.estimators import predict

__all__ = ["content_digest", "model_digest", "probe"]

#: Rows of the probe set.
PROBE_ROWS = 64


def content_digest(model: object) -> str:
    """SHA-256 in hex over the state that pickle would keep, walked by value.

    The same for equal content, whatever the identity of its parts. Raises ``TypeError`` for an object without a state
    that can be copied.
    """
    walk = _Walk()
    walk.visit(model)
    return walk.sha256.hexdigest()


def model_digest(pipeline: Any, spec: ModelSpec) -> str:
    """The canonical digest of a fitted model, SHA-256 in hex: its content (parameters and fitted arrays, for a River
    model the state that is written to its file), and what it says about the rows of :func:`probe`, if it takes them.

    Equal for the same fit on the same rows with the same libraries, whatever bytes the model file has.
    """
    sha256 = hashlib.sha256(content_digest(pipeline).encode())  # before it predicts: search trees count their calls
    try:
        with one_thread():
            said = predict(pipeline, spec, probe(spec))
    except (ValueError, TypeError):
        # A user's own pipeline need not take missing values or categories that it has not seen.
        said = np.empty(0)
    # Adding 0 makes a zero of either sign the same one.
    sha256.update(np.ascontiguousarray(said + 0.0, dtype="<f8").tobytes())
    return sha256.hexdigest()


def probe(spec: ModelSpec) -> pd.DataFrame:
    """Rows that depend on the spec's features alone: numbers of many sizes, categories that the spec lists and others,
    and missing values."""
    columns: dict[str, Any] = {}
    for name, feature in spec.features.items():
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))
        missing = rng.random(PROBE_ROWS) < 0.1
        if feature.kind == "numeric":
            numbers = rng.normal(size=PROBE_ROWS) * 10.0 ** rng.integers(-2, 4, PROBE_ROWS)
            columns[name] = np.where(missing, np.nan, numbers)
        elif feature.kind == "categorical":
            texts = [*(feature.categories or []), "a", "b", "0", "1"]
            chosen = rng.integers(0, len(texts), PROBE_ROWS).tolist()
            columns[name] = [None if gone else texts[place] for place, gone in zip(chosen, missing, strict=True)]
        else:
            columns[name] = [None] * PROBE_ROWS
    return pd.DataFrame(
        {
            name: pd.Series(values, dtype=None if spec.features[name].kind == "numeric" else object)
            for name, values in columns.items()
        }
    )


class _Walk:
    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()
        self._open: list[int] = []

    def visit(self, value: Any) -> None:
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            # repr of a float names it exactly.
            self._say(type(value).__name__, value if isinstance(value, bytes) else repr(value).encode())
        elif isinstance(value, np.ndarray):
            self._array(value)
        elif isinstance(value, np.generic | np.dtype):
            self._say("numpy", repr(value).encode())
        elif isinstance(value, type) or callable(getattr(value, "__get__", None)):
            self._say("name", f"{value.__module__}.{value.__qualname__}".encode())
        elif id(value) in self._open:
            # An object inside itself: how far up it is says which.
            self._say("above", str(len(self._open) - self._open.index(id(value))).encode())
        else:
            self._open.append(id(value))
            self._compound(value)
            self._open.pop()

    def _compound(self, value: Any) -> None:
        if isinstance(value, Mapping):
            self._begin(type(value).__name__, len(value))
            for key in sorted(value, key=lambda key: (type(key).__name__, repr(key))):
                self.visit(key)
                self.visit(value[key])
        elif isinstance(value, set | frozenset):
            self._items(sorted(value, key=repr), type(value).__name__)
        elif isinstance(value, list | tuple):
            self._items(value, type(value).__name__)
        else:
            reduced = value.__reduce_ex__(4)
            if isinstance(reduced, str):
                self._say("name", reduced.encode())
                return
            self._begin(f"{type(value).__module__}.{type(value).__qualname__}", len(reduced))
            for part in reduced:
                self.visit(list(part) if hasattr(part, "__next__") else part)

    def _array(self, value: NDArray[Any]) -> None:
        self._begin(f"array {value.dtype!r} {value.shape}", 0)
        if value.dtype.names:
            for name in value.dtype.names:
                self._array(value[name])
        elif value.dtype.hasobject:
            self._items(value.ravel().tolist(), "objects")
        else:
            self._say("values", np.ascontiguousarray(value).tobytes())

    def _items(self, items: Sequence[Any], name: str) -> None:
        self._begin(name, len(items))
        for item in items:
            self.visit(item)

    def _begin(self, name: str, count: int) -> None:
        self._say(name, str(count).encode())

    def _say(self, name: str, content: bytes) -> None:
        # Lengths keep ("ab", "c") and ("a", "bc") apart.
        self.sha256.update(f"{name}:{len(content)}:".encode())
        self.sha256.update(content)
