"""Databases for the registry's tests: SQLite, and PostgreSQL where ``DRIFTLOOP_TEST_POSTGRES`` names a server or one
is installed."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url

from driftloop.registry import ArtifactStore, Registry, create_schema, open_engine
from support.postgres import find_binaries, running_postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server."""
    given = os.environ.get("DRIFTLOOP_TEST_POSTGRES")
    if given:
        yield given
        return
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed, and DRIFTLOOP_TEST_POSTGRES names none")
    # Not tmp_path_factory: its folders are closed to the account that the server runs under.
    with tempfile.TemporaryDirectory(prefix="driftloop-postgres-", ignore_cleanup_errors=True) as outer:
        Path(outer).chmod(0o755)
        folder = Path(outer) / "server"
        folder.mkdir()
        with running_postgres(binaries, folder) as url:
            yield url


@pytest.fixture(scope="session")
def administration(postgres_server: str) -> Iterator[Engine]:
    """For what the tests' own engines don't do: a schema for each test, which is much quicker than a database."""
    server = make_url(postgres_server).set(drivername="postgresql+psycopg")
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of the test's own."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'folder' / 'registry.db'}"
        return
    administration: Engine = request.getfixturevalue("administration")
    name = f"driftloop_{uuid.uuid4().hex}"
    with administration.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    own = administration.url.update_query_dict({"options": f"-csearch_path={name}"})
    yield own.render_as_string(hide_password=False)
    with administration.connect() as connection:
        # A connection that a test left open would keep its locks, and this waiting.
        connection.execute(text("SET lock_timeout = '10s'"))
        connection.execute(text(f"DROP SCHEMA {name} CASCADE"))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    create_schema(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def registry(engine: Engine, store: ArtifactStore) -> Registry:
    registry = Registry(engine, store)
    registry.ensure_model("late", "binary", "digest-1")
    return registry
