"""The HTTP server of a process for operators: ``/metrics``, ``/livez``, ``/readyz`` and ``/version``, and what it is
given to take POST requests.

It runs in threads of its own, so that it answers while the event loop is busy; that is also why liveness must not be
"the server answers" but a heartbeat of the loop (:class:`Heartbeat`).
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from driftloop.observability.probes import Check, Probes, asked

__all__ = ["Admit", "Check", "Heartbeat", "ObservabilityServer", "Post", "serve"]

#: Answers a POST request: path, headers and body in, status and JSON content out.
Post = Callable[[str, Mapping[str, str], bytes], tuple[HTTPStatus, object]]

#: The same for a POST request whose body was not read yet: path and headers in. None: let it be read.
Admit = Callable[[str, Mapping[str, str]], tuple[HTTPStatus, object] | None]

_MAX_BODY_BYTES = 65_536
#: For a whole body, however it trickles: 16 MiB want half a megabyte a second.
_BODY_PATIENCE_S = 30.0
#: How long what is still coming of a refused request is thrown away.
_LINGER_S = 2.0


class Heartbeat:
    """A liveness check: somebody calls :meth:`beat` at least every ``timeout_s`` seconds.

    Lag, a missing broker or a slow database must not fail it, or a restart loop makes things worse.
    """

    def __init__(self, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout_s = timeout_s
        self._clock = clock
        self._last = clock()

    def beat(self) -> None:
        self._last = self._clock()

    def __call__(self) -> str | None:
        age = self._clock() - self._last
        if age <= self._timeout_s:
            return None
        return f"no heartbeat for {age:.1f} s, expected one every {self._timeout_s:g} s: the event loop is stuck"


class ObservabilityServer:
    """A running server. Use it as a context manager, or :meth:`close` it."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="observability", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        host = str(self._server.server_address[0])
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def serve(
    registry: CollectorRegistry,
    host: str,
    port: int,
    checks: Mapping[str, Check],
    *,
    liveness: Mapping[str, Check] | None = None,
    post: Post | None = None,
    admit: Admit = lambda path, headers: None,
    most_body_bytes: Callable[[str], int | None] = lambda path: None,
) -> ObservabilityServer:
    """Start the server; port 0 takes a free one (``.port`` tells which).

    ``checks`` make up ``/readyz`` (broker, database, partitions assigned, state recovered): see :class:`Probes`.
    ``liveness`` makes up ``/livez``, and may wait for nothing. ``post`` answers POST requests, with bodies of
    64 KiB at most, or what ``most_body_bytes`` says of a path; of such large ones one is read at a time. ``admit``
    refuses what can be refused by path and headers before anything of the body is read. Raises ``OSError`` with a
    sentence if the port can't be had.
    """
    paths = _Routes(registry, dict(checks), dict(liveness or {}), post, admit, most_body_bytes)

    class Handler(_Handler):
        routes = paths

    try:
        server = _Server((host, port), Handler)
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot serve metrics on {host}:{port} ({error.strerror}): "
            "give each process a DRIFTLOOP_METRICS_PORT of its own, or 0 to switch it off",
        ) from error
    return ObservabilityServer(server)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A restarted worker gets its port back at once; two workers never share one.
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that breaks off is its own affair, and not worth a traceback.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Routes:
    def __init__(
        self,
        registry: CollectorRegistry,
        readiness: Mapping[str, Check],
        liveness: Mapping[str, Check],
        post: Post | None,
        admit: Admit,
        most_body_bytes: Callable[[str], int | None],
    ) -> None:
        self.post = post
        self.admit = admit
        self.most_body_bytes = most_body_bytes
        #: One large body at a time: what a stranger sends must not fill the memory.
        self.large = threading.Lock()
        self.registry = registry
        self.readiness = Probes(readiness)
        self.liveness = liveness

    def answer(self, path: str, accept: str) -> tuple[HTTPStatus, str, bytes]:
        """Status, content type and body of one request."""
        match path:
            case "/metrics":
                encode, content_type = choose_encoder(accept)
                return HTTPStatus.OK, content_type, encode(self.registry)
            case "/livez":
                return _health({name: asked(check) for name, check in self.liveness.items()})
            case "/readyz":
                return _health(self.readiness.ask())
            case "/version":
                return _json(HTTPStatus.OK, {"name": "driftloop", "version": version("driftloop")})
            case "/":
                return _json(HTTPStatus.OK, {"paths": ["/metrics", "/livez", "/readyz", "/version"]})
            case _:
                return _json(HTTPStatus.NOT_FOUND, {"error": "no such path: try /metrics, /livez, /readyz, /version"})


