"""What an undisturbed run says, once for all fault tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Broker
from driftloop.settings import Settings
from faults import workload
from support.cluster import Outcome
from support.postgres import PostgresServer, find_binaries


@pytest.fixture(scope="session")
def calm_settings(apache_kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("undisturbed")
    return workload.settings_of(apache_kafka.bootstrap, f"undisturbed{os.getpid()}", folder)


@pytest.fixture(scope="session")
def undisturbed(calm_settings: Settings) -> Outcome:
    outcome = workload.run(calm_settings, calm_settings.data_dir.parent, pace_s=workload.QUICK_S)
    assert len(outcome.reports) == workload.REPORTS
    assert len(outcome.commands) == 1, "the workload has one drift, which must lead to one command"
    assert outcome.alerts
    return outcome


@pytest.fixture(scope="session")
def training_s(calm_settings: Settings, undisturbed: Outcome) -> float:
    """Seconds from the command's arrival until its events are published, on this machine."""
    run = workload.only_run(calm_settings)
    assert run.ended is not None
    # Published in the next turn of the trainer's loop.
    return run.ended - run.started + 0.3


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    binaries = find_binaries()
    if binaries is None:
        if os.environ.get("CI"):
            pytest.fail("CI must not skip the tests on PostgreSQL: no server was found")
        pytest.skip("no PostgreSQL server on this machine")
    # Not below pytest's folder, which another account may not enter.
    with tempfile.TemporaryDirectory(prefix="driftloop-postgres-") as root:
        os.chmod(root, 0o755)
        folder = Path(root) / "server"
        folder.mkdir()
        server = PostgresServer(binaries, folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
