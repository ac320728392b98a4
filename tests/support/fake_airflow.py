"""An HTTP server that answers as orchestrators do, as far as they document it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Answer = tuple[int, dict[str, str], bytes]


class HttpServer:
    """Answers POST requests by ``answer(path, headers, body)``, in threads, on a port of its own."""

    def __init__(self, answer: Callable[[str, dict[str, str], bytes], Answer]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, headers, content = answer(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def reply(status: int, content: object, **headers: str) -> Answer:
    return status, {"Content-Type": "application/json", **headers}, json.dumps(content).encode()


class FakeAirflow(HttpServer):
    """``POST /auth/token`` and ``POST /api/v2/dags/{dag_id}/dagRuns`` of Airflow 3, with its 401, 404, 409 and 422.

    ``runs`` holds what was run by (dag_id, dag_run_id); ``away`` makes so many requests answer 503.
    """

    token = "a-token-that-nobody-sees"

    def __init__(self, dags: tuple[str, ...] = ("train_m",)) -> None:
        self.dags = dags
        self.runs: dict[tuple[str, str], dict[str, Any]] = {}
        self.posts = 0
        self.away = 0
        self.user = {"username": "driftloop", "password": "airflow-password"}
        super().__init__(self._answer)

    def _answer(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        self.posts += 1
        if self.away:
            self.away -= 1
            return reply(503, {"detail": "Service Unavailable"})
        content = json.loads(body)
        if path == "/auth/token":
            if content != self.user:
                return reply(401, {"detail": "Invalid credentials"})
            return reply(201, {"access_token": self.token})
        if headers.get("authorization") != f"Bearer {self.token}":
            return reply(401, {"detail": f"Invalid JWT token: {headers.get('authorization')}"})
        parts = path.strip("/").split("/")
        if parts[:3] != ["api", "v2", "dags"] or parts[4:] != ["dagRuns"]:
            return reply(404, {"detail": "Not Found"})
        if parts[3] not in self.dags:
            return reply(404, {"detail": f"DAG with dag_id: '{parts[3]}' not found"})
        allowed = {
            "dag_run_id",
            "data_interval_start",
            "data_interval_end",
            "logical_date",
            "run_after",
            "conf",
            "note",
        }
        if "logical_date" not in content or set(content) - allowed or not isinstance(content.get("conf"), dict):
            return reply(422, {"detail": [{"type": "missing", "loc": ["body", "logical_date"]}]})
        key = (parts[3], content["dag_run_id"])
        if key in self.runs:
            return reply(409, {"detail": "The DagRun already exists"})
        self.runs[key] = content
        return reply(200, {"dag_run_id": key[1], "dag_id": key[0], "state": "queued", "logical_date": None})


def dribbling(seconds: float) -> Callable[[str, dict[str, str], bytes], Answer]:
    """An answer that takes its time."""

    def answer(path: str, headers: dict[str, str], body: bytes) -> Answer:
        time.sleep(seconds)
        return reply(200, {})

    return answer
