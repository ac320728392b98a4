"""A sample of a window's rows that knows no order: the k rows whose ids have the smallest hashes.

Bottom-k sampling: E. Cohen, H. Kaplan, "Summarizing data using bottom-k sketches", PODC 2007. Every row gets a rank
by a hash of seed and prediction id, and the k lowest ranks are kept, so that the sample of a union is the bottom k of
the samples of its parts: any split into batches, partitions and merges gives the same rows, to the last byte. Ids are
distinct, so the sample is uniform without replacement.
"""

from __future__ import annotations

import base64
import heapq
import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from driftloop.profiles.columns import Columns
from driftloop.spec.multivariate import MAX_TEXT_BYTES

__all__ = ["RowSample", "SampleSchema", "SampleWire", "rank_of", "sample_columns"]

#: Ranks are integers that every reader of JSON keeps exactly.
_RANK_BITS = 53
_MAX_CATEGORY_BYTES = 256

#: One row's value of a column: a number, a text, a vector as base64 of little-endian float32, None for missing.
Cell = float | str | None


class SampleSchema(Struct, frozen=True, kw_only=True):
    """What a sample holds: ``rows`` rows at most, of ``columns`` (name to kind, sorted), chosen by ``seed``."""

    rows: int
    seed: int
    columns: dict[str, str]


class SampleWire(Struct, frozen=True, kw_only=True):
    """A sample in JSON: ``ranks`` in ascending order, ``cells`` by column in the same order."""

    ranks: list[int]
    cells: dict[str, list[float | str | None]]


def rank_of(prediction_id: str, seed: int) -> int:
    """The rank of a row in [0, 2**53), uniform over ids.

    >>> rank_of("p-1", 0) == rank_of("p-1", 0), rank_of("p-1", 0) == rank_of("p-1", 1)
    (True, False)
    """
    digest = blake2b(prediction_id.encode(), digest_size=8, key=seed.to_bytes(8, "little", signed=False)).digest()
    return int.from_bytes(digest, "big") >> (64 - _RANK_BITS)


class RowSample:
    """The sampled rows of one window, mergeable. Infinite numbers are kept as missing: no method here can use them.

    Should two rows have one rank (an id twice, or a collision of hashes), both count, in the order of their content.
    Memory: at most ``2 * schema.rows`` rows.
    """

    __slots__ = ("_rows", "schema")

    def __init__(self, schema: SampleSchema) -> None:
        self.schema = schema
        self._rows: list[tuple[int, bytes]] = []  # rank and canonical JSON of the cells

    def __len__(self) -> int:
        return len(self._rows)

    def update(self, columns: Columns, ids: Sequence[str]) -> None:
        """Offer rows with these ids, shape (n,). A column that is not there, or has another kind or length than in the
        schema, is missing in all of them."""
        seed = self.schema.seed
        ranks = [rank_of(prediction_id, seed) for prediction_id in ids]
        # Once the sample is full, few rows of a batch can still enter it.
        highest = self._rows[-1][0] if len(self._rows) >= self.schema.rows else 1 << _RANK_BITS
        chosen = [position for position, rank in enumerate(ranks) if rank <= highest]
        if len(chosen) > self.schema.rows:
            chosen = heapq.nsmallest(self.schema.rows, chosen, key=lambda position: (ranks[position], position))
            last = max(ranks[position] for position in chosen)
            chosen = [position for position, rank in enumerate(ranks) if rank <= last]
        if not chosen:
            return
        cells = [_cells(kind, columns.get(name), chosen) for name, kind in self.schema.columns.items()]
        rows = zip(*cells, strict=True) if cells else iter([()] * len(chosen))
        self._keep((ranks[at], msgspec.json.encode(row)) for at, row in zip(chosen, rows, strict=True))

    def merge(self, other: RowSample) -> None:
        """Add the rows of another sample of the same schema. Raises ``ValueError`` for another schema."""
        if other.schema != self.schema:
            raise ValueError("samples of rows with other columns, size or seed cannot be merged")
        self._keep(other._rows)

    def _keep(self, rows: Any) -> None:
        self._rows = sorted([*self._rows, *rows])[: self.schema.rows]

    def columns(self) -> dict[str, NDArray[np.float64] | list[str | None]]:
        """The sampled rows as columns, in the order of ranks: numeric float64 (n,) with NaN for missing, vector float64
        (n, length) with rows of NaN for missing, categorical and text as lists with None for missing."""
        rows = [msgspec.json.decode(content) for _, content in self._rows]
        found: dict[str, NDArray[np.float64] | list[str | None]] = {}
        for position, (name, kind) in enumerate(self.schema.columns.items()):
            values = [row[position] for row in rows]
            if kind == "numeric":
                found[name] = np.array([math.nan if value is None else value for value in values], np.float64)
            elif kind.startswith("vector"):
                found[name] = _vectors(values, int(kind.removeprefix("vector:")))
            else:
                found[name] = values
        return found

    def copy(self) -> RowSample:
        twin = RowSample(self.schema)
        twin._rows = list(self._rows)
        return twin

    def to_wire(self) -> SampleWire:
        """For JSON; equal samples have equal wires."""
        rows = [msgspec.json.decode(content) for _, content in self._rows]
        return SampleWire(
            ranks=[rank for rank, _ in self._rows],
            cells={name: [row[at] for row in rows] for at, name in enumerate(self.schema.columns)},
        )

    @classmethod
    def from_wire(cls, wire: SampleWire, schema: SampleSchema) -> RowSample:
        """The sample that :meth:`to_wire` described. Raises ``ValueError`` if it does not fit the schema."""
        cells = [wire.cells.get(name) for name in schema.columns]
        if (
            wire.cells.keys() != schema.columns.keys()
            or any(column is None or len(column) != len(wire.ranks) for column in cells)
            or len(wire.ranks) > schema.rows
            or any(not 0 <= rank < 1 << _RANK_BITS for rank in wire.ranks)
        ):
            raise ValueError(f"the sample of rows is damaged: {len(wire.ranks)} ranks, columns {sorted(wire.cells)}")
        sample = cls(schema)
        for (name, kind), column in zip(schema.columns.items(), cells, strict=True):
            _check(name, kind, column or [])
        rows = zip(*[column or [] for column in cells], strict=True) if cells else iter([()] * len(wire.ranks))
        sample._keep((rank, msgspec.json.encode(row)) for rank, row in zip(wire.ranks, rows, strict=True))
        return sample

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RowSample):
            return NotImplemented
        return self.schema == other.schema and self._rows == other._rows

    __hash__ = None  # type: ignore[assignment]


