"""Secrets are planted in every setting that may hold one, things go wrong, and nothing that is shown has them."""

from __future__ import annotations

import importlib
import io
import logging
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import typer
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

from driftloop.cli import main
from driftloop.cli.doctor import examine
from driftloop.cli.mlflow import app as mlflow_app
from driftloop.kafka import log_reader
from driftloop.kafka.admin import check_topics, create_topics
from driftloop.observability.logs import configure_logs, get_logger
from driftloop.registry import ArtifactStore, NewVersion, Registry, RegistryError, create_schema, open_engine
from driftloop.settings import Settings, secret_settings
from driftloop.streaming.runtime import open_runtime
from driftloop.training.service import run_trainer

PLANTED = {
    "sasl_password": "Planted-1-sasl",
    "ssl_key_password": "Planted-2-key",
    "web_token": "Planted-5-token",
    "handover_token": "Planted-6-bearer",
    "handover_password": "Planted-7-airflow",
    "handover_key": "whsec_Planted8Planted8Planted8Planted8",
}
#: What other clients read from the environment.
OF_CLIENTS = {
    "MLFLOW_TRACKING_PASSWORD": "Planted-9-mlflow",
    "MLFLOW_TRACKING_TOKEN": "Planted-10-bearer",
    "AWS_SECRET_ACCESS_KEY": "Planted/11+aws",
    "AWS_SESSION_TOKEN": "Planted-12-session",
}
DATABASE = "postgresql://me:Planted%403%2Furl@127.0.0.1:9/db?sslpassword=Planted-4-parameter&connect_timeout=2"
#: What must not be seen: each secret, as it is written and as it is meant.
HIDDEN = [*PLANTED.values(), *OF_CLIENTS.values()]
HIDDEN += ["Planted%2F11%2Baws", "Planted%403%2Furl", "Planted@3/url", "Planted-4-parameter", "Planted"]


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose secrets are all planted, for a broker and a database that don't answer."""
    values = {**PLANTED, "database_url": DATABASE}
    assert set(values) == set(secret_settings()), "plant something in the new secret setting"
    values |= {
        "bootstrap": "127.0.0.1:9",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_username": "me",
        "data_dir": str(tmp_path / "data"),
        "specs": str(tmp_path),
        "metrics_port": "0",
        "mlflow_tracking_uri": "http://127.0.0.1:9",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"DRIFTLOOP_{name.upper()}", value)
    for name, value in OF_CLIENTS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "late.yaml").write_text("{model: late, task: binary, features: {temp: {kind: numeric}}}")
    return Settings()


