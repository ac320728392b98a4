"""Artifacts in an object store, through fsspec: ``s3://bucket/prefix``, ``gs://``, ``az://``, ``memory://``.

An object appears whole when its upload ends, and its time of modification says when it was put last; putting it again
uploads it again. What there is no portable means for is taking an object away unless it was put at this moment: so
files are removed only while nothing can be put (see :mod:`.garbage`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import fsspec

from driftloop.registry.artifact_files import StoredFile, ours
from driftloop.registry.errors import ArtifactError

__all__ = ["RemoteFiles", "url_problem"]

_EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "abfs": "azure",
    "abfss": "azure",
    "adl": "azure",
}
#: Under these names fsspec's implementations tell when a file was modified; others have a call for it.
_MODIFIED = ("LastModified", "last_modified", "mtime", "updated")
_PIECE_BYTES = 2**20


def url_problem(url: str) -> str | None:
    """What is wrong with a URL of artifacts, None if nothing is. What it says holds nothing of the URL but its scheme.

    >>> url_problem("s3://bucket/driftloop")
    >>> url_problem("s3://KEY:SECRET@bucket")
    'expected an s3:// URL without a password: credentials are taken from the environment and the files of its library'
    """
    scheme = url.partition("://")[0]
    if not scheme.isalnum() or "::" in url:
        return "expected a path, or one URL such as s3://bucket/prefix"
    if scheme in {"file", "local"}:
        return f"expected a path instead of a {scheme}:// URL: write the folder's path as it is"
    parts = url.partition("://")[2]
    where, _, path = parts.partition("/")
    if ":" in where.rpartition("@")[0]:
        return (
            f"expected an {scheme}:// URL without a password: credentials are taken from the environment and the "
            "files of its library"
        )
    if "?" in parts or "#" in parts:
        return f"expected an {scheme}:// URL without parameters: they are set by variables of its library"
    if ".." in path.split("/"):
        return f"expected an {scheme}:// URL without '..'"
    if scheme != "memory" and not where:
        return f"expected the bucket or container in the {scheme}:// URL"
    return None


class RemoteFiles:
    """See :class:`~driftloop.registry.artifact_files.ArtifactFiles`. Raises :class:`ArtifactError` if the URL cannot
    be used, or what implements its scheme is not installed."""

    sees_puts_while_removing = False

    def __init__(self, url: str) -> None:
        problem = url_problem(url)
        if problem:
            raise ArtifactError(f"DRIFTLOOP_ARTIFACTS: {problem}")
        self.where = url.rstrip("/")
        scheme = urlsplit(url).scheme
        try:
            implementation = fsspec.get_filesystem_class(scheme)
        except ImportError as error:
            extra = _EXTRAS.get(scheme)
            what = f"install driftloop[{extra}]" if extra else f"install what fsspec needs for it ({error})"
            raise ArtifactError(
                f"DRIFTLOOP_ARTIFACTS is an {scheme}:// URL, whose library is missing: {what}"
            ) from None
        except ValueError:
            raise ArtifactError(f"DRIFTLOOP_ARTIFACTS: fsspec knows no {scheme}:// URLs") from None
        self._root = str(implementation._strip_protocol(self.where)).rstrip("/")
        options: dict[str, Any] = implementation._get_kwargs_from_urls(self.where)
        # Another process may have put or removed a file since a listing.
        self._fs = implementation(**options, use_listings_cache=False)

    def put(self, uri: str, data: bytes, sha256: str) -> None:
        """What is there under this name is the same or damaged: so it is written in any case, which marks it as new."""
        self.write(uri, data)
        found = self.size(uri)
        if found != len(data):
            raise OSError(f"{self.shown(uri)} has {found:,} bytes after {len(data):,} were written")

    def write(self, uri: str, data: bytes) -> None:
        path = self._path(uri)
        with self._asking(uri, writing=True):
            self._fs.pipe_file(path, data)

    def size(self, uri: str) -> int:
        with self._asking(uri):
            return int(self._info(uri)["size"])

    def read(self, uri: str) -> bytes:
        with self._asking(uri):
            return bytes(self._fs.cat_file(self._path(uri)))

    def sha256(self, uri: str) -> str:
        digest = hashlib.sha256()
        with self._asking(uri), self._fs.open(self._path(uri), "rb", block_size=_PIECE_BYTES) as stream:
            while piece := stream.read(_PIECE_BYTES):
                digest.update(piece)
        return digest.hexdigest()

    def shown(self, uri: str) -> str:
        return f"{self.where}/{uri}"

    def entries(self) -> Iterator[tuple[str, StoredFile | None]]:
        try:
            with self._asking(""):
                self._fs.invalidate_cache()
                found: dict[str, dict[str, Any]] = self._fs.find(self._root, detail=True)
        except ArtifactError:  # nothing was put yet
            return
        for path, info in sorted(found.items()):
            name = path.removeprefix(self._root).lstrip("/")
            if ours(name):
                yield name, StoredFile(name, int(info["size"]), self._modified_s(info))
            else:
                yield name, None

    def remove(self, uri: str, before_s: float) -> int | None:
        try:
            with self._asking(uri):
                info = self._info(uri)
                if self._modified_s(info) >= before_s:
                    return None
                self._fs.rm_file(self._path(uri))
        except ArtifactError:  # gone already
            return None
        return int(info["size"])

    def problem(self) -> str | None:
        try:
            with self._asking(""):
                self._fs.invalidate_cache()
                self._fs.ls(self._root, detail=False)
        except ArtifactError:
            # A prefix under which nothing was put yet looks the same as a bucket that is not there.
            return None if self._bucket_answers() else f"{self.where}: there is no such bucket or container"
        except OSError as error:
            return str(error)
        return None

    def _bucket_answers(self) -> bool:
        if urlsplit(self.where).scheme == "memory":
            return True
        try:
            with self._asking(""):
                self._fs.ls(self._root.partition("/")[0], detail=False)
        except (ArtifactError, OSError):
            return False
        return True

    def _path(self, uri: str) -> str:
        return f"{self._root}/{uri}"

    def _info(self, uri: str) -> dict[str, Any]:
        self._fs.invalidate_cache()
        info: dict[str, Any] = self._fs.info(self._path(uri))
        if info.get("type") == "directory":
            raise FileNotFoundError(uri)
        return info

    def _modified_s(self, info: dict[str, Any]) -> float:
        value = next((info[key] for key in _MODIFIED if info.get(key) is not None), None)
        if value is None:
            try:
                value = self._fs.modified(info["name"])
            except NotImplementedError:
                raise OSError(f"{self.where} does not tell when files were put, so none can be removed") from None
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        return float(value)

    @contextmanager
    def _asking(self, uri: str, *, writing: bool = False) -> Iterator[None]:
        """A file that is not there is an :class:`ArtifactError`; all else that goes wrong is an :class:`OSError`: the
        place is away, and the same may succeed later."""
        try:
            yield
        except FileNotFoundError as error:
            if writing:
                raise OSError(f"{self.where}: there is no such bucket or container: {error}") from error
            raise ArtifactError(
                f"the artifact {uri!r} is not in {self.where}; DRIFTLOOP_ARTIFACTS must be the trainer's"
            ) from None
        except ArtifactError:
            raise
        except (
            Exception
        ) as error:  # the libraries raise what they like: botocore's errors have no common base with ours
            raise OSError(
                f"{self.where} cannot be used: {type(error).__name__}: {error}; check DRIFTLOOP_ARTIFACTS and the "
                "credentials in the environment"
            ) from error
