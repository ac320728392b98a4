"""Rows of the reference that a window's sampled rows are compared with."""

from __future__ import annotations

from functools import cached_property
from typing import Self

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from driftloop.profiles.columns import Columns
from driftloop.profiles.row_sample import RowSample, SampleSchema, SampleWire, sample_columns
from driftloop.spec.model import ModelSpec

__all__ = ["REFERENCE_FACTOR", "ReferenceSample", "samples_rows"]

#: So many times more rows than of a window are kept of the reference: it is compared with many windows.
REFERENCE_FACTOR = 2


def samples_rows(spec: ModelSpec) -> bool:
    """Whether anything in the spec is tested on a sample of rows."""
    return bool(spec.drift.multivariate.methods) or any(
        feature.kind in ("vector", "text") for feature in spec.features.values()
    )


class ReferenceSample(Struct, frozen=True, kw_only=True, dict=True):
    """Sampled rows of the reference, and the schema of the samples of windows: its size, seed and columns are those of
    the spec by which the version was registered, so that all samples of a version can be merged and compared."""

    schema: SampleSchema
    rows: SampleWire

    @classmethod
    def build(cls, spec: ModelSpec, columns: Columns, count: int) -> Self | None:
        """A sample of ``count`` rows with columns of all features; None if the spec has no use for one."""
        if not samples_rows(spec):
            return None
        rules = spec.drift.multivariate
        kinds = sample_columns({name: (feature.kind, feature.length) for name, feature in spec.features.items()})
        schema = SampleSchema(rows=rules.sample_rows, seed=rules.seed, columns=kinds)
        sample = RowSample(_wider(schema))
        # Rows of a reference have no ids: their positions are as good.
        sample.update(columns, [str(position) for position in range(count)])
        return cls(schema=schema, rows=sample.to_wire())

    def check(self) -> None:
        """Raise ``ValueError`` if the parts do not fit together (after decoding)."""
        RowSample.from_wire(self.rows, _wider(self.schema))

    @cached_property
    def columns(self) -> dict[str, NDArray[np.float64] | list[str | None]]:
        """The rows as columns, as :meth:`RowSample.columns` gives them."""
        return RowSample.from_wire(self.rows, _wider(self.schema)).columns()


def _wider(schema: SampleSchema) -> SampleSchema:
    return SampleSchema(rows=schema.rows * REFERENCE_FACTOR, seed=schema.seed, columns=schema.columns)