def _json(status: HTTPStatus, content: object) -> tuple[HTTPStatus, str, bytes]:
    return status, "application/json", json.dumps(content).encode() + b"\n"


def _health(problems: Mapping[str, str | None]) -> tuple[HTTPStatus, str, bytes]:
    healthy = all(problem is None for problem in problems.values())
    status = HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE
    results = {name: "ok" if problem is None else problem for name, problem in problems.items()}
    return _json(status, {"status": "ok" if healthy else "unavailable", "checks": results})


class _Handler(BaseHTTPRequestHandler):
    routes: _Routes
    protocol_version = "HTTP/1.1"
    server_version = "driftloop"
    sys_version = ""
    # An idle connection is closed, so that it does not hold a thread.
    timeout = 30

    def do_GET(self) -> None:
        self._respond(with_body=True)

    def do_HEAD(self) -> None:
        self._respond(with_body=False)

    def do_POST(self) -> None:
        if self.routes.post is None:
            self._refuse(
                HTTPStatus.METHOD_NOT_ALLOWED, "nothing can be changed at this port; the trainer's takes decisions"
            )
            return
        length = self.headers.get("Content-Length", "")
        # Without its length the end of a body cannot be told, and the next request would begin in it.
        if not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "the request needs a Content-Length")
            return
        path = self.path.split("?", 1)[0]
        most = self.routes.most_body_bytes(path) or _MAX_BODY_BYTES
        answer = None
        if int(length) > most:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body may have {most} bytes at most")
        elif (refused := self.routes.admit(path, dict(self.headers.items()))) is not None:
            self._refuse_with(*refused)
        elif int(length) <= _MAX_BODY_BYTES:
            answer = self._answered(self.routes.post, path, int(length))
        elif self.routes.large.acquire(blocking=False):
            try:
                answer = self._answered(self.routes.post, path, int(length))
            finally:
                self.routes.large.release()  # before the answer: who has it may send the next one at once
        else:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "another large request is being read; send this one again")
        if answer is not None:
            self._send(*_json(*answer), with_body=True)

    def _answered(self, post: Post, path: str, length: int) -> tuple[HTTPStatus, object] | None:
        """None if the body did not come."""
        body = self._body(length)
        return None if body is None else post(path, dict(self.headers.items()), body)

    def _body(self, length: int) -> bytes | None:
        """None if not all of it came, or not in time."""
        deadline_s = time.monotonic() + _BODY_PATIENCE_S
        body = bytearray()
        while len(body) < length:
            self.connection.settimeout(max(0.001, deadline_s - time.monotonic()))
            try:
                # What one call to the system gives, so that the deadline is seen.
                piece = self.rfile.read1(min(65_536, length - len(body)))
            except TimeoutError:
                piece = None
            if piece is None or time.monotonic() > deadline_s:
                said = f"the body did not come within {_BODY_PATIENCE_S:g} s; send the request again"
                self.close_connection = True
                self._send(*_json(HTTPStatus.REQUEST_TIMEOUT, {"error": said}), with_body=True)
                return None
            if not piece:
                self.close_connection = True
                return None
            body += piece
        self.connection.settimeout(self.timeout)
        return bytes(body)

    def _refuse(self, status: HTTPStatus, error: str) -> None:
        self._refuse_with(status, {"error": error})

    def _refuse_with(self, status: HTTPStatus, content: object) -> None:
        """Answer and close the connection, since what follows of the request was not read."""
        self.close_connection = True
        self._send(*_json(status, content), with_body=True)
        self._linger()

    def _linger(self) -> None:
        """A connection that is closed while more comes is reset, and the answer may be lost with it."""
        deadline_s = time.monotonic() + _LINGER_S
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            while (left_s := deadline_s - time.monotonic()) > 0:
                self.connection.settimeout(left_s)
                if not self.rfile.read1(65_536):
                    return

    def _respond(self, *, with_body: bool) -> None:
        answer = self.routes.answer(self.path.split("?", 1)[0], self.headers.get("Accept", ""))
        self._send(*answer, with_body=with_body)

    def _send(self, status: HTTPStatus, content_type: str, body: bytes, *, with_body: bool) -> None:
        self.send_response(status)
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes and probes come every few seconds: they are not worth a line."""
