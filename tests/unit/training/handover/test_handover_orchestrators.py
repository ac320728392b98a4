"""Handing over to servers that run: what arrives there, and what is made of their answers."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from driftloop.settings import Settings
from driftloop.training.handover.credentials import Credentials, CredentialsError, Keyring
from driftloop.training.handover.messages import GivenData, Request
from driftloop.training.handover.orchestrators import Confirmed, NotNow, Refused, hand_over
from driftloop.training.handover.signature import key_of, refusal
from driftloop.training.handover.transport import Unreachable, post, scrubbed
from support.fake_airflow import FakeAirflow, HttpServer, dribbling, reply

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"type":"driftloop.training.requested","data":{"command_id":"c1"}}'
GIVEN = GivenData(uri="ab/c", sha256="c", size=1, rows=2, first_predicted_ms=0, last_predicted_ms=1, features=["x"])
TOKEN = Credentials("DRIFTLOOP_HANDOVER_", token=FakeAirflow.token)
LOGIN = Credentials("DRIFTLOOP_HANDOVER_", username="driftloop", password="airflow-password")
SIGNED = Credentials("DRIFTLOOP_HANDOVER_", key=key_of(SECRET), key_text=SECRET)


def request(to: Any, url: str, **more: Any) -> Request:
    return Request(to=to, url=url, dataset={}, given=GIVEN, spec_digest="", **more)


@pytest.fixture
def airflow() -> Iterator[FakeAirflow]:
    with FakeAirflow() as server:
        yield server


@pytest.mark.parametrize("credentials", [TOKEN, LOGIN], ids=["token", "login"])
def test_airflow_runs_the_dag_once_however_often_it_is_told(airflow: FakeAirflow, credentials: Credentials) -> None:
    asked = request("airflow", f"{airflow.url}/", dag_id="train_m")
    assert hand_over(asked, "c1", BODY, credentials, 0.0) == Confirmed("")
    assert hand_over(asked, "c1", BODY, credentials, 0.0) == Confirmed("it had it already")
    assert airflow.runs == {
        ("train_m", "c1"): {"dag_run_id": "c1", "logical_date": None, "conf": json.loads(BODY)},
    }


def test_what_airflow_refuses_says_why_without_secrets(airflow: FakeAirflow) -> None:
    asked = request("airflow", airflow.url, dag_id="train_m")
    wrong = Credentials("DRIFTLOOP_HANDOVER_", token="wrong-token")
    answer = hand_over(asked, "c1", BODY, wrong, 0.0)
    assert isinstance(answer, Refused)
    assert "401" in answer.reason
    assert "Bearer ***" in answer.reason
    assert "wrong-token" not in answer.reason
    wrong = Credentials("DRIFTLOOP_HANDOVER_", username="driftloop", password="wrong-password")
    answer = hand_over(asked, "c1", BODY, wrong, 0.0)
    assert answer == Refused('/auth/token answered 401: {"detail": "Invalid credentials"}')
    answer = hand_over(request("airflow", airflow.url, dag_id="a/b"), "c1", BODY, TOKEN, 0.0)
    assert answer == Refused('DAG a/b answered 404: {"detail": "DAG with dag_id: \'a%2Fb\' not found"}')
    assert airflow.runs == {}


def test_airflow_that_is_away_is_for_later(airflow: FakeAirflow) -> None:
    airflow.away = 1
    asked = request("airflow", airflow.url, dag_id="train_m")
    answer = hand_over(asked, "c1", BODY, TOKEN, 0.0)
    assert isinstance(answer, NotNow)
    assert "503" in answer.reason
    assert hand_over(asked, "c1", BODY, TOKEN, 0.0) == Confirmed("")


def test_a_webhook_gets_the_bytes_and_a_signature_that_fits() -> None:
    came: list[tuple[str, dict[str, str], bytes]] = []

    def answer(path: str, headers: dict[str, str], body: bytes) -> Any:
        came.append((path, headers, body))
        return reply(204, None)

    with HttpServer(answer) as server:
        assert hand_over(request("webhook", f"{server.url}/train?x=1"), "c1", BODY, SIGNED, 1e9) == Confirmed("")
    [(path, headers, body)] = came
    assert (path, body, headers["webhook-id"]) == ("/train?x=1", BODY, "c1")
    assert headers["content-type"] == "application/json"
    assert "authorization" not in headers
    assert refusal(key_of(SECRET), headers, body, 1e9) is None


def test_argo_gets_the_bearer_token() -> None:
    came: list[dict[str, str]] = []

    def answer(path: str, headers: dict[str, str], body: bytes) -> Any:
        came.append(headers)
        return reply(200, {})

    with HttpServer(answer) as server:
        url = f"{server.url}/api/v1/events/argo/driftloop"
        assert hand_over(request("argo", url), "c1", BODY, TOKEN, 0.0) == Confirmed("")
        assert hand_over(request("argo", url), "c1", BODY, Credentials(""), 0.0) == Confirmed("")
    assert [headers.get("authorization") for headers in came] == [f"Bearer {FakeAirflow.token}", None]


def test_nothing_is_sent_without_credentials(airflow: FakeAirflow) -> None:
    nobody = Credentials("DRIFTLOOP_HANDOVER_")
    answer = hand_over(request("airflow", airflow.url, dag_id="train_m"), "c1", BODY, nobody, 0.0)
    assert isinstance(answer, Refused)
    assert "DRIFTLOOP_HANDOVER_TOKEN" in answer.reason
    assert isinstance(hand_over(request("webhook", airflow.url), "c1", BODY, nobody, 0.0), Refused)
    assert airflow.posts == 0


def test_a_redirect_is_not_followed(airflow: FakeAirflow) -> None:
    for status in (301, 302, 307, 308):
        with HttpServer(lambda path, headers, body: reply(status, {}, Location=f"{airflow.url}/stolen")) as server:  # noqa: B023
            answer = hand_over(request("argo", server.url), "c1", BODY, TOKEN, 0.0)
        assert isinstance(answer, Refused)
        assert f"{status}, a redirect" in answer.reason
    assert airflow.posts == 0


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_passing_answers_are_for_later(status: int) -> None:
    with HttpServer(lambda path, headers, body: reply(status, {}, **{"Retry-After": "17"})) as server:
        answer = hand_over(request("argo", server.url), "c1", BODY, TOKEN, 0.0)
    assert isinstance(answer, NotNow)
    assert answer.after_s == 17.0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 422])
def test_other_refusals_are_for_good(status: int) -> None:
    with HttpServer(lambda path, headers, body: reply(status, {"why": "x" * 5_000})) as server:
        answer = hand_over(request("argo", server.url), "c1", BODY, TOKEN, 0.0)
    assert isinstance(answer, Refused)
    assert str(status) in answer.reason
    assert len(answer.reason) < 400


def test_nobody_there_and_no_tls_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        answer = hand_over(request("argo", f"http://127.0.0.1:{free.getsockname()[1]}"), "c1", BODY, TOKEN, 0.0)
    assert isinstance(answer, NotNow)
    assert "no connection" in answer.reason
    with HttpServer(lambda path, headers, body: reply(200, {})) as server:
        answer = hand_over(request("argo", server.url.replace("http:", "https:")), "c1", BODY, TOKEN, 0.0)
    assert isinstance(answer, NotNow)


def test_a_slow_server_holds_nobody_up() -> None:
    with HttpServer(dribbling(3.0)) as server:
        began = time.monotonic()
        with pytest.raises(Unreachable, match=r"no answer within|timed out"):
            post(server.url, b"{}", {}, step_s=0.2)
        with pytest.raises(Unreachable, match="no whole answer within"):
            post(server.url, b"{}", {}, step_s=5.0, whole_s=0.3)
        assert time.monotonic() - began < 2.5


def test_a_server_that_sends_a_byte_now_and_then_holds_nobody_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection:
                for _ in range(30):
                    try:
                        connection.sendall(b"H")
                    except OSError:
                        return
                    time.sleep(0.05)

        threading.Thread(target=drip, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(Unreachable, match="no whole answer"):
            post(f"http://127.0.0.1:{listening.getsockname()[1]}", b"{}", {}, step_s=0.5, whole_s=0.4)
        assert time.monotonic() - began < 1.2


def test_little_of_an_answer_is_kept() -> None:
    with HttpServer(lambda path, headers, body: (500, {}, b"x" * 200_000)) as server:
        assert len(post(server.url, b"{}", {}).body) == 65_536
    assert scrubbed("a\x1b[31m\nsecret  b", ["secret"]) == "a [31m *** b"


def test_credentials_by_name_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "risk.token").write_text("risk-token\n")
    (tmp_path / "risk.key").write_text(f"{SECRET}\n")
    settings = Settings(_env_file=None, handover_secrets=tmp_path, handover_token="own-token")  # type: ignore[call-arg,arg-type]
    keyring = Keyring(settings)
    risk = keyring.named("risk")
    assert (risk.token, risk.key, risk.password) == ("risk-token", key_of(SECRET), None)
    assert "risk-token" not in repr(risk)
    assert SECRET not in repr(risk)
    assert {"risk-token", SECRET, "own-token"} <= set(settings.secrets())
    assert keyring.named(None).token == "own-token"
    assert list(keyring.keys()) == [key_of(SECRET)]
    (tmp_path / "risk.token").write_text("new-token")
    assert keyring.named("risk").token == "new-token"
    with pytest.raises(CredentialsError, match=r"there is no other\.token"):
        keyring.named("other")
    (tmp_path / "risk.key").write_text("geheim")
    with pytest.raises(CredentialsError, match=r"risk\.key: expected a key") as caught:
        keyring.named("risk")
    assert "geheim" not in str(caught.value)
    with pytest.raises(CredentialsError, match="DRIFTLOOP_HANDOVER_SECRETS"):
        Keyring(Settings(_env_file=None)).named("risk")  # type: ignore[call-arg]


def test_requests_are_kept_without_secrets() -> None:
    kept = msgspec.json.encode(request("webhook", "https://x", credentials="risk"))
    assert b"risk" in kept
    assert SECRET.encode() not in kept
