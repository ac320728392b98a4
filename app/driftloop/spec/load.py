"""Reading model specs from YAML, with errors that name the file, the key, and what was expected."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from driftloop.spec.document import Document, read_document
from driftloop.spec.expectation_file import read_expectations
from driftloop.spec.model import ModelSpec
from driftloop.spec.problems import KeyPath, Problem, SpecError
from driftloop.spec.semantics import semantic_problems
from driftloop.spec.shape import convert, find_problems
from driftloop.spec.without_effect import spec_warnings

__all__ = [
    "SpecError",
    "SpecFile",
    "kept_spec_digest",
    "load_spec",
    "load_specs",
    "parse_spec",
    "read_specs",
    "spec_digest",
]


@dataclass(frozen=True)
class SpecFile:
    """A spec that can be used, and the text that it was read from, for what is to be said about it beyond that."""

    spec: ModelSpec
    document: Document

    def problem(self, key: KeyPath, text: str) -> Problem:
        """A sentence about a key, with file and line."""
        return self.document.problem(key, text)

    def warnings(self) -> list[Problem]:
        """Keys that are given and have no effect beside the others, in the order of their lines."""
        found = [self.problem(key, text) for key, text in spec_warnings(self.spec, self.document.value)]
        return sorted(found, key=lambda problem: problem.line or 0)


def parse_spec(text: str, source: str = "<text>", folder: Path | None = None) -> ModelSpec:
    """The spec in a YAML text; ``source`` names it in errors, files that it names are relative to ``folder``.

    Raises :class:`SpecError` that lists everything that is wrong.

    >>> parse_spec("{model: churn, task: binary, features: {age: {kind: numeric}}}").window_ms
    86400000
    """
    return _read(text, source, folder).spec


def _read(text: str, source: str, folder: Path | None) -> SpecFile:
    document = read_document(text, source)
    found = find_problems(ModelSpec, document.value)
    if not found:
        spec, found = read_expectations(convert(ModelSpec, document.value), folder or Path())
        found = found or semantic_problems(spec)
        if not found:
            return SpecFile(spec, document)
    raise SpecError([document.problem(path, text) for path, text in found])


def load_spec(path: Path | str) -> ModelSpec:
    """The spec in a YAML file. Raises :class:`SpecError` if it cannot be read or used."""
    return _read_file(path).spec


def _read_file(path: Path | str) -> SpecFile:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError([Problem(str(path), "", None, "there is no such file; check the path")]) from None
    except UnicodeDecodeError as error:
        raise SpecError([Problem(str(path), "", None, f"expected text in UTF-8: {error}")]) from None
    except OSError as error:
        raise SpecError([Problem(str(path), "", None, f"cannot read the file: {error.strerror}")]) from None
    return _read(text, str(path), Path(path).parent)


def load_specs(place: Path | str) -> dict[str, ModelSpec]:
    """The specs in a folder, or the one in a file, by model name: those of :func:`read_specs`, which raises."""
    return {file.spec.model: file.spec for file in read_specs(place)}


def read_specs(place: Path | str) -> list[SpecFile]:
    """Every ``*.yaml`` and ``*.yml`` file of a folder, in the order of the file names; or the one file that ``place``
    is, whatever its name.

    Raises :class:`SpecError` with the problems of all files; also if there is no spec, or two specs of a model.
    """
    files: dict[str, SpecFile] = {}
    problems: list[Problem] = []
    for path in _files(Path(place)):
        try:
            file = _read_file(path)
        except SpecError as error:
            problems += error.problems
            continue
        model = file.spec.model
        if model in files:
            text = f"the model {model!r} is also in {files[model].document.source}; keep one of the two files"
            problems.append(Problem(str(path), "model", None, text))
            continue
        files[model] = file
    if problems:
        raise SpecError(problems)
    return list(files.values())


def _files(place: Path) -> list[Path]:
    files: list[Path] = []
    try:
        if place.is_file():
            return [place]
        if place.is_dir():
            files = sorted(path for path in place.iterdir() if path.suffix in (".yaml", ".yml") and path.is_file())
            text = "the folder holds no *.yaml file; write a model spec there"
        elif place.exists():
            text = "expected a folder of model specs, or a file with one spec, and this is neither"
        else:
            text = (
                "there is no such folder or file; put the model specs there or set DRIFTLOOP_SPECS to where they are: "
                "a folder of *.yaml files, or a single file"
            )
    except OSError as error:
        text = f"cannot look for model specs here: {error.strerror}"
    if not files:
        raise SpecError([Problem(str(place), "", None, text)])
    return files


def spec_digest(spec: ModelSpec) -> str:
    """SHA-256 (hex) of the spec as canonical JSON: defaults filled in, keys sorted, but features in the spec's order,
    because that is the order of reports and of training columns."""
    return _digest(msgspec.to_builtins(spec))


def kept_spec_digest(text: str) -> str:
    """The same of a spec that was kept as JSON with its defaults filled in, whatever keys have come since."""
    return _digest(msgspec.json.decode(text, type=dict[str, Any]))


def _digest(content: dict[str, Any]) -> str:
    content["features"] = list(content["features"].items())
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()
