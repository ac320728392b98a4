"""The data sets that versions were trained on and runs have cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Engine, select

from driftloop.registry.database import reading
from driftloop.registry.tables import model_versions, runs

__all__ = ["DatasetRow", "datasets"]


@dataclass(kw_only=True)
class DatasetRow:
    """A file of rows by its SHA-256, and who uses it. ``manifest_uri``, ``validation_uri``, ``expectations_uri``: names
    in the artifact store, None if there is no such file. ``last_used``: a time to sort by, in milliseconds."""

    sha256: str
    uri: str
    model_id: str
    manifest_uri: str | None = None
    validation_uri: str | None = None
    expectations_uri: str | None = None
    versions: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    last_used_ms: int = 0


def datasets(engine: Engine, model_id: str | None = None) -> list[DatasetRow]:
    """Every data set that is known, of one model or of all, the last used first."""
    found: dict[tuple[str, str], DatasetRow] = {}
    versions = select(
        model_versions.c.model_id, model_versions.c.version, model_versions.c.lineage, model_versions.c.event_time_ms
    ).order_by(model_versions.c.model_id, model_versions.c.sequence)
    trained = select(runs.c.model_id, runs.c.command_id, runs.c.files, runs.c.started_wall_ms).where(
        runs.c.files.is_not(None)
    )
    if model_id is not None:
        versions = versions.where(model_versions.c.model_id == model_id)
        trained = trained.where(runs.c.model_id == model_id)
    with reading(engine) as connection:
        for row in connection.execute(trained.order_by(runs.c.started_wall_ms)):
            files = msgspec.json.decode(row.files, type=dict[str, str])
            entry = _entry(found, row.model_id, files.get("dataset"))
            if entry is not None:
                entry.runs.append(row.command_id)
                _name(entry, {f"{role}_uri": uri for role, uri in files.items()})
                entry.last_used_ms = max(entry.last_used_ms, row.started_wall_ms)
        for row in connection.execute(versions):
            lineage = msgspec.json.decode(row.lineage)
            dataset, validation = lineage.get("dataset") or {}, lineage.get("validation") or {}
            entry = _entry(found, row.model_id, dataset.get("uri"))
            if entry is not None:
                entry.versions.append(row.version)
                _name(entry, {**dataset, "validation_uri": validation.get("uri")})
                _name(entry, {"expectations_uri": validation.get("expectations_uri")})
                entry.last_used_ms = max(entry.last_used_ms, row.event_time_ms)
    return sorted(found.values(), key=lambda entry: (-entry.last_used_ms, entry.model_id, entry.sha256))


def _entry(found: dict[tuple[str, str], DatasetRow], model_id: str, uri: str | None) -> DatasetRow | None:
    if not uri:
        return None
    sha256 = uri.rpartition("/")[2][:64]
    return found.setdefault((model_id, sha256), DatasetRow(sha256=sha256, uri=uri, model_id=model_id))


def _name(entry: DatasetRow, files: Mapping[str, Any]) -> None:
    for name in ("manifest_uri", "validation_uri", "expectations_uri"):
        if files.get(name):
            setattr(entry, name, files[name])
