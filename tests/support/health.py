"""What processes say of themselves on ``/livez`` and ``/readyz``, asked all the time."""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

__all__ = ["Health", "HealthWatch", "ask"]


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


class HealthWatch:
    """Asks every process four times a second in a thread and keeps what was ever wrong."""

    def __init__(self, ports: Callable[[], dict[str, int]]) -> None:
        self._ports = ports
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="health")
        #: Processes that said that they were not alive: always a lie in tests that block no loop.
        self.dead: list[str] = []
        #: By process: every set of readiness checks that failed together, and how often; ``()`` is ready.
        self.seen: dict[str, dict[tuple[str, ...], int]] = {}

    def _watch(self) -> None:
        while not self._over.wait(0.25):
            for name, port in self._ports().items():
                health = ask(port)
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
        assert self._thread.is_alive(), "nobody has watched"
        self._over.set()
        self._thread.join(30)
