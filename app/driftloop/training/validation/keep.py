"""The results of the checks as files: from the child that made them to the artifact store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from driftloop.profiles.reference import ReferenceProfile
from driftloop.registry.artifacts import ArtifactStore
from driftloop.spec.model import ModelSpec
from driftloop.training import progress
from driftloop.training.dataset import TrainingSet
from driftloop.training.validation.result import ValidationResult
from driftloop.training.validation.validate import validate

__all__ = ["FILES", "check_and_write", "keep_results"]

_VALIDATION, _EXPECTATIONS = "validation.json", "expectations.json"
#: What a training leaves in its folder, by role.
FILES = {"validation": _VALIDATION, "expectations": _EXPECTATIONS}


def check_and_write(
    folder: Path, spec: ModelSpec, data: TrainingSet, reference: ReferenceProfile | None, *, unreadable: int, asset: str
) -> ValidationResult:
    """Check the data, tell what is not as it should be, and leave the results in the folder of the training. Arguments
    are those of :func:`~driftloop.training.validation.validate.validate`."""
    progress.phase("validating the data")
    result, suite_result = validate(spec, data, reference, unreadable=unreadable, asset=asset)
    if suite_result is not None:
        (folder / _EXPECTATIONS).write_bytes(msgspec.json.encode(suite_result))
    (folder / _VALIDATION).write_bytes(msgspec.json.encode(result))
    for check in result.checks:
        if check.verdict != "pass":
            progress.line(f"{check.verdict}: {check.check}: {check.sentence}")
    progress.line(f"validation: {result.verdict} after {len(result.checks):,} checks of {len(data):,} rows")
    return result


def keep_results(folder: Path, store: ArtifactStore) -> dict[str, Any]:
    """Put the results that are in the folder into the store. Returns what a version's lineage keeps of them: the
    verdict, what was not as it should be, and the files' names; empty if no checks were made."""
    found: dict[str, Any] = {}
    for role, name in FILES.items():
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
