"""Files in the artifact store that nothing refers to any more: finding and removing them.

A file is put into the store first and referred to later. So that none is removed in between:

- only files that were put (or put again) longer than a grace ago are looked at, and none that is younger than a
  training that has not ended;
- references are read again in the transaction that removes, and no version can be registered meanwhile;
- putting a file that is there already marks it as new first; who removes takes the file out of its place, and puts it
  back if it was marked meanwhile.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, func, select

from driftloop.registry.artifacts import REMOVING, WRITING, ArtifactStore
from driftloop.registry.database import reading, writing
from driftloop.registry.errors import RegistryError
from driftloop.registry.models import Registry
from driftloop.registry.references import hold_still, mentioned
from driftloop.registry.tables import runs

__all__ = ["Garbage", "StoredFile", "find_garbage", "remove_garbage"]

_FOLDER = re.compile(r"[0-9a-f]{2}")
_NAME = re.compile(r"([0-9a-f]{64})(?:\.[A-Za-z0-9]{1,16}){0,2}")
#: Clocks of the machines that write files and start trainings may differ by this.
_CLOCKS_APART_S = 600.0
#: Removed in one transaction, which keeps writers of the registry waiting.
_FILES_AT_ONCE = 500


@dataclass(frozen=True)
class StoredFile:
    """A file of the store: its name in it, size in bytes, and when it was last put (seconds since 1970)."""

    uri: str
    size: int
    put_s: float


@dataclass(frozen=True)
class Garbage:
    """``files``: unreferenced and old enough. ``young``: how many unreferenced ones are not old enough yet.
    ``referred``: how many are referred to. ``foreign``: names in the folder that are not the store's; never touched.
    ``waits_for``: start (seconds since 1970) of an unfinished training that keeps younger files, if it matters."""

    files: list[StoredFile] = field(default_factory=list)
    young: int = 0
    referred: int = 0
    foreign: list[str] = field(default_factory=list)
    waits_for: float | None = None


def find_garbage(registry: Registry, *, now_s: float, grace_s: float) -> Garbage:
    """What :func:`remove_garbage` would remove. Changes nothing."""
    with reading(registry.engine) as connection:
        return _find(connection, registry.store, now_s, grace_s)


def remove_garbage(registry: Registry, *, now_s: float, grace_s: float) -> list[StoredFile]:
    """Remove files that nothing refers to and that were put more than ``grace_s`` seconds before ``now_s``.

    Returns those that were removed. Raises :class:`RegistryError` and removes nothing if the registry refers to no file
    that is there: then it is most likely not the registry of this folder.
    """
    found = find_garbage(registry, now_s=now_s, grace_s=grace_s)
    if found.files and not found.referred:
        raise RegistryError(
            f"the registry refers to none of the files in {registry.store.folder}, so it is most likely another "
            "folder's; nothing was removed. Check DRIFTLOOP_DATABASE_URL and DRIFTLOOP_ARTIFACTS"
        )
    removed: list[StoredFile] = []
    for start in range(0, len(found.files), _FILES_AT_ONCE):
        chosen = {file.uri for file in found.files[start : start + _FILES_AT_ONCE]}
        with writing(registry.engine) as connection:
            hold_still(connection)
            before_s = _put_before(connection, now_s, grace_s)[0]
            keep = mentioned(connection, registry.store)
            for uri in sorted(chosen):
                path = registry.store.folder / uri
                if path.name[:64] not in keep:
                    size = _remove(path, before_s)
                    if size is not None:
                        removed.append(StoredFile(uri, size, 0.0))
    put = {file.uri: file.put_s for file in found.files}
    return [StoredFile(file.uri, file.size, put[file.uri]) for file in removed]


def _find(connection: Connection, store: ArtifactStore, now_s: float, grace_s: float) -> Garbage:
    before_s, started_s = _put_before(connection, now_s, grace_s)
    keep = mentioned(connection, store)
    files: list[StoredFile] = []
    foreign: list[str] = []
    young = referred = 0
    for name, entry in _entries(store):
        if entry is None:
            foreign.append(name)
        elif entry.name[:64] in keep:
            referred += 1
        else:
            status = entry.stat(follow_symlinks=False)
            if status.st_mtime < before_s:
                files.append(StoredFile(name, status.st_size, status.st_mtime))
            else:
                young += 1
    waits_for = started_s if young and started_s is not None and started_s < now_s - grace_s else None
    return Garbage(sorted(files, key=lambda file: file.uri), young, referred, sorted(foreign), waits_for)


def _put_before(connection: Connection, now_s: float, grace_s: float) -> tuple[float, float | None]:
    """Before when a file must have been put to be removed, and when the oldest training that goes on has started."""
    started_ms = connection.execute(select(func.min(runs.c.started_wall_ms)).where(runs.c.outcome.is_(None))).scalar()
    if started_ms is None:
        return now_s - grace_s, None
    return min(now_s - grace_s, started_ms / 1000 - _CLOCKS_APART_S), started_ms / 1000


def _entries(store: ArtifactStore) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
    """Everything in the store: its name, and the file, or None if it is not one of the store's. Links are not
    followed."""
    if not store.folder.is_dir():
        return
    with os.scandir(store.folder) as outer:
        for folder in outer:
            if not (_FOLDER.fullmatch(folder.name) and folder.is_dir(follow_symlinks=False)):
                yield folder.name, None
                continue
            with os.scandir(folder.path) as inner:
                for entry in inner:
                    match = _NAME.fullmatch(entry.name)
                    ours = entry.name.startswith((WRITING, REMOVING)) or (match and match[1][:2] == folder.name)
                    ours = ours and entry.is_file(follow_symlinks=False)
                    yield f"{folder.name}/{entry.name}", entry if ours else None


def _remove(path: Path, before_s: float) -> int | None:
    """Remove the file unless it was put again since. Returns its size, None if it stays or is gone already."""
    aside = path.with_name(f"{REMOVING}{secrets.token_hex(8)}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return None
    status = aside.stat(follow_symlinks=False)
    if status.st_mtime >= before_s and not path.exists():
        aside.rename(path)
        return None
    aside.unlink()
    if status.st_mtime >= before_s:  # put anew in the meantime
        return None
    return status.st_size
