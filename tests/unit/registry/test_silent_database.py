"""A PostgreSQL that is paused refuses nothing and answers nothing: nobody waits for it without a limit."""

from __future__ import annotations

import json
import math
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from driftloop.observability import serve
from driftloop.registry import _postgresql, create_schema, database, open_engine
from driftloop.registry.database import database_problem, reading, writing
from support.postgres import PostgresServer, find_binaries


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One of these tests' own, since others would not like it to be paused."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed")
    with tempfile.TemporaryDirectory(prefix="driftloop-postgres-", ignore_cleanup_errors=True) as outer:
        Path(outer).chmod(0o755)
        folder = Path(outer) / "server"
        folder.mkdir()
        server = PostgresServer(binaries, folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def engine(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """With shorter limits than in production: a second of silence, though statements may take thirty."""
    monkeypatch.setattr(_postgresql, "_MARGIN_S", -29.0)
    monkeypatch.setattr(_postgresql, "_CONNECT_S", 2)
    engine = open_engine(server.url)
    create_schema(engine)
    yield engine
    server.resume()
    engine.dispose()


def _ask(engine: Engine, *statements: str, between: Callable[[], object] = lambda: None) -> None:
    """A transaction; ``between`` is called after each statement."""
    with writing(engine) as connection:
        for statement in statements:
            connection.execute(text(statement))
            between()


def test_what_a_paused_server_was_asked_ends_as_a_lost_connection(server: PostgresServer, engine: Engine) -> None:
    began_s = time.monotonic()
    with pytest.raises(OperationalError, match="said nothing for 1 s"):
        _ask(engine, "SELECT 1", "SELECT 2", between=server.pause)
    assert time.monotonic() - began_s < 10
    assert "connection timeout expired" in str(database_problem(engine)), "a new one is not waited for either"
    server.resume()
    assert database_problem(engine) is None


def test_a_commit_that_is_not_answered_ends_too(server: PostgresServer, engine: Engine) -> None:
    with pytest.raises(OperationalError, match="said nothing for 1 s"):
        _ask(engine, "SELECT 1", between=server.pause)


def test_probes_are_answered_meanwhile_and_no_threads_pile_up(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(server.url)
    create_schema(engine)
    with serve(CollectorRegistry(), "127.0.0.1", 0, {"database": lambda: database_problem(engine)}) as probes:
        assert _ready(probes.url)[0] == 200
        server.pause()
        threads: list[int] = []
        for _ in range(5):
            began_s = time.monotonic()
            status, text = _ready(probes.url)
            assert time.monotonic() - began_s < 1.5, "docs/guarantees.md promises an answer within a second"
            assert (status, list(json.loads(text)["checks"])) == (503, ["database"])
            threads.append([thread.name for thread in threading.enumerate()].count("check database"))
        assert threads == [1] * 5
        server.resume()
        deadline_s = time.monotonic() + 10
        while _ready(probes.url)[0] != 200:
            assert time.monotonic() < deadline_s
    engine.dispose()


def _ready(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _shown(connection: Connection, *names: str) -> list[str]:
    return [str(connection.execute(text(f"SHOW {name}")).scalar()) for name in names]


def _silence_s(url: str) -> float:
    engine = open_engine(url)
    with reading(engine) as connection:
        own = connection.connection.dbapi_connection
        assert isinstance(own, _postgresql.PatientConnection)
        found = own.silence_s
    engine.dispose()
    return found


def test_a_server_that_is_well_has_limits_too_unless_the_url_has_others(
    server: PostgresServer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reading(engine) as connection:
        assert _shown(connection, "statement_timeout", "tcp_keepalives_idle") == ["30s", "10"]
    own = open_engine(f"{server.url}?options=-c%20statement_timeout%3D7s&connect_timeout=3")
    with reading(own) as connection:
        assert _shown(connection, "statement_timeout", "tcp_keepalives_idle") == ["7s", "10"]
        parameters = connection.connection.dbapi_connection.info.get_parameters()  # type: ignore[union-attr]
        assert (parameters["connect_timeout"], parameters["tcp_user_timeout"]) == ("3", "20000")
    own.dispose()
    monkeypatch.setattr(_postgresql, "_MARGIN_S", 10.0)
    assert _silence_s(server.url) == 40.0
    for options, silence_s in (("2min", 130.0), ("0", math.inf)):
        assert _silence_s(f"{server.url}?options=-c%20statement_timeout%3D{options}") == silence_s
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=8s")
    other = open_engine(server.url)
    with reading(other) as connection:
        assert _shown(connection, "statement_timeout") == ["8s"]
    other.dispose()


def test_migrations_take_as_long_as_they_take(engine: Engine) -> None:
    with database._migrating(engine) as connection:
        assert _shown(connection, "statement_timeout") == ["0"]
        connection.execute(text("SELECT pg_sleep(1.5)"))
    with reading(engine) as connection:
        assert _shown(connection, "statement_timeout") == ["30s"]
    with pytest.raises(OperationalError, match="said nothing for 1 s"):
        _ask(engine, "SELECT pg_sleep(1.5)")


def test_the_driver_still_waits_where_the_limits_are(engine: Engine) -> None:
    """The limits hang on how psycopg calls what waits: each kind of word to the server goes through it."""
    counted: list[str] = []
    original = _postgresql.PatientConnection.wait

    def wait(self: _postgresql.PatientConnection, gen: object, *more: object, **named: object) -> object:
        counted.append(getattr(gen, "__name__", "?"))
        return original(self, gen, *more, **named)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_postgresql.PatientConnection, "wait", wait)
        _ask(engine, "SELECT 1")
        with pytest.raises(ProgrammingError):
            _ask(engine, "SELECT nothing_of_this_name")
    assert {"_execute_gen", "_commit_gen", "_rollback_gen"} <= set(counted)
