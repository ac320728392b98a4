"""The examples of docs/training.md: they are Python, and the receiver understands what driftloop sends and back."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from driftloop.spec.load import parse_spec
from driftloop.training.handover.signature import key_of, refusal, signed_headers

DOCS = Path(__file__).resolve().parents[4] / "docs" / "training.md"
SECTION = DOCS.read_text().partition("\n## Handing a training over\n")[2]
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", SECTION, re.M | re.S)


def test_the_dag_is_python_and_uses_the_fields_that_there_are() -> None:
    dag, _ = blocks("python")
    compile(dag, "dag.py", "exec")
    for field in ('["data"]', '["dataset"]["uri"]', '["dataset"]["sha256"]', '["command_id"]'):
        assert field in dag


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
