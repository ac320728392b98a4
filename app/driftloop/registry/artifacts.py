"""Files named by their SHA-256: model files and training sets."""

from __future__ import annotations

import hashlib
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from driftloop.registry.artifact_files import REMOVING, WRITING, ArtifactFiles
from driftloop.registry.errors import ArtifactError
from driftloop.registry.local_files import LocalFiles

__all__ = ["REMOVING", "WRITING", "ArtifactRef", "ArtifactStore"]

_SUFFIX = re.compile(r"(\.[A-Za-z0-9]{1,16}){0,2}")
_URI = re.compile(r"([0-9a-f]{2})/([0-9a-f]{64})((?:\.[A-Za-z0-9]{1,16}){0,2})")


@dataclass(frozen=True)
class ArtifactRef:
    """A file in the store. ``uri`` is its name relative to where the store is; ``size`` is in bytes."""

    uri: str
    sha256: str
    size: int


class ArtifactStore:
    """Files that never change: ``ab/abcdef....skops``, named by the SHA-256 of their content.

    ``place``: a folder, or a URL such as ``s3://bucket/prefix`` for :mod:`.remote_files`. The names are relative, so
    that a folder may be mounted elsewhere on another machine. Nothing outside of the place can be named: a name that is
    no digest is refused, and so is a symbolic link out of a folder.
    """

    def __init__(self, place: Path | str) -> None:
        self.files: ArtifactFiles
        if isinstance(place, str) and "://" in place:
            from driftloop.registry.remote_files import RemoteFiles

            self.files = RemoteFiles(place)
        else:
            self.files = LocalFiles(Path(place))
        self._copies: tempfile.TemporaryDirectory[str] | None = None

    @property
    def folder(self) -> Path:
        """The folder. Raises :class:`ArtifactError` for a store that is none."""
        if not isinstance(self.files, LocalFiles):
            raise ArtifactError(f"the artifacts are in {self.files.where}, which is no folder")
        return self.files.folder

    def put_bytes(self, data: bytes, suffix: str = "") -> ArtifactRef:
        """Store data. The file appears under its name whole or not at all; the same data gives the same name.

        A file that is there already is marked as new, so that :mod:`.garbage` leaves it alone.
        """
        if not _SUFFIX.fullmatch(suffix):
            raise ArtifactError(f"expected a file suffix such as '.skops' or '.parquet', got {suffix!r}")
        digest = hashlib.sha256(data).hexdigest()
        reference = ArtifactRef(f"{digest[:2]}/{digest}{suffix}", digest, len(data))
        self.files.put(reference.uri, data, digest)
        return reference

    def put_beside(self, reference: ArtifactRef, suffix: str, data: bytes) -> str:
        """Store a note about a file that is there under the file's name and one more suffix, such as ``.dvc``. It has
        no digest of its own: it must follow from the file alone, and goes away with it. Returns its name."""
        uri = f"{reference.uri}{suffix}"
        match = _URI.fullmatch(uri)
        if match is None or not suffix:
            raise ArtifactError(f"expected a suffix such as '.dvc' to a name with at most one, got {uri!r}")
        self.files.write(uri, data)
        return uri

    def expect(self, artifact: ArtifactRef | str) -> None:
        """Raise :class:`ArtifactError` if the name is not one of this store's, or there is no such file. It is not
        read."""
        self.files.size(_name(artifact))

    def path(self, artifact: ArtifactRef | str) -> Path:
        """Where the file is in the folder. It is not read: use :meth:`read` for content that is checked.

        Raises :class:`ArtifactError` if the name is not one of this store's, or there is no such file, or the store is
        no folder.
        """
        uri = _name(artifact)
        path = self.folder / uri
        self.files.size(uri)
        return path

    def read(self, artifact: ArtifactRef | str) -> bytes:
        """The content, checked against the digest in the name, and against size and digest of a reference.

        What is given is what was checked, whatever happens to the file. Raises :class:`ArtifactError`.
        """
        uri = self._name_of_right_size(artifact)
        data = self.files.read(uri)
        self._compare(uri, hashlib.sha256(data).hexdigest())
        return data

    def check(self, artifact: ArtifactRef | str) -> None:
        """Raise :class:`ArtifactError` unless :meth:`read` would give the file. Takes little memory."""
        uri = self._name_of_right_size(artifact)
        self._compare(uri, self.files.sha256(uri))

    def open(self, artifact: ArtifactRef | str) -> Path:
        """The path of the file after its digest was checked, for readers that want a file. If the store is no folder,
        it is a copy that goes away with this object."""
        if isinstance(self.files, LocalFiles):
            self.check(artifact)
            return self.path(artifact)
        data = self.read(artifact)
        if self._copies is None:
            self._copies = tempfile.TemporaryDirectory(prefix="driftloop-artifacts-", ignore_cleanup_errors=True)
        copy = Path(self._copies.name) / _name(artifact).rpartition("/")[2]
        copy.write_bytes(data)
        return copy

    def location(self, artifact: ArtifactRef | str) -> str:
        """Where other programs find the file: a path, or a URL."""
        return self.files.shown(_name(artifact))

    def _name_of_right_size(self, artifact: ArtifactRef | str) -> str:
        uri = _name(artifact)
        size = self.files.size(uri)
        if isinstance(artifact, ArtifactRef):
            if artifact.sha256 != uri[3:67]:
                raise ArtifactError(f"the artifact {artifact.uri!r} was expected to have the SHA-256 {artifact.sha256}")
            if size != artifact.size:
                raise ArtifactError(
                    f"the artifact {self.files.shown(uri)} is damaged: it has {size:,} bytes instead of "
                    f"{artifact.size:,}; restore it from a backup"
                )
        return uri

    def _compare(self, uri: str, found: str) -> None:
        if found != uri[3:67]:
            raise ArtifactError(
                f"the artifact {self.files.shown(uri)} is damaged: its SHA-256 is {found}; restore it from a backup"
            )


def _name(artifact: ArtifactRef | str) -> str:
    """The name, if it is one that the store gives."""
    uri = artifact if isinstance(artifact, str) else artifact.uri
    match = _URI.fullmatch(uri)
    if match is None or not match[2].startswith(match[1]):
        raise ArtifactError(f"expected the name of an artifact, such as 'ab/abcd...64 hex digits.skops', got {uri!r}")
    return uri
