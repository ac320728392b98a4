"""The results of the checks as files: from the child that made them to the artifact store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from driftloop.registry.artifacts import ArtifactStore
from driftloop.training import progress
from driftloop.training.validation.result import ValidationResult

__all__ = ["keep_results", "write_results"]

_VALIDATION, _EXPECTATIONS = "validation.json", "expectations.json"


def write_results(folder: Path, result: ValidationResult, suite_result: dict[str, Any] | None) -> None:
    """Leave the results in the folder of the training. Floats are written so that they are read back the same."""
    if suite_result is not None:
        (folder / _EXPECTATIONS).write_bytes(msgspec.json.encode(suite_result))
    (folder / _VALIDATION).write_bytes(msgspec.json.encode(result))


def keep_results(folder: Path, store: ArtifactStore) -> dict[str, Any]:
    """Put the results that are in the folder into the store. Returns what a version's lineage keeps of them: the
    verdict, what was not as it should be, and the files' names; empty if no checks were made."""
    found: dict[str, Any] = {}
    for role, name in (("validation", _VALIDATION), ("expectations", _EXPECTATIONS)):
        path = folder / name
        if not path.exists():
            continue
        content = path.read_bytes()
        try:
            if role == "validation":
                found = msgspec.json.decode(content, type=ValidationResult).to_builtins() | found
        except msgspec.DecodeError:
            continue  # the process was ended while it wrote
        kept = store.put_bytes(content, ".json")
        progress.kept(role, kept.uri)
        found["uri" if role == "validation" else "expectations_uri"] = kept.uri
    return found
