"""A signal that comes while a process of the replay is started reaches the command afterwards, not amid it."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from driftloop.replay.processes import _interrupts_blocked


def start(number: signal.Signals, steps: list[object]) -> None:
    with _interrupts_blocked():
        os.kill(os.getpid(), number)
        steps += [sum(range(1000)) for _ in range(1000)]
        steps.append("whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_also_where_another_thread_takes_the_signal(number: signal.Signals) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, interrupt)
    stop = threading.Event()
    steps: list[object] = []
    # A thread that blocks nothing, as those of a linear algebra library: the kernel gives it the signal.
    thread = threading.Thread(target=stop.wait, daemon=True)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            start(number, steps)
        assert steps[-1] == "whole"
        assert signal.getsignal(number) is interrupt
        assert number not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        stop.set()
        thread.join()
        signal.signal(number, before)
