"""Artifacts in a folder."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

from driftloop.registry.artifact_files import REMOVING, WRITING, StoredFile, ours
from driftloop.registry.errors import ArtifactError

__all__ = ["LocalFiles"]

_FOLDER = re.compile(r"[0-9a-f]{2}")


class LocalFiles:
    """See :class:`~driftloop.registry.artifact_files.ArtifactFiles`. Files appear by renaming and are flushed to disk
    before; links out of the folder are refused, for reading and for writing."""

    sees_puts_while_removing = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.where = str(folder)

    def put(self, uri: str, data: bytes, sha256: str) -> None:
        target = self.folder / uri
        if self._has(target, uri, sha256):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        self._replace(target, uri, data, durable=True)
        _sync_folder(target.parent)

    def write(self, uri: str, data: bytes) -> None:
        self._replace(self.folder / uri, uri, data, durable=False)

    def _replace(self, target: Path, uri: str, data: bytes, *, durable: bool) -> None:
        self._check_inside(target.parent, uri)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=WRITING)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                if durable:
                    stream.flush()
                    os.fsync(stream.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _has(self, target: Path, uri: str, sha256: str) -> bool:
        """Whether the file is there and whole; if so, it is marked as new before that is found out."""
        try:
            os.utime(target)
            self._check_inside(target, uri)
            return _digest(target) == sha256
        except (FileNotFoundError, PermissionError):
            # Not there, removed just now, or another account's: then it is written anew.
            return False
        except OSError as error:
            # That of os.utime does not say of which file it is.
            error.filename = error.filename or str(target)
            raise

    def _check_inside(self, path: Path, uri: str) -> None:
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise ArtifactError(f"the artifact {uri!r} is a link out of {self.folder}; restore the file itself")

    def _path(self, uri: str) -> Path:
        path = self.folder / uri
        self._check_inside(path, uri)
        if not path.is_file():
            raise ArtifactError(
                f"the artifact {uri!r} is not in {self.folder}; DRIFTLOOP_ARTIFACTS must be the trainer's folder"
            )
        return path

    def size(self, uri: str) -> int:
        return self._path(uri).stat().st_size

    def read(self, uri: str) -> bytes:
        return self._path(uri).read_bytes()

    def sha256(self, uri: str) -> str:
        return _digest(self._path(uri))

    def shown(self, uri: str) -> str:
        return str(self.folder / uri)

    def entries(self) -> Iterator[tuple[str, StoredFile | None]]:
        """Links are not followed."""
        if not self.folder.is_dir():
            return
        with os.scandir(self.folder) as outer:
            for folder in outer:
                if not (_FOLDER.fullmatch(folder.name) and folder.is_dir(follow_symlinks=False)):
                    yield folder.name, None
                    continue
                with os.scandir(folder.path) as inner:
                    for entry in inner:
                        name = f"{folder.name}/{entry.name}"
                        known = entry.name.startswith((WRITING, REMOVING)) or ours(name)
                        if known and entry.is_file(follow_symlinks=False):
                            status = entry.stat(follow_symlinks=False)
                            yield name, StoredFile(name, status.st_size, status.st_mtime)
                        else:
                            yield name, None

    def remove(self, uri: str, before_s: float) -> int | None:
        """The file is taken out of its place before its age is looked at, and put back if it was put meanwhile."""
        path = self.folder / uri
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

    def problem(self) -> str | None:
        if not self.folder.exists():
            return None
        return None if self.folder.is_dir() else f"{self.folder} is no folder; set DRIFTLOOP_ARTIFACTS to one"


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make the new name itself durable; the content already is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
