"""Reads the file that ``training.expectations`` names, so that the spec, and its digest, hold the suite itself."""

from __future__ import annotations

from pathlib import Path

import msgspec

from driftloop.spec.model import ModelSpec
from driftloop.spec.problems import KeyPath

__all__ = ["read_expectations"]

_KEY: KeyPath = ("training", "expectations")


def read_expectations(spec: ModelSpec, folder: Path) -> tuple[ModelSpec, list[tuple[KeyPath, str]]]:
    """The spec with the suite in place of its path (relative to ``folder``), or what is wrong with the file."""
    named = spec.training.expectations
    if not isinstance(named, str):
        return spec, []
    path = folder / named
    try:
        content = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        return spec, [(_KEY, f"there is no file {path}; the path is relative to the spec's folder")]
    except OSError as error:
        return spec, [(_KEY, f"cannot read {path}: {error.strerror}")]
    except msgspec.DecodeError as error:
        return spec, [(_KEY, f"expected the JSON of a suite of expectations in {path}: {error}")]
    if not isinstance(content, dict):
        return spec, [(_KEY, f"expected a JSON object, a suite of expectations, in {path}")]
    training = msgspec.structs.replace(spec.training, expectations=content)
    return msgspec.structs.replace(spec, training=training), []
