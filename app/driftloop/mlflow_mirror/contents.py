"""What MLflow is told of a version: parameters, metrics, tags and the data set, from its row in the registry."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from driftloop.registry.rows import VersionRow

__all__ = ["DIGEST_LENGTH", "Contents", "DatasetUsed", "contents_of", "key_of"]

#: MLflow keeps so much of a data set's digest.
DIGEST_LENGTH = 36
_KEY_LENGTH = 250
_PARAMETER_LENGTH = 6_000
#: What MLflow allows in names of parameters and metrics.
_FOREIGN = re.compile(r"[^A-Za-z0-9_. /-]")


@dataclass(frozen=True)
class DatasetUsed:
    """The training set: name, SHA-256, name in the artifact store, schema and size as JSON-able values."""

    name: str
    sha256: str
    uri: str
    schema: Any
    profile: dict[str, Any]


@dataclass(frozen=True)
class Contents:
    """Of one version. ``key`` names it among all versions of all registries, and is what a repeated call looks for."""

    key: str
    parameters: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    dataset: DatasetUsed | None


def key_of(row: VersionRow) -> str:
    """The same for the same version however often it is told of; 64 hex digits."""
    artifact = "" if row.artifact is None else row.artifact.sha256
    parts = ["driftloop-mlflow-1", row.model_id, row.version, str(row.sequence), artifact, row.profile_sha256]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def contents_of(row: VersionRow) -> Contents:
    """Everything that does not change about a version."""
    lineage = row.lineage
    key = key_of(row)
    tags = {
        "driftloop.key": key,
        "driftloop.model": row.model_id,
        "driftloop.version": row.version,
        "driftloop.release": _release(),
        "driftloop.profile_sha256": row.profile_sha256,
    }
    if row.command_id is not None:
        tags["driftloop.command_id"] = row.command_id
    if row.artifact is not None:
        tags["driftloop.artifact_sha256"] = row.artifact.sha256
    dataset = _dataset(lineage.get("dataset"))
    if dataset is not None:
        tags["driftloop.dataset_sha256"] = dataset.sha256
    for name in ("model_digest", "spec_digest", "compared_with", "code_commit"):
        if isinstance(lineage.get(name), str):
            tags[f"driftloop.{name}"] = lineage[name]
    query = lineage.get("dataset", {}).get("query") if isinstance(lineage.get("dataset"), Mapping) else None
    if isinstance(query, Mapping) and isinstance(query.get("code_version"), str):
        tags["driftloop.code_version"] = query["code_version"]
    command = lineage.get("command")
    if isinstance(command, Mapping) and isinstance(command.get("trigger"), str):
        tags["driftloop.trigger"] = command["trigger"]
    for gate in row.gates:
        said = gate.verdict or ("passed" if gate.passed else "failed")
        tags[_key(f"driftloop.gate.{gate.gate}")] = f"{said}: {gate.sentence}"
    return Contents(key, _parameters(lineage), _metrics(row.metrics), tags, dataset)


def _parameters(lineage: Mapping[str, Any]) -> dict[str, str]:
    names = ("seed", "refit_on_all", "train_rows", "holdout_rows")
    found = {"estimator": _estimator(lineage)} | {name: lineage.get(name) for name in names}
    chosen = lineage.get("parameters")
    if isinstance(chosen, Mapping):
        found |= {f"parameters.{name}": value for name, value in chosen.items()}
    # Nobody here knows the estimator of a model that was fitted elsewhere, and one of River's has no parameters here.
    return {_key(name): _text(value)[:_PARAMETER_LENGTH] for name, value in found.items() if value is not None}


def _estimator(lineage: Mapping[str, Any]) -> Any:
    training = lineage.get("training")
    river = training.get("river") if isinstance(training, Mapping) else None
    return river.get("model") if isinstance(river, Mapping) else lineage.get("estimator")


def _metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    return {_key(name): float(value) for name, value in metrics.items()}


def _dataset(said: Any) -> DatasetUsed | None:
    if not isinstance(said, Mapping) or not isinstance(said.get("sha256"), str):
        return None
    sha256 = said["sha256"]
    profile = {name: said[name] for name in ("rows", "size", "from_ms", "to_ms") if name in said}
    return DatasetUsed(
        name=f"{said.get('model_id', 'training set')}-{sha256[:12]}",
        sha256=sha256,
        uri=str(said.get("uri", "")),
        schema=said.get("columns"),
        profile=profile,
    )


def _key(name: str) -> str:
    """A name that MLflow takes.

    >>> _key("metric:auc (ROC)")
    'metric_auc _ROC_'
    """
    return _FOREIGN.sub("_", name)[:_KEY_LENGTH]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _release() -> str:
    try:
        return version("driftloop")
    except PackageNotFoundError:
        return "unknown"
