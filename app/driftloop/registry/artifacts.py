"""Files named by their SHA-256: model files and training sets."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from driftloop.registry.errors import ArtifactError

__all__ = ["REMOVING", "WRITING", "ArtifactRef", "ArtifactStore"]

#: How files are named that are being written, and that are being removed (garbage.py).
WRITING = ".writing-"
REMOVING = ".removing-"

_SUFFIX = re.compile(r"(\.[A-Za-z0-9]{1,16}){0,2}")
_URI = re.compile(r"([0-9a-f]{2})/([0-9a-f]{64})((?:\.[A-Za-z0-9]{1,16}){0,2})")


@dataclass(frozen=True)
class ArtifactRef:
    """A file in the store. ``uri`` is its name relative to the store's folder; ``size`` is in bytes."""

    uri: str
    sha256: str
    size: int


class ArtifactStore:
    """A folder of files that never change: ``ab/abcdef....skops``, named by the SHA-256 of their content.

    The names are relative, so that the folder may be mounted elsewhere on another machine. Nothing outside of the
    folder can be named: a name that is no digest is refused, and so is a symbolic link out of the folder.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def put_bytes(self, data: bytes, suffix: str = "") -> ArtifactRef:
        """Store data. The file appears under its name whole or not at all; the same data gives the same name.

        A file that is there already is marked as new, so that :mod:`.garbage` leaves it alone.
        """
        if not _SUFFIX.fullmatch(suffix):
            raise ArtifactError(f"expected a file suffix such as '.skops' or '.parquet', got {suffix!r}")
        digest = hashlib.sha256(data).hexdigest()
        reference = ArtifactRef(f"{digest[:2]}/{digest}{suffix}", digest, len(data))
        target = self.folder / reference.uri
        if self._has(target, reference):
            return reference
        target.parent.mkdir(parents=True, exist_ok=True)
        self._check_inside(target.parent, reference.uri)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=WRITING)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
        return reference

    def put_beside(self, reference: ArtifactRef, suffix: str, data: bytes) -> str:
        """Store a note about a file that is there under the file's name and one more suffix, such as ``.dvc``. It has
        no digest of its own: it must follow from the file alone, and goes away with it. Returns its name."""
        uri = f"{reference.uri}{suffix}"
        match = _URI.fullmatch(uri)
        if match is None or not suffix:
            raise ArtifactError(f"expected a suffix such as '.dvc' to a name with at most one, got {uri!r}")
        target = self.folder / uri
        self._check_inside(target.parent, uri)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=WRITING)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return uri

    def path(self, artifact: ArtifactRef | str) -> Path:
        """Where the file is. It is not read: use :meth:`read` for content that is checked.

        Raises :class:`ArtifactError` if the name is not one of this store's, or there is no such file.
        """
        uri = artifact if isinstance(artifact, str) else artifact.uri
        match = _URI.fullmatch(uri)
        if match is None or not match[2].startswith(match[1]):
            raise ArtifactError(
                f"expected the name of an artifact, such as 'ab/abcd...64 hex digits.skops', got {uri!r}"
            )
        path = self.folder / uri
        self._check_inside(path, uri)
        if not path.is_file():
            raise ArtifactError(
                f"the artifact {uri!r} is not in {self.folder}; DRIFTLOOP_ARTIFACTS must be the trainer's folder"
            )
        return path

    def _has(self, target: Path, reference: ArtifactRef) -> bool:
        """Whether the file is there and whole; if so, it is marked as new before that is found out."""
        try:
            os.utime(target)
            self._check_inside(target, reference.uri)
            return _digest(target) == reference.sha256
        except (FileNotFoundError, PermissionError):
            # Not there, removed just now, or another account's: then it is written anew.
            return False

    def _check_inside(self, path: Path, uri: str) -> None:
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise ArtifactError(f"the artifact {uri!r} is a link out of {self.folder}; restore the file itself")

    def read(self, artifact: ArtifactRef | str) -> bytes:
        """The content, checked against the digest in the name, and against size and digest of a reference.

        What is given is what was checked, whatever happens to the file. Raises :class:`ArtifactError`.
        """
        path = self._path_of_right_size(artifact)
        data = path.read_bytes()
        _compare(path, hashlib.sha256(data).hexdigest())
        return data

    def check(self, artifact: ArtifactRef | str) -> None:
        """Raise :class:`ArtifactError` unless :meth:`read` would give the file. Takes little memory."""
        path = self._path_of_right_size(artifact)
        _compare(path, _digest(path))

    def open(self, artifact: ArtifactRef | str) -> Path:
        """The path of the file after its digest was checked, for readers that want a file."""
        self.check(artifact)
        return self.path(artifact)

    def _path_of_right_size(self, artifact: ArtifactRef | str) -> Path:
        path = self.path(artifact)
        if isinstance(artifact, ArtifactRef):
            if artifact.sha256 != path.name[:64]:
                raise ArtifactError(f"the artifact {artifact.uri!r} was expected to have the SHA-256 {artifact.sha256}")
            size = path.stat().st_size
            if size != artifact.size:
                raise ArtifactError(
                    f"the artifact {path} is damaged: it has {size:,} bytes instead of {artifact.size:,}; restore it "
                    "from a backup"
                )
        return path


def _compare(path: Path, found: str) -> None:
    if found != path.name[:64]:
        raise ArtifactError(f"the artifact {path} is damaged: its SHA-256 is {found}; restore it from a backup")


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
