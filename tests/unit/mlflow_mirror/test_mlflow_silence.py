"""No answer of an MLflow server, told from answers that say no. Needs MLflow's client and no server."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from driftloop.mlflow_mirror.silence import Silence, silence_of


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that takes requests and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_no_answer_is_told_from_no_connection(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where no connection is made the other models are not tried: a request that is not answered may be one that
    the server cannot digest."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    for url, expected in (
        (silent, Silence("timed out", unreachable=False)),
        ("http://127.0.0.1:9", Silence("Connection refused", unreachable=True)),
    ):
        with pytest.raises(MlflowException) as raised:
            MlflowClient(url, url).get_experiment_by_name("x")
        assert silence_of(raised.value) == expected
    assert silence_of(MlflowException("RESOURCE_DOES_NOT_EXIST: no such run")) is None
    assert silence_of(OSError(28, "No space left on device")) is None
