"""A PostgreSQL server of the tests' own, from the machine's binaries, on a loopback port, without durability."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["find_binaries", "running_postgres"]

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


@contextmanager
def running_postgres(binaries: Path, folder: Path) -> Iterator[str]:
    """Runs a server with its data in ``folder`` (which must be empty). Gives its URL; stops it at the end."""
    as_root = os.geteuid() == 0
    account = "postgres" if as_root else getpass.getuser()
    prefix = ["runuser", "-u", account, "--"] if as_root else []
    if as_root:
        shutil.chown(folder, account)
    data = folder / "data"
    subprocess.run(
        [*prefix, str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", account, "--no-sync"],
        check=True,
        capture_output=True,
        cwd="/",
        timeout=60,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", f"unix_socket_directories={folder}"]
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        server = subprocess.Popen(
            [*prefix, str(binaries / "postgres"), "-D", str(data), "-p", str(port), *options],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd="/",
        )
    try:
        _wait(server, port, Path(log.name))
        yield f"postgresql://{account}@127.0.0.1:{port}/postgres"
    finally:
        # SIGTERM would wait for clients; the data is thrown away anyway. runuser hands the signal on.
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(10)


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended with {server.returncode}: {log.read_text(errors='replace')[-2000:]}")
        if "ready to accept connections" in log.read_text(errors="replace"):
            return
        time.sleep(0.1)
    raise RuntimeError(f"PostgreSQL is not ready on port {port} after {_START_TIMEOUT_S:g} s")
