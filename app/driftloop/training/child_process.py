"""The process of one training, from its first import to its end (``python -m driftloop.training.child_process``).

It imports what a training needs, waits for a folder on its standard input, works in it and ends. Its end is not left
to the interpreter's teardown: threads of native libraries (Arrow's that read Parquet) may still let go of Python
objects then, and abort a process whose work is done. Of 100 trainings on a busy machine 7 were lost to that.
"""

from __future__ import annotations

import atexit
import faulthandler
import os
import signal
import sys
import threading
from pathlib import Path

__all__ = ["folder_from_parent", "log_into", "main"]

_FAILED, _PARENT_GONE = 1, 75


class _End:
    """Registered before anything else is imported, and so called after everything else that asks to be at the end:
    non-daemon threads have been joined by then, and an exception has been written."""

    def __init__(self) -> None:
        self.code = _FAILED
        atexit.register(self._now)

    def _now(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(self.code)


def main() -> None:
    """Do one job."""
    end = _End()
    from driftloop.training import progress
    from driftloop.training.child_job import NOT_WRITTEN, NotWritten
    from driftloop.training.child_output import LOG, FileListener
    from driftloop.training.child_work import work_in

    folder = folder_from_parent()
    log_into(folder / LOG)
    faulthandler.enable()
    try:
        with progress.listening(FileListener(folder)):
            work_in(folder)
    except NotWritten as error:
        print(error, file=sys.stderr)
        end.code = NOT_WRITTEN
        return
    except SystemExit as error:  # a trainer's own
        end.code = error.code if isinstance(error.code, int) else _FAILED if error.code else 0
        raise
    end.code = 0


def folder_from_parent() -> Path:
    """Waits for the folder. From then on a thread waits for the parent's end."""
    # Not sys.stdin: its lock, held by that thread for good, would abort the interpreter's own shutdown.
    line = b""
    while not line.endswith(b"\n"):
        read = os.read(0, 4096)
        if not read:
            os._exit(_PARENT_GONE)
        line += read
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    return Path(line.decode().rstrip("\n"))


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    if os.getpgrp() == os.getpid():  # with the processes that a training has started
        os.killpg(0, signal.SIGKILL)
    os._exit(_PARENT_GONE)


def log_into(path: Path) -> None:
    """What this process and its libraries write goes into the file."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(handle, number)


if __name__ == "__main__":
    main()
