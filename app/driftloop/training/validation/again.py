"""The results of the checks that were kept for a version, beside those of the same checks made again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from driftloop.registry.artifacts import ArtifactStore
from driftloop.registry.errors import ArtifactError
from driftloop.training.differences import ABSENT
from driftloop.training.validation.keep import FILES
from driftloop.training.validation.result import ValidationResult

__all__ = ["kept_reference", "results_again"]

_SUBJECTS = {"validation": "validation of the data", "expectations": "expectations of the data"}
#: Where the lineage has the name of each file.
_NAMED_BY = {"validation": "uri", "expectations": "expectations_uri"}


def results_again(store: ArtifactStore, validation: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, Any, Any]]:
    """Subject, what was kept, what was made again in ``folder``; checks by their names instead of places in a list.

    ``validation``: that of the lineage. Results name the rows by their digest and have no times and no paths, so all of
    them is compared.
    """
    for role, name in FILES.items():
        uri = validation.get(_NAMED_BY[role])
        made = _made(folder / name)
        if uri is not None or made is not None:
            yield _SUBJECTS[role], _kept(store, uri), "(not made)" if made is None else _by_name(made)
    told = {key: value for key, value in validation.items() if key not in _NAMED_BY.values()}
    again = _made(folder / FILES["validation"])
    summary = "(not made)" if again is None else msgspec.convert(again, ValidationResult).to_builtins()
    yield "validation in the lineage", told, summary


def kept_reference(store: ArtifactStore, validation: Mapping[str, Any]) -> str | None:
    """The version whose reference profile the rows were compared with; None: none, or the result cannot be read."""
    try:
        found = msgspec.json.decode(store.read(str(validation["uri"])), type=ValidationResult)
    except (KeyError, ArtifactError, OSError, msgspec.DecodeError):
        return None
    return found.reference_version


def _kept(store: ArtifactStore, uri: str | None) -> Any:
    if uri is None:
        return ABSENT
    try:
        return _by_name(msgspec.json.decode(store.read(uri), type=dict[str, Any]))
    except (ArtifactError, OSError, msgspec.DecodeError) as error:
        return f"({error})"


def _made(path: Path) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (FileNotFoundError, msgspec.DecodeError):  # the process was ended before it wrote, or while it did
        return None


def _by_name(result: dict[str, Any]) -> dict[str, Any]:
    """Differences then say ``checks.missing of temp.value`` instead of ``checks.7.value``."""
    for key, names in (("checks", _name_of_check), ("results", _name_of_expectation)):
        if isinstance(result.get(key), Sequence):
            named: dict[str, Any] = {}
            for one in result[key]:
                name, number = names(one), 1
                while (unique := name if number == 1 else f"{name} ({number})") in named:
                    number += 1
                named[unique] = one
            result = {**result, key: named}
    return result


def _name_of_check(check: Mapping[str, Any]) -> str:
    return _named(check.get("check"), check.get("column"))


def _name_of_expectation(result: Mapping[str, Any]) -> str:
    configured = result.get("expectation_config") or {}
    return _named(configured.get("type"), (configured.get("kwargs") or {}).get("column"))


def _named(check: object, column: object) -> str:
    return str(check) if column is None else f"{check} of {column}"
