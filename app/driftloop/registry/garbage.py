"""Files in the artifact store that nothing refers to any more: finding and removing them.

A file is put into the store first and referred to later. So that none is removed in between:

- only files that were put (or put again) longer than a grace ago are looked at, and none that is younger than a
  training that has not ended;
- references are read again while no version can be registered and no training begin (:mod:`.files_lock`), and files
  are removed before that ends;
- putting a file that is there already marks it as new first; who removes takes the file out of its place, and puts it
  back if it was marked meanwhile. An object store cannot do that: there files are removed only while no training goes
  on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from sqlalchemy import Connection, func, select

from driftloop.registry.artifact_files import StoredFile
from driftloop.registry.artifacts import ArtifactStore
from driftloop.registry.database import reading
from driftloop.registry.errors import RegistryError
from driftloop.registry.files_lock import holding_still
from driftloop.registry.models import Registry
from driftloop.registry.references import mentioned
from driftloop.registry.tables import runs

__all__ = ["Garbage", "StoredFile", "find_garbage", "remove_garbage"]

#: Clocks of the machines that write files and start trainings may differ by this.
_CLOCKS_APART_S = 600.0
#: Removed in one go, which keeps registrations and trainings that begin waiting.
_FILES_AT_ONCE = 500
#: Registrations and trainings wait no longer than about this.
_HELD_FOR_S = 10.0


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
            f"the registry refers to none of the files in {registry.store.files.where}, so it is most likely another "
            "folder's; nothing was removed. Check DRIFTLOOP_DATABASE_URL and DRIFTLOOP_ARTIFACTS"
        )
    files = registry.store.files
    removed: list[StoredFile] = []
    waiting = sorted(file.uri for file in found.files)
    while waiting:
        with holding_still(registry.engine) as connection:
            before_s, started_s = _put_before(connection, now_s, grace_s)
            if started_s is not None and not files.sees_puts_while_removing:
                raise RegistryError(
                    f"a training goes on, and in {files.where} files are removed between trainings only; "
                    f"{len(removed):,} were removed. Try again when it has ended (see 'driftloop runs list')"
                )
            keep = mentioned(connection, registry.store)
            until_s = time.monotonic() + _HELD_FOR_S
            chosen = 0
            while chosen < min(len(waiting), _FILES_AT_ONCE) and time.monotonic() < until_s:
                uri = waiting[chosen]
                chosen += 1
                if _digest_in(uri) not in keep:
                    size = files.remove(uri, before_s)
                    if size is not None:
                        removed.append(StoredFile(uri, size, 0.0))
            del waiting[:chosen]
    put = {file.uri: file.put_s for file in found.files}
    return [StoredFile(file.uri, file.size, put[file.uri]) for file in removed]


def _find(connection: Connection, store: ArtifactStore, now_s: float, grace_s: float) -> Garbage:
    before_s, started_s = _put_before(connection, now_s, grace_s)
    keep = mentioned(connection, store)
    files: list[StoredFile] = []
    foreign: list[str] = []
    young = referred = 0
    for name, entry in store.files.entries():
        if entry is None:
            foreign.append(name)
        elif _digest_in(name) in keep:
            referred += 1
        elif entry.put_s < before_s:
            files.append(entry)
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


def _digest_in(name: str) -> str:
    """The digest that the name of a file begins with; something that is no digest for one that was left behind."""
    return name[3:67]
