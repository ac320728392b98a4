"""What a running training tells about itself: the phase that it is in, and lines for its log.

Like a logger it can be called from anywhere, returns nothing, and nothing may depend on it. Who listens is a matter of
the thread (:func:`listening`): the training thread of a worker writes into the database, a child process into a file
that the worker reads. Without a listener nothing happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

__all__ = ["Listener", "kept", "line", "listening", "phase"]


class Listener(Protocol):
    """Who is told."""

    def phase(self, text: str) -> None:
        """A phase has begun, such as ``fitting candidate 2 of 3``; the one before is over."""

    def line(self, text: str) -> None:
        """A line for the log."""

    def kept(self, role: str, uri: str) -> None:
        """A file was put into the artifact store."""


_listener: ContextVar[Listener | None] = ContextVar("driftloop_training_progress", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Whoever is called in this thread, until the end of the block, tells this listener."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def phase(text: str) -> None:
    """A phase begins."""
    listener = _listener.get()
    if listener is not None:
        listener.phase(text)


def line(text: str) -> None:
    """Say something for the log."""
    listener = _listener.get()
    if listener is not None:
        listener.line(text)


def kept(role: str, uri: str) -> None:
    """A file of the run is in the artifact store under this name."""
    listener = _listener.get()
    if listener is not None:
        listener.kept(role, uri)
