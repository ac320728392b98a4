"""One HTTP request: within a time limit, without redirects, with certificates checked, little of the answer kept."""

from __future__ import annotations

import http.client
import queue
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from importlib.metadata import PackageNotFoundError, version
from typing import IO

__all__ = ["Reply", "Unreachable", "post", "scrubbed"]

#: For one operation of the socket, and for the whole request.
_STEP_S = 10.0
_WHOLE_S = 30.0
_MOST_BYTES = 65_536
_SHOWN = 300
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\s]+")


class Unreachable(Exception):
    """No answer: no connection, no certificate that fits, or not in time. The message is a sentence."""


@dataclass(frozen=True)
class Reply:
    """The answer: at most 64 KiB of its body. ``retry_after_s`` as the server asks for it."""

    status: int
    body: bytes
    retry_after_s: float | None = None

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like others: what is sent was meant for the URL of the spec."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, step_s: float = _STEP_S, whole_s: float = _WHOLE_S
) -> Reply:
    """POST JSON. Any status is a :class:`Reply`. Raises :class:`Unreachable`.

    ``step_s`` bounds each operation of the socket, ``whole_s`` everything: a server that sends a byte now and then
    holds up nobody for longer. Proxies are those of the environment (``HTTPS_PROXY``, ``NO_PROXY``).
    """
    found: queue.SimpleQueue[Reply | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            found.put(_post(url, body, headers, step_s))
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits
            found.put(error)

    threading.Thread(target=work, name="handover-request", daemon=True).start()
    try:
        result = found.get(timeout=whole_s)
    except queue.Empty:
        raise Unreachable(f"no whole answer within {whole_s:g} s") from None
    if isinstance(result, Reply):
        return result
    if isinstance(result, urllib.error.URLError):
        raise Unreachable(f"no connection: {result.reason}") from None
    if isinstance(result, TimeoutError):
        raise Unreachable(f"no answer within {step_s:g} s") from None
    if isinstance(result, OSError | http.client.HTTPException | ValueError):
        raise Unreachable(f"no answer that can be read: {type(result).__name__}: {result}") from None
    raise result


def _post(url: str, body: bytes, headers: Mapping[str, str], step_s: float) -> Reply:
    request = urllib.request.Request(url, data=body, method="POST")
    for name, value in {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "User-Agent": _agent(),
        **headers,
    }.items():
        request.add_header(name, value)
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=step_s) as answer:
            return _reply(int(answer.status), answer, answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return _reply(error.code, error, error.headers)


def _reply(status: int, stream: IO[bytes], headers: Message) -> Reply:
    after = headers.get("Retry-After", "")
    return Reply(status, stream.read(_MOST_BYTES), float(after) if after.isascii() and after.isdigit() else None)


def scrubbed(text: str, secrets: list[str]) -> str:
    """A piece of an answer that can be shown: one line, short, without the secrets."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    line = _CONTROL.sub(" ", text).strip()
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


def _agent() -> str:
    try:
        return f"driftloop/{version('driftloop')}"
    except PackageNotFoundError:
        return "driftloop"