@pytest.fixture
def log_stream(planted: Settings, request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = (root.handlers, root.level)
    stream = io.StringIO()
    configure_logs("debug", request.param, stream, secrets=planted.secrets())
    yield stream
    root.handlers, root.level = before[0], before[1]


def _assert_hidden(shown: str) -> None:
    assert [secret for secret in HIDDEN if secret in shown] == [], shown


def _counted_soon(count: Callable[..., int], consumer: Any, topic: str, timeout_s: float) -> int:
    return count(consumer, topic, min(timeout_s, 0.3))


@pytest.mark.parametrize(
    "command",
    [
        "doctor:doctor",
        "doctor:doctor --json",
        "db:app current",
        "db:app upgrade",
        "models:app list",
        "models:app promote late v1",
        "registry:app verify",
        "registry:app gc",
        "replay:replay --from 2024-01-01 --to 2024-01-02",
        "reports:reports",
        "retrain:retrain late --yes --reason r",
        "runs:app list",
        "runs:app show c",
        "runs:app show c --follow",
        "runs:app report c --failed r",
        "audit:audit p1",
        "mlflow:app status",
        "mlflow:app sync",
        "topics:app create",
        "topics:app check",
    ],
)
def test_commands_that_fail_to_connect(planted: Settings, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftloop.cli.doctor.examine", partial(examine, timeout_s=0.3))
    for name, function in (("create_topics", create_topics), ("check_topics", check_topics)):
        monkeypatch.setattr(f"driftloop.cli.topics.{name}", partial(function, timeout_s=0.3))
    monkeypatch.setattr(log_reader, "count_partitions", partial(_counted_soon, log_reader.count_partitions))
    target, *arguments = command.split()
    module, name = target.split(":")
    found = getattr(importlib.import_module(f"driftloop.cli.{module}"), name)
    if not isinstance(found, typer.Typer):
        app = typer.Typer()
        app.command()(found)
        found = app
    result = CliRunner().invoke(found, arguments)
    assert result.exit_code != 0
    assert "127.0.0.1" in result.output or "DRIFTLOOP_BOOTSTRAP" in result.output
    told = "".join(traceback.format_exception(result.exception)) if result.exception else ""
    _assert_hidden(result.output + told)


@pytest.mark.parametrize("log_stream", ["json"], indirect=True)
def test_an_mlflow_that_does_not_answer(log_stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DRIFTLOOP_DATABASE_URL")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings = Settings()
    engine = open_engine(settings.resolved_database_url)
    create_schema(engine)
    registry = Registry(engine, ArtifactStore(settings.resolved_artifacts))
    registry.ensure_model("late", "binary", "d")
    registry.register_version(NewVersion(model_id="late"))
    engine.dispose()
    result = CliRunner().invoke(mlflow_app, ["sync"])
    assert result.exit_code == 1
    assert "127.0.0.1" in result.output
    _assert_hidden(result.output + log_stream.getvalue())


@pytest.mark.parametrize("log_stream", ["json", "console"], indirect=True)
def test_services_that_fail_to_start(planted: Settings, log_stream: io.StringIO) -> None:
    log = get_logger("test")
    log.info("starting", settings=planted, fields=planted.model_dump(), url=planted.resolved_database_url)
    assert run_trainer(planted, broker_timeout_s=0.3) == 1
    try:
        open_runtime(planted)
    except Exception:
        log.exception("cannot start")
    shown = log_stream.getvalue()
    assert "the trainer cannot start" in shown
    assert "OperationalError" in shown
    _assert_hidden(shown)


@pytest.mark.parametrize("log_stream", ["json", "console"], indirect=True)
def test_whatever_is_logged(planted: Settings, log_stream: io.StringIO) -> None:
    """Ours and other libraries' loggers, texts, arguments, mappings, errors and their causes, local variables."""

    def fail() -> None:
        password = PLANTED["sasl_password"]
        try:
            raise ValueError(f"a library repeats {password}")
        except ValueError as error:
            raise RuntimeError(f"connection with {DATABASE} failed") from error

    other = logging.getLogger("some.library")
    try:
        fail()
    except RuntimeError as error:
        get_logger("test").error("failed", error=error, exc_info=True, nested={"a": [{"b": str(error)}], "token": "t9"})
        other.exception("failed: %s, %r", error, {"sasl.password": PLANTED["sasl_password"]})
        other.error("with %(url)s", {"url": DATABASE})
        other.error(
            "a client says %s, %s", " ".join(OF_CLIENTS.values()), quote(OF_CLIENTS["AWS_SECRET_ACCESS_KEY"], safe="")
        )
        get_logger("test").error("failed", answer=list(OF_CLIENTS.values()))
        other.error("meant %s", "Planted@3/url", extra={"config": {"ssl.key.password": "Planted-2-key"}})
    shown = log_stream.getvalue()
    assert shown.count("a library repeats ***") == 2
    assert "t9" not in shown
    _assert_hidden(shown)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:Planted@3@host/db",
        "postgresql://me@host:Planted/db",
        "postgresql:/me:Planted",
        "Planted",
        "mysql://me:Planted@host/db",
        "postgresql://me:pw@Planted@host:5432/db",
    ],
)
def test_database_urls_that_cannot_be_used(url: str) -> None:
    with pytest.raises(RegistryError) as caught:
        open_engine(url)
    _assert_hidden("".join(traceback.format_exception(caught.value)))


def test_tracebacks_of_a_failing_connection(planted: Settings) -> None:
    with pytest.raises(OperationalError) as caught:
        open_engine(planted.resolved_database_url).connect()
    _assert_hidden("".join(traceback.format_exception(caught.value)))


def test_tracebacks_of_commands_show_no_local_variables() -> None:
    assert main.app.pretty_exceptions_show_locals is False
