"""``training.handover`` in a spec."""

from __future__ import annotations

import msgspec
import pytest

from driftloop.spec import SpecError, parse_spec

GOOD = {"to": "webhook", "url": "https://train.example.com/hook"}


def parsed(handover: dict[str, object], **training: object):  # type: ignore[no-untyped-def]
    spec = {
        "model": "late",
        "task": "binary",
        "features": {"temp": {"kind": "numeric"}},
        "training": {"handover": handover, **training},
    }
    return parse_spec(msgspec.json.encode(spec).decode())


def test_defaults() -> None:
    handover = parsed(GOOD).training.handover
    assert (handover.timeout_ms, handover.retry_for_ms, handover.credentials) == (6 * 3_600_000, 3_600_000, None)
    airflow = parsed({"to": "airflow", "url": "http://airflow:8080", "dag_id": "train", "parameters": {"a": [1]}})
    assert airflow.training.handover.parameters == {"a": [1]}


@pytest.mark.parametrize(
    ("change", "training", "key", "said"),
    [
        ({"url": "ftp://x"}, {}, "training.handover.url", "https:// or http://"),
        ({"url": "file:///etc/passwd"}, {}, "training.handover.url", "https:// or http://"),
        ({"url": "train.example.com"}, {}, "training.handover.url", "https:// or http://"),
        ({"url": "https://"}, {}, "training.handover.url", "names a host"),
        ({"url": "https://x:99999/"}, {}, "training.handover.url", "no URL"),
        ({"url": "https://x/a b"}, {}, "training.handover.url", "no spaces"),
        ({"url": "https://me:geheim@x/"}, {}, "training.handover.url", "no user or password"),
        ({"to": "airflow"}, {}, "training.handover.dag_id", "needs the DAG"),
        ({"to": "airflow", "dag_id": "d", "url": "https://x/?a=1"}, {}, "training.handover.url", "base URL"),
        ({"dag_id": "d"}, {}, "training.handover.dag_id", "only to: airflow"),
        ({"timeout": "soon"}, {}, "training.handover.timeout", "duration"),
        ({"timeout": "0s"}, {}, "training.handover.timeout", "longer than nothing"),
        ({"retry_for": "0s"}, {}, "training.handover.retry_for", "longer than nothing"),
        ({"credentials": "../geheim"}, {}, "training.handover.credentials", "in files"),
        ({"to": "jenkins"}, {}, "training.handover.to", ""),
        ({"token": "geheim"}, {}, "training.handover", "token"),
        ({}, {"candidates": [{"candidate": "everything"}]}, "training.candidates", "another's"),
        ({}, {"search": {"parameters": {"a": [1]}}}, "training.search", "another's"),
        ({}, {"river": {"model": "river.linear_model.LogisticRegression"}}, "training.river", "another's"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(
    change: dict[str, object], training: dict[str, object], key: str, said: str
) -> None:
    with pytest.raises(SpecError) as caught:
        parsed({**GOOD, **change}, **training)
    assert key in str(caught.value)
    assert said in str(caught.value)
    assert "geheim@" not in str(caught.value)
