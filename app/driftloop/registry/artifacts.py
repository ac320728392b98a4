"""Files named by their SHA-256: model files and training sets."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from driftloop.registry.errors import ArtifactError

__all__ = ["ArtifactRef", "ArtifactStore"]

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
        """Store data. The file appears under its name whole or not at all; the same data gives the same name."""
        if not _SUFFIX.fullmatch(suffix):
            raise ArtifactError(f"expected a file suffix such as '.skops' or '.parquet', got {suffix!r}")
        digest = hashlib.sha256(data).hexdigest()
        reference = ArtifactRef(f"{digest[:2]}/{digest}{suffix}", digest, len(data))
        target = self.folder / reference.uri
        if target.exists() and _digest(target) == digest:
            return reference
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".writing-")
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
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise ArtifactError(f"the artifact {uri!r} is a link out of {self.folder}; restore the file itself")
        if not path.is_file():
            raise ArtifactError(
                f"the artifact {uri!r} is not in {self.folder}; DRIFTLOOP_ARTIFACTS must be the trainer's folder"
            )
        return path

    def read(self, artifact: ArtifactRef | str) -> bytes:
        """The content, checked against the digest in the name. Raises :class:`ArtifactError`."""
        uri = artifact if isinstance(artifact, str) else artifact.uri
        path = self.path(artifact)
        data = path.read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != uri[3:67]:
            raise ArtifactError(f"the artifact {path} is damaged: its SHA-256 is {found}; restore it from a backup")
        if isinstance(artifact, ArtifactRef) and artifact.sha256 != found:
            raise ArtifactError(f"the artifact {uri!r} was expected to have the SHA-256 {artifact.sha256}")
        return data

    def open(self, artifact: ArtifactRef | str) -> Path:
        """The path of the file after its digest was checked, for readers that want a file."""
        path = self.path(artifact)
        if _digest(path) != path.name[:64]:
            raise ArtifactError(
                f"the artifact {path} is damaged: its SHA-256 is not its name; restore it from a backup"
            )
        return path


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
