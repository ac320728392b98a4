"""What processes say of themselves on ``/livez`` and ``/readyz``, asked all the time."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

__all__ = ["LISTENING_AFTER_S", "LISTENING_AGAIN_S", "PROBES_S", "Health", "HealthWatch", "Watched", "ask"]

_EVERY_S = 0.25
#: For both pages: docs/guarantees.md promises an answer within a second, and the asker itself has to be served too.
PROBES_S = 1.5
#: From the start of a process; alone on a machine it takes some seconds, most of them for imports.
LISTENING_AFTER_S = 60.0
#: A process that has listened does so until it ends, which takes a busy machine a while.
LISTENING_AGAIN_S = 10.0


@dataclass(frozen=True)
class Health:
    """One answer. None: nobody listens. ``problems``: what readiness names, by check."""

    live: bool | None
    ready: bool | None
    problems: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def ask(port: int, timeout_s: float = 5.0) -> Health:
    """Both pages of a process on this machine."""
    started_s = time.monotonic()
    live, _ = _get(port, "livez", timeout_s)
    ready, text = _get(port, "readyz", timeout_s)
    checks = json.loads(text)["checks"] if text else {}
    problems = {name: said for name, said in checks.items() if said != "ok"}
    return Health(live, ready, problems, time.monotonic() - started_s)


def _get(port: int, page: str, timeout_s: float) -> tuple[bool | None, str]:
    try:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=timeout_s) as answer:
                return True, answer.read().decode()
        except urllib.error.HTTPError as error:
            return False, error.read().decode()
    except TimeoutError:
        return False, ""
    except (OSError, http.client.HTTPException):  # nobody listens, or was killed while it spoke
        return None, ""


@dataclass(frozen=True)
class Watched:
    """One life of a process, and the port at which it is asked."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def runs(self) -> bool:
        return self.process.poll() is None


class HealthWatch:
    """Asks every process four times a second, each in a thread of its own, and keeps what was ever wrong."""

    def __init__(
        self,
        processes: Callable[[], dict[str, Watched]],
        *,
        start_s: float = LISTENING_AFTER_S,
        gap_s: float = LISTENING_AGAIN_S,
        timeout_s: float = 5.0,
    ) -> None:
        self._processes = processes
        self._start_s = start_s
        self._gap_s = gap_s
        self._timeout_s = timeout_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="health")
        self._askers: dict[str, threading.Thread] = {}
        #: Processes that said that they were not alive: always a lie in tests that block no loop.
        self.dead: list[str] = []
        #: Processes that ran and did not listen: ``start_s`` after their start, or for ``gap_s`` later on.
        self.deaf: list[str] = []
        #: By process: every set of readiness checks that failed together, and how often; ``()`` is ready.
        self.seen: dict[str, dict[tuple[str, ...], int]] = {}

    def _watch(self) -> None:
        while not self._over.wait(_EVERY_S):
            for name in self._processes():
                if name not in self._askers:
                    self._askers[name] = threading.Thread(target=self._ask, args=(name,), daemon=True, name=name)
                    self._askers[name].start()

    def _ask(self, name: str) -> None:
        life: subprocess.Popen[bytes] | None = None
        listened, since_s = False, 0.0
        while not self._over.wait(_EVERY_S):
            watched = self._processes().get(name)
            if watched is None or not watched.runs:
                continue
            if watched.process is not life:
                life, listened, since_s = watched.process, False, time.monotonic()
            health = ask(watched.port, self._timeout_s)
            if health.live is not None:
                listened, since_s = True, time.monotonic()
                self._note(name, health)
            elif (for_s := time.monotonic() - since_s) > (self._gap_s if listened else self._start_s) and watched.runs:
                self.deaf.append(f"{name} has not listened for {for_s:.1f} s" + (" since its start" * (not listened)))
                since_s = time.monotonic()

    def _note(self, name: str, health: Health) -> None:
        if health.live is False:
            self.dead.append(f"{name}: {health.problems}")
        if health.ready is not None:
            states = self.seen.setdefault(name, {})
            state = tuple(sorted(health.problems)) if health.ready is False else ()
            states[state] = states.get(state, 0) + 1

    def __enter__(self) -> HealthWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        threads = [self._thread, *self._askers.values()]
        assert all(thread.is_alive() for thread in threads), "nobody has watched"
        self._over.set()
        for thread in threads:
            thread.join(30)
