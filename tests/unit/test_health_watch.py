"""The watch of the fault tests sees a process that is not alive, one that does not listen, and nothing else."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry

from driftloop.kafka.embedded import free_port
from driftloop.observability import serve
from support.health import HealthWatch, Watched

#: Answers ``/livez`` and ``/readyz`` with 200 until a line comes, then is deaf; at the end of its input it ends.
LISTENER = """
import sys
from prometheus_client import CollectorRegistry
from driftloop.observability import serve
with serve(CollectorRegistry(), "127.0.0.1", int(sys.argv[1]), {}):
    sys.stdin.readline()
sys.stdin.readline()
"""


@contextmanager
def _process(code: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    environment = {"PYTHONPATH": ":".join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", code, str(port)], stdin=subprocess.PIPE, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _until(condition: object, timeout_s: float = 20) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_a_process_that_stops_listening_is_found_and_one_that_ends_is_not() -> None:
    port, never = free_port(), free_port()
    with _process(LISTENER, port) as process, _process("input()", never) as deaf:
        processes = {"good": Watched(port, process), "never": Watched(never, deaf)}
        with HealthWatch(lambda: dict(processes), start_s=20, gap_s=1.0) as watch:
            _until(lambda: watch.seen.get("good", {}).get((), 0) > 1)
            assert (watch.dead, watch.deaf) == ([], [])
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
            _until(lambda: watch.deaf)
            assert watch.deaf[0].startswith("good has not listened for 1.")
            process.stdin.close()
            process.wait(10)
            known = len(watch.deaf)
            time.sleep(1.5)
            assert len(watch.deaf) == known
        with HealthWatch(lambda: {"never": processes["never"]}, start_s=1.0, gap_s=20) as watch:
            _until(lambda: watch.deaf)
            assert "never has not listened for 1." in watch.deaf[0]
            assert "since its start" in watch.deaf[0]


def test_one_that_hangs_does_not_keep_the_others_from_being_asked() -> None:
    with (
        _process("input()", 0) as process,
        socket.create_server(("127.0.0.1", 0)) as hanging,
        serve(CollectorRegistry(), "127.0.0.1", 0, {}) as good,
    ):
        watched = {
            "hangs": Watched(hanging.getsockname()[1], process),
            "good": Watched(good.port, process),
        }
        with HealthWatch(lambda: watched, timeout_s=1.5) as watch:
            _until(lambda: watch.dead)
            assert watch.dead[0].startswith("hangs")
            # Both pages of the one that hangs were waited for: three seconds.
            assert watch.seen["good"][()] > 3
