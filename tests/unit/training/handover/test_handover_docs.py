"""The examples of docs/training.md: they are Python, and the receiver understands what driftloop sends and back."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast
from urllib.error import HTTPError

import msgspec
import pytest

from driftloop.spec.handover import HandoverSpec
from driftloop.spec.load import parse_spec
from driftloop.training.artifacts import load
from driftloop.training.dataset import from_frame
from driftloop.training.handover.messages import GivenData, Report, body_of
from driftloop.training.handover.signature import key_of, refusal, signed_headers
from support.results_port import ID, NOW, Port
from support.training_rows import make_rows, make_spec

DOCS = Path(__file__).resolve().parents[4] / "docs" / "training.md"
SECTION = DOCS.read_text().partition("\n## Handing a training over\n")[2]
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", SECTION, re.M | re.S)


class Airflow:
    """Stands for ``airflow.sdk``: DAG and task run when they are called, with the message as the run's ``conf``."""

    def __init__(self, message: dict[str, Any]) -> None:
        self.context: dict[str, Any] = {"dag_run": SimpleNamespace(conf=message)}
        self.of_task: dict[str, Any] = {}

    def module(self) -> ModuleType:
        made: Any = ModuleType("airflow.sdk")
        made.dag = lambda **more: lambda function: function
        made.task = self._task
        made.get_current_context = lambda: self.context
        return cast(ModuleType, made)

    def _task(self, **more: Any) -> Any:
        self.of_task = more
        return lambda function: function


@pytest.fixture
def airflow(port: Port, monkeypatch: pytest.MonkeyPatch) -> Airflow:
    """With a message as the trainer sends it, whose data set is in the store of the port."""
    spec = make_spec(
        model="m",
        training={
            "handover": HandoverSpec(
                to="airflow", url="http://airflow", dag_id="train_flights", parameters={"trees": 3}
            )
        },
    )
    spec = msgspec.structs.replace(spec, features={"x": spec.features["x"], "noise": spec.features["noise"]})
    frame, labels, times = make_rows()
    data = from_frame(spec, frame, labels, times)
    stored = port.files.put_bytes(data.to_parquet(), ".parquet")
    given = GivenData(
        uri=stored.uri, sha256=stored.sha256, size=stored.size, rows=len(data), first_predicted_ms=0,
        last_predicted_ms=int(times[-1]), features=list(spec.features),
    )  # fmt: skip
    assert port.server is not None
    url = f"http://127.0.0.1:{port.server.port}/runs/{ID}/result"
    command = port.runs.find(ID)[0].command
    told = Report(url=url, command="", timeout_ms=1000)
    message = json.loads(body_of(spec, command, given, None, told, int(NOW * 1000)))
    monkeypatch.setenv("DRIFTLOOP_ARTIFACTS", str(port.files.folder))
    airflow = Airflow(message)
    monkeypatch.setitem(sys.modules, "airflow", ModuleType("airflow"))
    monkeypatch.setitem(sys.modules, "airflow.sdk", airflow.module())
    port.now = time.time()  # the DAG signs with its own clock
    return airflow


def test_the_dag_trains_and_its_result_is_taken(port: Port, airflow: Airflow) -> None:
    dag = compile(blocks("python")[0], "dag.py", "exec")
    exec(dag, {})
    kept = port.kept()
    assert (kept.status, port.told) == ("succeeded", 1)
    pipeline = load(port.files.read(kept.artifact.uri), sha256=kept.artifact.sha256)
    assert pipeline.named_steps["model"].n_iter_ == 3
    assert list(pipeline.feature_names_in_) == ["x", "noise"]
    # A task that is run once more makes another file: the first one counts, and a refusal is not asked for again.
    with pytest.raises(HTTPError, match="409"):
        exec(dag, {})
    with pytest.raises(HTTPError, match="409"):
        airflow.of_task["on_failure_callback"]({**airflow.context, "exception": ValueError("no memory")})
    assert port.kept() == kept


def test_the_dag_reports_a_failure_and_comes_again_after_503(
    port: Port, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow.context["dag_run"].conf["data"]["dataset"]["sha256"] = "0" * 64
    with pytest.raises(AssertionError):
        exec(compile(blocks("python")[0], "dag.py", "exec"), {})
    away, get, pauses = [OSError("the database is away")], port.store.get, []

    def once_away(command_id: str) -> Any:
        if away:
            raise away.pop()
        return get(command_id)

    monkeypatch.setattr(port.store, "get", once_away)
    monkeypatch.setattr(time, "sleep", pauses.append)
    airflow.of_task["on_failure_callback"]({**airflow.context, "exception": AssertionError()})
    assert (port.kept().status, port.kept().reason) == ("failed", "AssertionError()")
    assert pauses == [5]


def test_the_receiver_and_driftloop_understand_each_other() -> None:
    scope: dict[str, Any] = {}
    exec(compile(blocks("python")[1], "receiver.py", "exec"), scope)
    now = time.time()
    headers = signed_headers(key_of(KEY), "c1", int(now), b"{}")
    assert scope["fits"](KEY, headers, b"{}")
    assert not scope["fits"](KEY, headers, b"{ }")
    assert not scope["fits"](KEY, signed_headers(key_of(KEY), "c1", int(now) - 400, b"{}"), b"{}")
    assert refusal(key_of(KEY), scope["signed"](KEY, "r1", b"{}"), b"{}", now) is None


def test_the_spec_is_one() -> None:
    spec = "model: flights-late\ntask: binary\nfeatures: {temp: {kind: numeric}}\n" + blocks("yaml")[0]
    handover = parse_spec(spec).training.handover
    assert handover is not None
    assert (handover.to, handover.credentials) == ("airflow", "risk")
