"""Puts a training set into the artifact store: the Parquet file, its manifest, and a pointer for DVC on request."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from driftloop.registry.artifacts import ArtifactStore
from driftloop.spec.model import ModelSpec
from driftloop.training import progress
from driftloop.training.dataset import TrainingSet
from driftloop.training.dataset_manifest import DatasetQuery

__all__ = ["dvc_pointer", "keep_dataset"]

DVC_SUFFIX = ".dvc"


def keep_dataset(
    store: ArtifactStore, spec: ModelSpec, data: TrainingSet, *, topic: str, query: DatasetQuery
) -> tuple[bytes, dict[str, Any]]:
    """The Parquet file's bytes, and what a version's lineage says of the data set: the names of file and manifest, and
    the manifest without its statistics."""
    parquet = data.to_parquet()
    stored = store.put_bytes(parquet, ".parquet")
    if spec.training.dvc:
        store.put_beside(stored, DVC_SUFFIX, dvc_pointer(parquet, stored.uri.rpartition("/")[2]))
    manifest = data.manifest(
        spec,
        topic=topic,
        query=msgspec.structs.replace(query, code_version=query.code_version or _code_version()),
        sha256=stored.sha256,
        size=stored.size,
        dvc=spec.training.dvc,
    )
    kept = store.put_bytes(msgspec.json.encode(manifest), ".json")
    progress.kept("dataset", stored.uri)
    progress.kept("manifest", kept.uri)
    content = msgspec.to_builtins(manifest)
    del content["statistics"]
    return parquet, {"uri": stored.uri, "manifest_uri": kept.uri, **content}


def dvc_pointer(data: bytes, name: str) -> bytes:
    """The ``.dvc`` file of a file with this content, as ``dvc add`` of DVC 3 writes it; the path is relative to where
    the pointer lies.

    >>> print(dvc_pointer(b"hello", "hello.txt").decode(), end="")
    outs:
    - md5: 5d41402abc4b2a76b9719d911017c592
      size: 5
      hash: md5
      path: hello.txt
    """
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return f"outs:\n- md5: {digest}\n  size: {len(data)}\n  hash: md5\n  path: {name}\n".encode()


def _code_version() -> str:
    try:
        return f"driftloop {version('driftloop')}"
    except PackageNotFoundError:
        return "driftloop"
