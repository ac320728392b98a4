"""Reading model specs from YAML, with errors that name the file, the key, and what was expected."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from driftloop.spec.document import read_document
from driftloop.spec.expectation_file import read_expectations
from driftloop.spec.model import ModelSpec
from driftloop.spec.problems import Problem, SpecError
from driftloop.spec.semantics import semantic_problems
from driftloop.spec.shape import convert, find_problems

__all__ = ["SpecError", "kept_spec_digest", "load_spec", "load_specs", "parse_spec", "spec_digest"]


def parse_spec(text: str, source: str = "<text>", folder: Path | None = None) -> ModelSpec:
    """The spec in a YAML text; ``source`` names it in errors, files that it names are relative to ``folder``.

    Raises :class:`SpecError` that lists everything that is wrong.

    >>> parse_spec("{model: churn, task: binary, features: {age: {kind: numeric}}}").window_ms
    86400000
    """
    document = read_document(text, source)
    found = find_problems(ModelSpec, document.value)
    if not found:
        spec, found = read_expectations(convert(ModelSpec, document.value), folder or Path())
        found = found or semantic_problems(spec)
        if not found:
            return spec
    raise SpecError([document.problem(path, text) for path, text in found])


def load_spec(path: Path | str) -> ModelSpec:
    """The spec in a YAML file. Raises :class:`SpecError` if it cannot be read or used."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError([Problem(str(path), "", None, "there is no such file; check the path")]) from None
    except UnicodeDecodeError as error:
        raise SpecError([Problem(str(path), "", None, f"expected text in UTF-8: {error}")]) from None
    except OSError as error:
        raise SpecError([Problem(str(path), "", None, f"cannot read the file: {error.strerror}")]) from None
    return parse_spec(text, str(path), Path(path).parent)


def load_specs(folder: Path | str) -> dict[str, ModelSpec]:
    """Every ``*.yaml`` and ``*.yml`` file of a folder, by model name, in the order of the file names.

    Raises :class:`SpecError` with the problems of all files; also if the folder holds no spec or two specs of a model.
    """
    folder = Path(folder)
    if not folder.is_dir():
        text = "there is no such folder; put the model specs there or set DRIFTLOOP_SPECS to where they are"
        raise SpecError([Problem(str(folder), "", None, text)])
    files = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml") and path.is_file())
    if not files:
        raise SpecError([Problem(str(folder), "", None, "the folder holds no *.yaml file; write a model spec there")])
    specs: dict[str, ModelSpec] = {}
    origin: dict[str, Path] = {}
    problems: list[Problem] = []
    for path in files:
        try:
            spec = load_spec(path)
        except SpecError as error:
            problems += error.problems
            continue
        if spec.model in specs:
            text = f"the model {spec.model!r} is also in {origin[spec.model]}; keep one of the two files"
            problems.append(Problem(str(path), "model", None, text))
            continue
        specs[spec.model], origin[spec.model] = spec, path
    if problems:
        raise SpecError(problems)
    return specs


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
