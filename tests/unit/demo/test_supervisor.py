"""Processes that live and die together."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from driftloop.demo.supervisor import ChildDied, Supervisor, interrupt_on_sigterm

STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(path: Path, text: str) -> None:
    deadline_s = time.monotonic() + 20
    while text not in path.read_text():
        assert time.monotonic() < deadline_s, f"{text!r} did not come"
        time.sleep(0.02)


def test_a_child_that_dies_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        child = supervisor.start("worker", ["-c", "import sys; sys.exit('the broker is gone')"])
        child.process.wait(20)
        with pytest.raises(ChildDied, match=r"(?s)worker ended with exit code 1.*the broker is gone"):
            supervisor.check()
        with pytest.raises(ChildDied):
            supervisor.check(may_end=child)


def test_one_child_may_end_well(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        child = supervisor.start("service", ["-c", "print('done')"], read_output=True)
        child.process.wait(20)
        supervisor.check(may_end=child)
        assert child.output is not None
        assert child.output.read() == b"done\n"
        with pytest.raises(ChildDied):
            supervisor.check()


def test_stopping_ends_what_obeys_and_kills_what_does_not(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, grace_s=0.5)
    obedient = supervisor.start("obedient", ["-c", "import time; time.sleep(60)"], {"GREETING": "hello"})
    stubborn = supervisor.start("stubborn", ["-c", STUBBORN])
    wait_for(stubborn.log_file, "ready")
    assert supervisor.stop() == ["stubborn"]
    assert not is_alive(obedient.process.pid)
    assert not is_alive(stubborn.process.pid)
    assert supervisor.stop() == []


def test_sigterm_interrupts_like_ctrl_c_and_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    def wait() -> None:
        with interrupt_on_sigterm():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        wait()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
