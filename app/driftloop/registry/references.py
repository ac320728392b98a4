"""Which files of the artifact store the registry refers to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from sqlalchemy import Column, Connection, select

from driftloop.registry.artifacts import ArtifactRef, ArtifactStore
from driftloop.registry.errors import ArtifactError
from driftloop.registry.tables import alias_history, commands, handovers, model_versions, runs

__all__ = ["REFERRING", "damaged_files", "mentioned"]

_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_URI = re.compile(r'(?<![0-9a-f])([0-9a-f]{2})/(\1[0-9a-f]{62}(?:\.[A-Za-z0-9]{1,16}){0,2})(?=")')
#: A manifest that is larger is not one of ours, and is not searched.
_MANIFEST_BYTES = 64 * 2**20

#: Where files are referred to. Whatever looks like a SHA-256 in one of these keeps the file of that name. A new column
#: that names files belongs here (a test asks for it by the column's name).
REFERRING: tuple[Column[object], ...] = (
    model_versions.c.artifact_uri,
    model_versions.c.artifact_sha256,
    model_versions.c.lineage,
    model_versions.c.metrics,
    model_versions.c.gates,
    runs.c.command,
    runs.c.reason,
    runs.c.files,
    commands.c.body,
    handovers.c.request,
    handovers.c.body,
    handovers.c.result,
    alias_history.c.reason,
)


def mentioned(connection: Connection, store: ArtifactStore) -> set[str]:
    """Every SHA-256 that the registry mentions, and those that the manifests (``.json``) among these mention."""
    found: set[str] = set()
    for column in REFERRING:
        statement = select(column).where(column.is_not(None)).execution_options(yield_per=500)
        rows = connection.execute(statement).scalars()
        for value in rows:
            found.update(_digests(value if isinstance(value, bytes) else str(value).encode()))
    manifests = _manifests(store)
    new = found
    while new:
        new = set(_in_manifests(new & manifests.keys(), manifests, store)) - found
        found |= new
    return found


def _digests(data: bytes) -> Iterator[str]:
    return (digest.decode() for digest in _DIGEST.findall(data))


def _manifests(store: ArtifactStore) -> dict[str, str]:
    """Digest and name of the manifests that are there. One listing costs less than a request for each digest."""
    return {
        name[3:67]: name
        for name, entry in store.files.entries()
        if entry is not None and name[67:] == ".json" and entry.size <= _MANIFEST_BYTES
    }


def _in_manifests(digests: Iterable[str], manifests: dict[str, str], store: ArtifactStore) -> Iterator[str]:
    for digest in digests:
        try:
            yield from _digests(store.files.read(manifests[digest]))
        except ArtifactError:
            continue  # gone since


def damaged_files(connection: Connection, store: ArtifactStore) -> list[str]:
    """What is wrong with files that versions refer to, as sentences: model files, data sets, manifests. Reads each."""
    columns = (
        model_versions.c.model_id,
        model_versions.c.version,
        model_versions.c.artifact_uri,
        model_versions.c.artifact_sha256,
        model_versions.c.artifact_size,
        model_versions.c.lineage,
    )
    problems: list[str] = []
    seen: set[str] = set()
    for row in connection.execute(select(*columns).order_by(model_versions.c.model_id, model_versions.c.sequence)):
        wanted: list[ArtifactRef | str] = [f"{match[1]}/{match[2]}" for match in _URI.finditer(row.lineage)]
        if row.artifact_uri is not None:
            wanted.insert(0, ArtifactRef(row.artifact_uri, row.artifact_sha256, row.artifact_size))
        for artifact in wanted:
            uri = artifact if isinstance(artifact, str) else artifact.uri
            if uri in seen:
                continue
            seen.add(uri)
            try:
                store.check(artifact)
            except (ArtifactError, OSError) as error:
                problems.append(f"{row.model_id} {row.version}: {error}")
    return problems
