"""Decisions over HTTP: with the token alone, once, and into the history."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from driftloop.observability.server import ObservabilityServer, serve
from driftloop.registry import ArtifactStore, NewVersion, Registry, create_schema, open_engine
from driftloop.web.actions import Actions

TOKEN = "correct-horse"
GOOD = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    engine = open_engine(f"sqlite:///{tmp_path / 'registry.db'}")
    create_schema(engine)
    registry = Registry(engine, ArtifactStore(tmp_path / "artifacts"))
    registry.ensure_model("late", "binary", "digest")
    for _ in range(3):
        registry.register_version(NewVersion(model_id="late"))
    registry.promote("late", "v1", "first", 1)
    registry.await_approval("late", "v2", "all gates passed", 5, "trainer", command_id="c")
    yield registry
    engine.dispose()


class Port:
    """A running server, and requests to it."""

    def __init__(self, server: ObservabilityServer, told: list[str]) -> None:
        self.server, self.told = server, told

    def post(self, path: str, body: object = None, headers: dict[str, str] = GOOD) -> tuple[int, dict[str, object]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=5)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", path, data, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


@pytest.fixture
def port(registry: Registry) -> Iterator[Port]:
    told: list[str] = []
    actions = Actions(registry, TOKEN, lambda: told.append("told"), retrain, lambda: 1000)
    with serve(CollectorRegistry(), "127.0.0.1", 0, {}, post=actions.post, admit=actions.admit) as server:
        yield Port(server, told)


def retrain(model: str, reason: str, actor: str) -> str:
    if model != "late":
        raise ValueError(f"the trainer has no spec of model {model!r}")
    return f"{reason}, says {actor}"


def test_retrain(port: Port, registry: Registry) -> None:
    asked = {"by": "ada", "reason": "new prices"}
    said = {"model": "late", "command_id": "new prices, says ada (HTTP)"}
    assert port.post("/models/late/retrain", asked) == (202, said)
    assert port.told == ["told"]
    registry.ensure_model("other", "binary", "digest")  # registered, but the trainer has no spec of it
    assert port.post("/models/other/retrain", asked)[0] == 409
    assert port.post("/models/late/retrain", SAID)[0] == 409


def champion(registry: Registry) -> str | None:
    row = registry.champion("late")
    return None if row is None else row.version


SAID = {"version": "v2", "by": "ada", "reason": "slices are fine"}


def test_approve_and_roll_back(port: Port, registry: Registry) -> None:
    assert port.post("/models/late/approve", SAID) == (200, {"model": "late", "version": "v2", "champion": "v2"})
    assert champion(registry) == "v2"
    last = registry.history("late")[-1]
    assert (last.actor, last.event_time_ms) == ("ada (HTTP)", 1000)
    assert port.told == ["told"]
    status, said = port.post("/models/late/rollback", {"by": "ada", "reason": "complaints"})
    assert (status, said["champion"]) == (200, "v1")


def test_approving_all_the_same_is_asked_for(port: Port, registry: Registry) -> None:
    registry.register_version(NewVersion(model_id="late", version="v4", lineage={"compared_with": "v0"}))
    registry.await_approval("late", "v4", "asked", 2)
    status, said = port.post("/models/late/approve", SAID | {"version": "v4"})
    assert status == 409
    assert "--force" in str(said["error"])
    assert port.post("/models/late/approve", SAID | {"version": "v4", "force": True})[1]["champion"] == "v4"


def test_promote_and_reject(port: Port, registry: Registry) -> None:
    assert port.post("/models/late/reject", SAID)[0] == 200
    status, said = port.post("/models/late/promote", SAID)
    assert status == 409
    assert "reject" in str(said["error"])
    assert champion(registry) == "v1"
    assert port.post("/models/late/promote", SAID | {"force": True})[1]["champion"] == "v2"
    # What is decided is not decided again.
    assert port.post("/models/late/reject", SAID | {"version": "v1"})[0] == 409
    assert champion(registry) == "v2"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": "Bearer \xe9"},
    ],
)
@pytest.mark.parametrize("path", ["/models/late/promote", "/models/none/promote", "/nothing"])
def test_without_the_token_nothing_happens_and_nothing_is_said(
    port: Port, registry: Registry, headers: dict[str, str], path: str
) -> None:
    before = len(registry.history("late"))
    status, said = port.post(path, SAID, {"Content-Type": "application/json"} | headers)
    assert (status, said) == (401, {"error": "this needs the token: Authorization: Bearer ..."})
    assert len(registry.history("late")) == before


def test_without_the_token_a_body_is_not_read(port: Port) -> None:
    with socket.create_connection(("127.0.0.1", port.server.port), timeout=5) as raw:
        raw.sendall(b"POST /models/late/approve HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n")
        assert b" 401 " in raw.recv(1000)


def test_without_a_token_in_the_settings_there_are_no_actions(registry: Registry) -> None:
    for header in ("Bearer ", "Bearer None", f"Bearer {TOKEN}"):
        status, _ = Actions(registry, None, lambda: None, retrain).post(
            "/models/late/promote", GOOD | {"Authorization": header}, json.dumps(SAID).encode()
        )
        assert status == 403
    assert champion(registry) == "v1"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/models/late/delete", SAID, 404),
        ("/models/late/promote/more", SAID, 404),
        ("/metrics", SAID, 404),
        ("/models/late/promote", SAID | {"version": "v9"}, 409),
        ("/models/late/promote", {"by": "ada", "reason": "x"}, 409),
        ("/models/late/promote", SAID | {"reason": "  "}, 409),
        ("/models/late/promote", SAID | {"by": " "}, 409),
        ("/models/late/rollback", SAID, 409),
        ("/models/late/promote", SAID | {"champoin": True}, 400),
        ("/models/late/promote", SAID | {"reason": ""}, 400),
        ("/models/late/promote", [], 400),
        ("/models/late/promote", b"{", 400),
        ("/models/late/promote", b"[" * 50_000, 400),
        ("/models/%ff/promote", SAID, 400),
        ("/models/late/promote", b"x" * 70_000, 413),
    ],
)
def test_bad_requests(port: Port, registry: Registry, path: str, body: object, status: int) -> None:
    answered, said = port.post(path, body)
    assert answered == status
    assert said["error"]
    assert champion(registry) == "v1"
    assert port.told == []


@pytest.mark.parametrize("action", ["promote", "approve", "reject", "rollback", "retrain"])
def test_a_model_that_nobody_knows_is_not_found(port: Port, action: str) -> None:
    for said in (SAID, {"by": "ada", "reason": "new prices"}):
        found = port.post(f"/models/l%C3%A4te/{action}", said)
        assert found == (404, {"error": "the registry holds no model 'läte'; see 'driftloop models list'"})
    assert port.told == []


def test_another_content_type_is_refused(port: Port, registry: Registry) -> None:
    status, _ = port.post("/models/late/approve", SAID, GOOD | {"Content-Type": "text/plain"})
    assert status == 415
    assert champion(registry) == "v1"


@pytest.mark.parametrize("length", ["", "Content-Length: -5\r\n", "Content-Length: x\r\n", "Content-Length: ²\r\n"])
def test_a_request_without_its_length_is_refused_and_the_connection_closed(port: Port, length: str) -> None:
    with socket.create_connection(("127.0.0.1", port.server.port), timeout=5) as raw:
        raw.sendall(f"POST /models/late/approve HTTP/1.1\r\nHost: x\r\n{length}\r\n{{}}".encode("latin-1"))
        answer = b""
        while part := raw.recv(4096):
            answer += part
    assert b" 411 " in answer.splitlines()[0]
    assert answer.count(b"HTTP/1.1") == 1
