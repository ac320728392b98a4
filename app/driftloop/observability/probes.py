"""Readiness asked with patience: a probe is answered whatever is away.

Whoever asks for ``/readyz`` waits a second by default in Kubernetes, and what a check asks (a database, a broker) may
be silent for much longer. So each check is asked in a thread of its own, all at once, and one that has said nothing by
then is not well. It is not asked again before it has answered: however many probes come, a check has one thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

__all__ = ["Check", "Probes", "asked"]

#: Says what is wrong, in a sentence, or None.
Check = Callable[[], str | None]

_PATIENCE_S = 0.85


def asked(check: Check) -> str | None:
    """What the check says; one that raises is an answer too: that thing is not well."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"


class _Question:
    """One check that is being asked."""

    def __init__(self, name: str, check: Check) -> None:
        self._check = check
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._ask, name=f"check {name}", daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        self._problem = asked(self._check)

    @property
    def open(self) -> bool:
        return self._thread.is_alive()

    def wait(self, deadline_s: float, patience_s: float) -> str | None:
        self._thread.join(max(0.0, deadline_s - time.monotonic()))
        return f"no answer within {patience_s:g} s" if self.open else self._problem


class Probes:
    """Checks by name. Safe for use from several threads, which share the question that is open."""

    def __init__(self, checks: Mapping[str, Check], patience_s: float = _PATIENCE_S) -> None:
        self._checks = dict(checks)
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._questions: dict[str, _Question] = {}

    def ask(self) -> dict[str, str | None]:
        """What is wrong by check, within the patience for all of them together."""
        deadline_s = time.monotonic() + self._patience_s
        with self._lock:
            questions = {name: self._question(name) for name in self._checks}
        return {name: question.wait(deadline_s, self._patience_s) for name, question in questions.items()}

    def _question(self, name: str) -> _Question:
        question = self._questions.get(name)
        if question is None or not question.open:
            question = self._questions[name] = _Question(name, self._checks[name])
        return question
