"""Requests to end are heard whatever the main thread is doing, and an end has its limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from driftloop.stopping import EXIT_ASKED_AGAIN, EXIT_OVERDUE, StopSignals

#: The main thread waits in C, where signals don't interrupt it and no handler of Python's is run, as in a call of a
#: Kafka client: for a mutex that it has itself.
STUCK = """
import ctypes
from driftloop.stopping import StopSignals
with StopSignals(lambda: print("asked", flush=True), grace_s={grace_s}):
    print("ready", flush=True)
    mutex = ctypes.create_string_buffer(64)
    while True:
        ctypes.CDLL(None).pthread_mutex_lock(mutex)
"""


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def _until(condition: object, timeout_s: float = 10) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_a_copy_is_the_same_request_and_a_later_one_ends_the_process() -> None:
    asked: list[str] = []
    ended: list[int] = []
    clock = Clock()
    with StopSignals(lambda: asked.append("asked"), end=ended.append, clock=clock) as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        _until(lambda: asked)
        clock.now_s += 0.5
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        assert (asked, ended) == (["asked"], [])
        clock.now_s += 0.6
        os.kill(os.getpid(), signal.SIGINT)
        _until(lambda: ended)
        assert (asked, ended) == (["asked"], [EXIT_ASKED_AGAIN])
    assert signals._watchdog is not None
    signals._watchdog.cancel()
    # The process is about to end: another copy does not cut that short.
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_without_a_signal_everything_is_as_before() -> None:
    before = (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    with StopSignals(lambda: None):
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert signal.set_wakeup_fd(wakeup) == wakeup


def test_an_end_that_takes_too_long_is_cut_short() -> None:
    with _stuck(1.5) as process:
        process.send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        assert process.wait(20) == EXIT_OVERDUE
        assert time.monotonic() - began_s > 1.4
        assert process.stdout is not None
        assert "asked" in (said := process.stdout.read())
        assert "grace period" in said


def test_a_second_request_ends_a_main_thread_that_is_in_a_long_call() -> None:
    with _stuck(60) as process:
        process.send_signal(signal.SIGTERM)
        time.sleep(1.2)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == EXIT_ASKED_AGAIN


def _stuck(grace_s: float) -> subprocess.Popen[str]:
    code = STUCK.format(grace_s=grace_s)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process
