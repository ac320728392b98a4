"""From the ``features`` and ``prediction`` of events to typed columns.

A model's feature schema becomes a msgspec Struct, so that types are checked while decoding and columns come out
without a dict per row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from driftloop.profiles.ranked_items import Item as _Item
from driftloop.profiles.ranked_items import RankedItems, gains_by_item, ranked_items, top_item
from driftloop.spec.model import ModelSpec

__all__ = [
    "PREDICTION",
    "Columns",
    "FeatureDecoder",
    "LabelDecoder",
    "LabelValue",
    "PredictionDecoder",
    "PredictionValue",
    "prediction_column",
    "select_rows",
]

#: The model's output as one more column: numeric for binary and regression, the likeliest class for multiclass, the
#: item at the top for ranking.
PREDICTION = "@prediction"

#: A decoded prediction: score or value; probabilities in class order; or item ids, best first.
PredictionValue = float | tuple[float, ...] | tuple[str, ...]
#: A decoded label: 0 or 1, class index, or value; or gains by item id.
LabelValue = float | int | dict[str, float]

#: Feature name to its column: numeric as float64 with NaN for missing, categorical as texts with None for missing.
Columns = Mapping[str, NDArray[np.float64] | list[str | None]]


def select_rows(columns: Columns, positions: Sequence[int]) -> dict[str, NDArray[np.float64] | list[str | None]]:
    """The rows at these positions, in their order."""
    index = np.asarray(positions, np.intp)
    return {
        name: column[index] if isinstance(column, np.ndarray) else [column[at] for at in positions]
        for name, column in columns.items()
    }


class FeatureDecoder:
    """Decodes ``features`` objects by a model's schema.

    Numeric features take numbers and booleans; categorical ones take strings, integers and booleans, kept as text.
    Null and an absent key both mean missing, which is an error for a ``required`` feature. Other keys are ignored.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.names = tuple(spec.features)
        self._categorical = tuple(feature.kind == "categorical" for feature in spec.features.values())
        self._attributes = tuple(f"f{index}" for index in range(len(self.names)))
        fields: list[Any] = []
        # Required features come first: a Struct wants its fields without defaults before those with one.
        for attribute, feature in sorted(
            zip(self._attributes, spec.features.values(), strict=True), key=lambda pair: not pair[1].required
        ):
            accepted: Any = str | int | bool if feature.kind == "categorical" else float | bool
            fields.append((attribute, accepted) if feature.required else (attribute, accepted | None, None))
        row_type = msgspec.defstruct(
            "FeatureRow", fields, rename=dict(zip(self._attributes, self.names, strict=True)), gc=False
        )
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(row_type)

    def decode_row(self, raw: bytes | msgspec.Raw) -> Any:
        """One decoded row, opaque to the caller. Raises ``msgspec.MsgspecError`` that names the path of a bad value."""
        return self._decoder.decode(raw)

    def columns(self, rows: Sequence[Any]) -> dict[str, NDArray[np.float64] | list[str | None]]:
        """Columns of decoded rows, in the order of the schema."""
        columns: dict[str, NDArray[np.float64] | list[str | None]] = {}
        for name, attribute, categorical in zip(self.names, self._attributes, self._categorical, strict=True):
            values = [getattr(row, attribute) for row in rows]
            columns[name] = _texts(values) if categorical else _floats(values)
        return columns

    def decode(
        self, raws: Sequence[bytes | msgspec.Raw]
    ) -> tuple[dict[str, NDArray[np.float64] | list[str | None]], list[tuple[int, str]]]:
        """Columns of the good rows, in order, and ``(index, error)`` of the bad ones."""
        rows: list[Any] = []
        bad: list[tuple[int, str]] = []
        for index, raw in enumerate(raws):
            try:
                rows.append(self._decoder.decode(raw))
            except msgspec.MsgspecError as error:
                bad.append((index, str(error)))
        return self.columns(rows), bad


def _floats(values: list[Any]) -> NDArray[np.float64]:
    try:
        return np.fromiter(values, np.float64, len(values))
    except TypeError:  # a None among them
        return np.fromiter((math.nan if value is None else value for value in values), np.float64, len(values))


def _texts(values: list[Any]) -> list[str | None]:
    return [value if value is None or type(value) is str else _text(value) for value in values]


def _text(value: int | bool) -> str:
    if value is True:
        return "true"
    return "false" if value is False else str(value)


class PredictionDecoder:
    """Decodes ``prediction`` by the task: a float; for multiclass the probabilities in class order; for ranking the
    item ids from the top, given as a list or, with scores that fall, as ``{"items": [...], "scores": [...]}``."""

    def __init__(self, spec: ModelSpec) -> None:
        self._classes = tuple(spec.classes)
        accepted: Any
        if spec.task == "binary":
            accepted = Annotated[float, Meta(ge=0.0, le=1.0)]
        elif spec.task == "regression":
            accepted = float
        elif spec.task == "ranking":
            accepted = list[_Item] | RankedItems
        else:
            accepted = dict[str, Annotated[float, Meta(ge=0.0, le=1.0)]]
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(accepted)
        self._multiclass = spec.task == "multiclass"
        self._ranking = spec.task == "ranking"

    def decode(self, raw: bytes | msgspec.Raw) -> PredictionValue:
        """Raises ``msgspec.MsgspecError`` that says what was expected."""
        value = self._decoder.decode(raw)
        if self._ranking:
            return ranked_items(value)
        if not self._multiclass:
            return float(value)
        unknown = set(value) - set(self._classes)
        if unknown:
            raise msgspec.ValidationError(
                f"prediction has unknown class {sorted(unknown)[0]!r}; the spec lists {list(self._classes)}"
            )
        return tuple(value.get(name, 0.0) for name in self._classes)


class LabelDecoder:
    """Decodes ``label`` by the task: binary to 0 or 1, multiclass to a class index, regression to a float, ranking (a
    list of the relevant item ids, or an object of item id to gain) to gains by item."""

    def __init__(self, spec: ModelSpec) -> None:
        self._task = spec.task
        self._index = {name: index for index, name in enumerate(spec.classes)}
        accepted: Any
        if spec.task == "binary":
            accepted = bool | Annotated[int, Meta(ge=0, le=1)]
        elif spec.task == "regression":
            accepted = float
        elif spec.task == "ranking":
            accepted = list[_Item] | dict[str, Annotated[float, Meta(ge=0.0)]]
        else:
            accepted = str | int | bool
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(accepted)

    def decode(self, raw: bytes | msgspec.Raw) -> LabelValue:
        """Raises ``msgspec.MsgspecError`` that says what was expected."""
        value = self._decoder.decode(raw)
        if self._task == "ranking":
            return gains_by_item(value)
        if self._task == "regression":
            return float(value)
        if self._task == "binary":
            return int(value)
        text = value if isinstance(value, str) else _text(value)
        index = self._index.get(text)
        if index is None:
            raise msgspec.ValidationError(f"label {text!r} is not one of the spec's classes {list(self._index)}")
        return index


def prediction_column(spec: ModelSpec, values: Sequence[PredictionValue]) -> NDArray[np.float64] | list[str | None]:
    """The column :data:`PREDICTION` of decoded predictions."""
    if spec.task == "ranking":
        return [top_item(value) for value in values]
    if spec.task != "multiclass":
        return np.fromiter(values, np.float64, len(values))
    if not values:
        return []
    likeliest = np.asarray(values, np.float64).argmax(axis=1)
    return [spec.classes[index] for index in likeliest]
