"""Results over HTTP and from the command line: who may report, what is taken, and that it is taken once."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from driftloop.cli.runs import app
from driftloop.observability import server
from driftloop.registry.errors import ArtifactError
from driftloop.settings import Settings
from driftloop.training.handover.credentials import Keyring
from driftloop.training.handover.signature import key_of, signed_headers
from support.results_port import ID, KEY, MODEL, NOW, RISK, SHA, Port


def failed(reason: str = "no memory", command: str = ID) -> dict[str, Any]:
    return {"command_id": command, "status": "failed", "reason": reason}


def succeeded(**artifact: Any) -> dict[str, Any]:
    content = base64.b64encode(MODEL).decode()
    return {"command_id": ID, "status": "succeeded", "artifact": artifact or {"sha256": SHA, "content": content}}


def test_a_failure_is_taken_once(port: Port) -> None:
    assert port.post(failed()) == (202, {"command_id": ID, "result": "taken"})
    assert port.post(failed()) == (200, {"command_id": ID, "result": "same"})
    status, answer = port.post(failed("no disk"))
    assert (status, "was not taken" in answer["error"]) == (409, True)
    assert port.kept().reason == "no memory"
    assert port.told == 2


def test_a_model_comes_with_the_request_or_by_the_store(port: Port) -> None:
    assert port.post(succeeded())[0] == 202
    assert port.kept().artifact.uri == f"{SHA[:2]}/{SHA}.skops"
    assert port.files.read(port.kept().artifact.uri) == MODEL
    # The other way to say the same.
    assert port.post(succeeded(sha256=SHA, uri=f"{SHA[:2]}/{SHA}.skops"))[0] == 200


@pytest.mark.parametrize(
    ("artifact", "said"),
    [
        ({"sha256": "0" * 64, "content": base64.b64encode(MODEL).decode()}, "has the SHA-256"),
        ({"sha256": SHA}, "needs an 'artifact'"),
        ({"sha256": SHA, "uri": f"{SHA[:2]}/{SHA}.skops"}, "is not in"),
        ({"sha256": SHA, "uri": "../../etc/passwd"}, "'uri' is the file's name"),
        ({"sha256": SHA, "uri": f"file:///{SHA}.skops"}, "'uri' is the file's name"),
        ({"sha256": "x"}, "body is not what is wanted"),
    ],
)
def test_files_that_are_not_there_or_not_the_ones(port: Port, artifact: dict[str, str], said: str) -> None:
    status, answer = port.post(succeeded(**artifact))
    assert status == 400
    assert said in answer["error"]
    assert port.kept() is None


@pytest.mark.parametrize("error", [OSError("the bucket does not answer"), ArtifactError("not taken")])
def test_a_store_that_is_away_is_no_fault_of_the_result(
    port: Port, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def away(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(port.files, "put_bytes", away)
        assert port.post(succeeded())[0] == 503
        patch.setattr(port.files, "check", away)
        named = port.post(succeeded(sha256=SHA, uri=f"{SHA[:2]}/{SHA}.skops"))[0]
        assert named == (503 if isinstance(error, OSError) else 400)
    assert port.kept() is None
    assert port.told == 0
    assert port.post(succeeded())[0] == 202


def test_who_has_no_key_learns_nothing(port: Port) -> None:
    for change in (
        {"key": None},
        {"key": RISK},
        {"webhook_signature": "v1,AAAA"},
        {"webhook_id": "msg_2"},
        {"webhook_timestamp": str(int(NOW) + 1)},
    ):
        mine = port.post(failed(), **change)  # type: ignore[arg-type]
        foreign = port.post(failed(command="d" * 64), command="d" * 64, **{"key": None, **change})  # type: ignore[arg-type]
        assert mine[0] == 401
        if change != {"key": RISK}:
            assert foreign[0] == 401
    assert port.kept() is None
    assert port.told == 0


def test_an_old_request_is_refused_though_its_signature_fits(port: Port) -> None:
    port.now = NOW + 301
    assert port.post(failed())[0] == 401
    port.now = NOW - 301
    assert port.post(failed())[0] == 401
    port.now = NOW + 300
    assert port.post(failed())[0] == 202


def test_a_models_key_is_its_own(port: Port) -> None:
    assert port.post(failed(command="risk"), command="risk", key=KEY)[0] == 401
    assert port.post(failed(command="risk"), command="risk", key=RISK)[0] == 202


def test_unknown_and_other_commands(port: Port) -> None:
    other = "d" * 64
    assert port.post(failed(command=other), command=other)[0] == 404
    assert port.post(failed(command=other), command=ID)[0] == 404
    assert port.post(failed(), path="/runs/x/y/result")[0] == 404
    assert port.post(failed(), path="/runs/")[0] == 404
    assert port.kept() is None


def test_what_driftloop_sends_is_no_result(port: Port) -> None:
    """One key signs both ways, so a request that is sent back must not count."""
    status, _ = port.post({"type": "driftloop.training.requested", "timestamp": "t", "data": {"command_id": ID}})
    assert status == 400


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 200, b"\xff", b"null", b'{"command_id": 1}'])
def test_bodies_that_are_none(port: Port, body: bytes) -> None:
    assert port.post(body)[0] == 400
    assert port.post({**failed(), "more": 1})[0] == 400
    assert port.post({**failed(), "by": "driftloop"})[0] == 400
    assert port.post({**failed(), "reason": " "})[0] == 400
    assert port.post(failed(), Content_Type="text/plain")[0] == 415


def test_without_a_key_no_results_are_taken(port: Port, tmp_path: Path) -> None:
    port.results._keyring = Keyring(Settings(_env_file=None, handover_key=None, handover_secrets=None))  # type: ignore[call-arg]
    port.results._keyring._settings.handover_key = None
    port.results._keyring._settings.handover_secrets = None
    status, answer = port.post(failed())
    assert status == 403
    assert "DRIFTLOOP_HANDOVER_KEY" in answer["error"]


def large(content: bytes = b"m" * 200_000) -> dict[str, Any]:
    """A result with more than the 64 KiB that anybody may send."""
    return succeeded(sha256=hashlib.sha256(content).hexdigest(), content=base64.b64encode(content).decode())


def begun(port: Port, length: int = 100_000, **headers: str) -> socket.socket:
    """A request whose body is still to come."""
    assert port.server is not None
    opened = socket.create_connection(("127.0.0.1", port.server.port), timeout=10)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    opened.sendall(f"POST /runs/{ID}/result HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{lines}\r\n".encode())
    return opened


#: What a stranger can have: the form is right, and nothing can be known of the signature before the body is there.
FORGED = signed_headers(b"a stranger's key", "msg_1", int(NOW), b"")


def test_large_bodies_are_for_results_alone_and_one_at_a_time(port: Port) -> None:
    assert port.post(large(), path="/models/m/approve")[0] == 413
    with begun(port, **FORGED) as slow:
        time.sleep(0.3)
        assert port.post(large())[0] == 503
        assert port.post(failed(command="risk"), command="risk", key=RISK)[0] == 202, "small ones go on"
        slow.sendall(b" " * 100_000)
        assert b" 401 " in slow.recv(100)
    assert port.post(large())[0] == 202
    with begun(port, 2**30) as huge:
        assert b" 413 " in huge.recv(100)


def test_a_body_that_trickles_has_one_deadline_for_all_of_it(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_BODY_PATIENCE_S", 1.0)
    with begun(port, **FORGED) as slow:
        began_s = time.monotonic()
        answer = b""
        slow.settimeout(0.1)
        while not answer:
            assert time.monotonic() - began_s < 10, "bytes that go on coming keep the others out for good"
            slow.sendall(b" ")
            try:
                answer = slow.recv(1000)
            except TimeoutError:
                continue
        assert b" 408 " in answer
        assert port.post(large())[0] == 202


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {name: value for name, value in FORGED.items() if name != "webhook-signature"},
        {**FORGED, "webhook-timestamp": str(int(NOW) - 301)},
        {**FORGED, "webhook-timestamp": "soon"},
    ],
)
def test_what_its_headers_refuse_is_not_read(port: Port, headers: dict[str, str]) -> None:
    with begun(port, **headers) as slow:
        assert b" 401 " in slow.recv(1000), "answered while the body is still to come"
        assert port.post(large())[0] == 202, "and others are not kept waiting"


def test_who_sends_all_of_a_refused_body_gets_the_answer(port: Port) -> None:
    status, answer = port.post(large(b"m" * 8_000_000), key=None)
    assert status == 401
    assert "webhook-signature" in answer["error"]


def test_a_body_that_ends_early_is_not_taken(port: Port) -> None:
    body = json.dumps(failed()).encode()
    with begun(port, len(body) + 1, **signed_headers(key_of(KEY), "msg_1", int(NOW), body)) as cut:
        cut.sendall(body)
        cut.shutdown(socket.SHUT_WR)
        assert cut.recv(1000) == b""
    assert port.kept() is None


def test_the_command_line_reports_the_same(port: Port, tmp_path: Path) -> None:
    file = tmp_path / "model.skops"
    file.write_bytes(MODEL)
    runner = CliRunner()
    result = runner.invoke(app, ["report", ID[:8], "--artifact", str(file)])
    assert result.exit_code == 0, result.output
    assert "the result was taken" in result.output
    assert "waits in the outbox" in result.output
    assert port.files.read(port.kept().artifact.uri) == MODEL
    assert "already" in runner.invoke(app, ["report", ID, "--artifact", str(file)]).output
    refused = runner.invoke(app, ["report", ID, "--failed", "no memory"])
    assert (refused.exit_code, "nothing was changed" in refused.output) == (1, True)
    for arguments in ([ID], [ID, "--failed", "x", "--artifact", str(file)], [ID, "--artifact", "absent"], ["zz"]):
        assert runner.invoke(app, ["report", *arguments]).exit_code == 1
    assert runner.invoke(app, ["report", "risk", "--failed", "no memory"]).exit_code == 0
    assert port.kept("risk").reason == "no memory"
    shown = runner.invoke(app, ["list", "--json"])
    assert {row["state"] for row in msgspec.json.decode(shown.output)} <= {"abandoned", "handed over"}
