"""An MLflow server of the tests' own on SQLite, from an environment of its own (``scripts/mlflow-server``)."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

__all__ = ["MlflowServerProcess", "find_mlflow"]

_ROOT = Path(__file__).resolve().parents[2]
_START_TIMEOUT_S = 90.0


def find_mlflow() -> Path | None:
    """The ``mlflow`` command of ``.venv-mlflow``, or of the environment that DRIFTLOOP_TEST_MLFLOW names."""
    folder = Path(os.environ.get("DRIFTLOOP_TEST_MLFLOW") or _ROOT / ".venv-mlflow")
    command = folder / "bin" / "mlflow"
    return command if command.exists() else None


class MlflowServerProcess:
    """One server with its data in ``folder``; port and data stay when it is stopped and started."""

    def __init__(self, command: Path, folder: Path) -> None:
        self._command = command
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Returns when it answers; at once if it runs."""
        if self._process is not None:
            return
        log = (self._folder / "server.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [
                    str(self._command),
                    "server",
                    *("--backend-store-uri", f"sqlite:///{self._folder / 'mlflow.db'}"),
                    *("--artifacts-destination", str(self._folder / "artifacts")),
                    *("--host", "127.0.0.1", "--port", str(self._port), "--workers", "1"),
                ],
                cwd=self._folder,
                env={
                    "PATH": f"{self._command.parent}:{os.environ.get('PATH', '')}",
                    "HOME": str(self._folder),
                    "MLFLOW_DISABLE_TELEMETRY": "true",
                    # Needs packages that only the models of MLflow's own judges need.
                    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.1)
        said = (self._folder / "server.log").read_text(errors="replace")[-2000:]
        self.stop()
        raise AssertionError(f"the MLflow server did not start:\n{said}")

    def stop(self) -> None:
        """End it with its workers."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)
            self._process = None