def _cells(kind: str, column: NDArray[np.float64] | Sequence[str | None] | None, chosen: list[int]) -> list[Cell]:
    if column is None or not _fits(kind, column):
        return [None] * len(chosen)
    if kind == "numeric":
        numbers = np.asarray(column, np.float64)[chosen] + 0.0  # -0.0 becomes 0.0
        return [value if math.isfinite(value) else None for value in numbers.tolist()]
    if kind.startswith("vector"):
        return [_vector_text(row) for row in np.asarray(column, np.float64)[chosen]]
    limit = MAX_TEXT_BYTES if kind == "text" else _MAX_CATEGORY_BYTES
    return [_shortened(column[at], limit) for at in chosen]


def _fits(kind: str, column: NDArray[np.float64] | Sequence[str | None]) -> bool:
    """Whether the column has the kind and length that the version was registered with; the spec may have changed."""
    if kind.startswith("vector"):
        length = int(kind.removeprefix("vector:"))
        return isinstance(column, np.ndarray) and column.ndim == 2 and column.shape[1] == length
    return (kind == "numeric") == (isinstance(column, np.ndarray) and column.ndim == 1)


def _shortened(value: Any, limit: int) -> str | None:
    if value is None or len(value) * 4 <= limit:
        return None if value is None else str(value)
    return str(value).encode()[:limit].decode("utf-8", "ignore")


def _vector_text(row: NDArray[np.float64]) -> str | None:
    with np.errstate(over="ignore"):
        numbers = row.astype("<f4") + np.float32(0.0)
    return base64.b64encode(numbers.astype("<f4").tobytes()).decode() if np.isfinite(numbers).all() else None


def _vectors(values: Sequence[str | None], length: int) -> NDArray[np.float64]:
    found = np.full((len(values), length), math.nan)
    for at, value in enumerate(values):
        if value is not None:
            found[at] = np.frombuffer(base64.b64decode(value), "<f4")
    return found


def _check(name: str, kind: str, column: Sequence[Cell]) -> None:
    expected: tuple[type, ...] = (float, int) if kind == "numeric" else (str,)
    for value in column:
        if value is not None and not isinstance(value, expected):
            raise ValueError(f"the sample of rows is damaged: {value!r} in the {kind} column {name!r}")
        if value is not None and kind.startswith("vector"):
            wanted = 4 * int(kind.removeprefix("vector:"))
            if len(base64.b64decode(str(value))) != wanted:
                raise ValueError(f"the sample of rows is damaged: a vector of {name!r} has not {wanted // 4} numbers")


def sample_columns(kinds: Mapping[str, tuple[str, int | None]]) -> dict[str, str]:
    """Column kinds as a schema names them, sorted by name: ``vector`` with its length."""
    return {name: f"vector:{length}" if kind == "vector" else kind for name, (kind, length) in sorted(kinds.items())}
