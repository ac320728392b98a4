"""What becomes of a command when files cannot be read or written.

The trainer's files are in two places: the artifact store, and the folder of running trainings. An error there is either
everybody's (the disk is full, the store is read-only or away, the machine has no memory left): then no command can be
carried out, none is to blame, and the trainer waits until it has passed. Or it is this command's (one file of a name
that is taken by a folder, an upload that is larger than what is left): then the others go on, and this one is tried
again, later and later, so many times and no more. Which of both it is, is tried out: by writing, reading
and removing a small file.
"""

from __future__ import annotations

import errno
import secrets
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from driftloop.registry.artifacts import ArtifactStore
from driftloop.registry.errors import ArtifactError

__all__ = ["SharedFiles", "Tries", "told"]

#: Not about a file: the machine has no room for a process, a thread or an open file.
_MACHINE: Final = frozenset({errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOBUFS})
_LONGEST_DELAY_S: Final = 600.0


@dataclass(frozen=True)
class Tries:
    """How often a command is tried whose files cannot be read or written, and how long the first pause is; each one
    after that is twice as long, ten minutes at most."""

    most: int = 8
    first_s: float = 5.0

    def pause_s(self, failed: int) -> float:
        """After so many tries that failed (at least 1).

        >>> [Tries().pause_s(failed) for failed in (1, 2, 3, 8, 5000)]
        [5.0, 10.0, 20.0, 600.0, 600.0]
        """
        return float(min(_LONGEST_DELAY_S, self.first_s * 2.0 ** min(failed - 1, 60)))


class SharedFiles:
    """The places that every command needs. ``now`` gives wall time, for removing what was written to try them."""

    def __init__(self, store: ArtifactStore, folder: Path, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._folder = folder
        self._now = now

    def everybodys(self, error: OSError) -> str | None:
        """Why no command could be carried out now, in a sentence; None: the error is of the one command that met it."""
        if isinstance(error, (ConnectionError, TimeoutError)) or error.errno in _MACHINE:
            return f"a training met {told(error)}"
        return self.problem()

    def problem(self) -> str | None:
        """What keeps every command from being carried out, in a sentence, None if nothing does. Writes a small file to
        both places and removes it."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder) as file:
                file.write(secrets.token_bytes(4_096))
                file.flush()
        except OSError as error:
            return f"the folder of running trainings, {self._folder}, cannot be written: {told(error)}"
        # Names begin with a digest's first digits, and one folder of that name may be what is broken: two are tried.
        said = self._store_problem()
        return said and self._store_problem()

    def _store_problem(self) -> str | None:
        where = self._store.files.where
        try:
            put = self._store.put_bytes(secrets.token_bytes(4_096), ".tried")
        except (OSError, ArtifactError) as error:
            return f"the artifact store {where} cannot be written: {told(error)}"
        try:
            self._store.read(put)
        except (OSError, ArtifactError) as error:
            return f"the artifact store {where} cannot be read: {told(error)}"
        # If it cannot be removed, the garbage collector will.
        with suppress(OSError, ArtifactError):
            self._store.files.remove(put.uri, self._now() + 3_600.0)
        return None


def told(error: Exception) -> str:
    """The error in a line.

    >>> told(PermissionError(13, "Permission denied", "/a/b"))
    "PermissionError: Permission denied: '/a/b'"
    """
    if isinstance(error, OSError) and error.strerror:
        files = [repr(str(name)) for name in (error.filename, error.filename2) if name is not None]
        return f"{type(error).__name__}: {error.strerror}" + (f": {' -> '.join(files)}" if files else "")
    return f"{type(error).__name__}: {error}"
