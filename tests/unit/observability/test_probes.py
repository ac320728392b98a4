"""Readiness is told in time, whatever the checks wait for."""

from __future__ import annotations

import threading
import time

from driftloop.observability.probes import Check, Probes


class Silent:
    """A check that says nothing until it is let go."""

    def __init__(self) -> None:
        self.asked = 0
        self.go = threading.Event()

    def __call__(self) -> str | None:
        self.asked += 1
        assert self.go.wait(30)
        return None


def raises() -> str | None:
    raise ConnectionError("no route")


def test_silent_checks_are_waited_for_together_and_asked_once() -> None:
    broker, database = Silent(), Silent()
    checks: dict[str, Check] = {"broker": broker, "database": database, "running": lambda: None, "route": raises}
    probes = Probes(checks, 0.2)
    answers: list[dict[str, str | None]] = []
    began_s = time.monotonic()
    for _ in range(3):
        askers = [threading.Thread(target=lambda: answers.append(probes.ask())) for _ in range(4)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
    took_s = time.monotonic() - began_s
    silent = "no answer within 0.2 s"
    expected = {"broker": silent, "database": silent, "running": None, "route": "ConnectionError: no route"}
    assert answers == [expected] * 12
    assert (broker.asked, database.asked) == (1, 1)
    assert took_s < 12 * 0.2, "neither twelve askers nor two checks wait one after the other"
    broker.go.set()
    database.go.set()
    deadline_s = time.monotonic() + 10
    while probes.ask() != {"broker": None, "database": None, "running": None, "route": "ConnectionError: no route"}:
        assert time.monotonic() < deadline_s


def test_a_check_is_asked_anew_by_every_probe() -> None:
    said = iter(["not yet", None, "gone"])
    probes = Probes({"group": lambda: next(said)}, 10)
    assert [probes.ask()["group"] for _ in range(3)] == ["not yet", None, "gone"]
