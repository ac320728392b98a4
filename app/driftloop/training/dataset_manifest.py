"""Where a training set comes from and what is in it: the record that is kept beside its file."""

from __future__ import annotations

from msgspec import Struct, field

from driftloop.training.column_statistics import ColumnStatistics

__all__ = ["DatasetQuery", "OffsetRange", "TrainingManifest"]


class OffsetRange(Struct, frozen=True, kw_only=True, order=True):
    """What was read of one partition: offsets ``first`` inclusive to ``end`` exclusive."""

    partition: int
    first: int
    end: int


class DatasetQuery(Struct, frozen=True, kw_only=True):
    """What was asked for: all predictions of ``model`` made in [``from_ms``, ``to_ms``) (event time). Which of the rows
    a candidate chooses is settled while the model is trained, and in the version's lineage (``choice``).
    ``code_version``: the driftloop that cut them."""

    model: str
    from_ms: int
    to_ms: int
    code_version: str = ""


class TrainingManifest(Struct, frozen=True, kw_only=True):
    """Times in event-time milliseconds, [``from_ms``, ``to_ms``); ``size`` in bytes.

    ``superseded`` rows lost to a correction or were copies; ``unreadable`` ones do not fit the model's spec any more.
    ``statistics``: of the label and each feature. ``dvc``: there is a pointer for DVC beside the file. Manifests of
    earlier releases have no query, digest of the spec or statistics.
    """

    model_id: str
    topic: str
    sources: list[OffsetRange]
    from_ms: int
    to_ms: int
    rows: int
    superseded: int
    unreadable: int
    first_predicted_ms: int
    last_predicted_ms: int
    columns: list[str]
    sha256: str = ""
    size: int = 0
    spec_digest: str = ""
    query: DatasetQuery | None = None
    statistics: list[ColumnStatistics] = field(default_factory=list)
    dvc: bool = False
