"""A PostgreSQL server of the tests' own, from the machine's binaries, on a loopback port, without durability."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["PostgresServer", "find_binaries", "running_postgres"]

_START_TIMEOUT_S = 30.0


def find_binaries() -> Path | None:
    """The folder of ``initdb`` and ``postgres``, or None if there is no PostgreSQL server here.

    Root may not run PostgreSQL; then an account ``postgres`` and ``runuser`` are needed as well.
    """
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = next(
        (folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None
    )
    if found is not None and os.geteuid() == 0 and not (shutil.which("runuser") and _has_account()):
        return None
    return found


def _has_account() -> bool:
    return subprocess.run(["id", "postgres"], capture_output=True, check=False).returncode == 0


class PostgresServer:
    """One server with its data in ``folder`` (empty at first); port and data stay when it is stopped and started."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self._folder = folder
        as_root = os.geteuid() == 0
        self._account = "postgres" if as_root else getpass.getuser()
        self._prefix = ["runuser", "-u", self._account, "--"] if as_root else []
        self._server: subprocess.Popen[bytes] | None = None
        self._paused: list[int] = []
        if as_root:
            shutil.chown(folder, self._account)
        subprocess.run(
            [*self._prefix, str(binaries / "initdb"), "-D", str(self._data), "-A", "trust", "-U", self._account, "-N"],
            check=True,
            capture_output=True,
            cwd="/",
            timeout=60,
        )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]

    @property
    def url(self) -> str:
        return f"postgresql://{self._account}@127.0.0.1:{self._port}/postgres"

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def start(self) -> None:
        """Returns when it takes connections."""
        folder, port = self._folder, self._port
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", f"unix_socket_directories={folder}"]
        log = folder.parent / f"{folder.name}.log"
        with log.open("wb") as output:
            self._server = subprocess.Popen(
                [*self._prefix, str(self._binaries / "postgres"), "-D", str(self._data), "-p", str(port), *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
            )
        _wait(self._server, port, log)

    def stop(self) -> None:
        """At once: clients lose their connections, and what was committed stays."""
        if self._server is None:
            return
        self.resume()
        postmaster = self._postmaster()
        os.kill(postmaster, signal.SIGINT)  # "fast": SIGTERM would wait for clients
        try:
            self._server.wait(20)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait(10)
        self._server = None

    def pause(self) -> None:
        """SIGSTOP of all its processes: connections stay open, new ones are not refused, nothing answers."""
        # The postmaster first: then no others come.
        os.kill(postmaster := self._postmaster(), signal.SIGSTOP)
        self._paused = [postmaster, *_children(postmaster)]
        for process in self._paused[1:]:
            os.kill(process, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT of those that were paused."""
        if self._paused and self._server is not None:
            # runuser stops itself when what it runs is stopped.
            os.kill(self._server.pid, signal.SIGCONT)
        for process in self._paused:
            # One that was about to end is gone as soon as the postmaster, the first of them, goes on.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)
        self._paused = []

    def _postmaster(self) -> int:
        return int((self._data / "postmaster.pid").read_text().split()[0])


def _children(parent: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


@contextmanager
def running_postgres(binaries: Path, folder: Path) -> Iterator[str]:
    """Runs a server with its data in ``folder`` (which must be empty). Gives its URL; stops it at the end."""
    server = PostgresServer(binaries, folder)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended with {server.returncode}: {log.read_text(errors='replace')[-2000:]}")
        if "ready to accept connections" in log.read_text(errors="replace"):
            return
        time.sleep(0.1)
    raise RuntimeError(f"PostgreSQL is not ready on port {port} after {_START_TIMEOUT_S:g} s")
