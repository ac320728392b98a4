"""What an undisturbed run says, once for all fault tests."""

from __future__ import annotations

import os

import pytest

from conftest import Broker
from faults import workload
from support.cluster import Outcome


@pytest.fixture(scope="session")
def undisturbed(apache_kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("undisturbed")
    settings = workload.settings_of(apache_kafka.bootstrap, f"undisturbed{os.getpid()}", folder)
    outcome = workload.run(settings, folder)
    assert len(outcome.reports) == workload.REPORTS
    assert len(outcome.commands) == 1, "the workload has one drift, which must lead to one command"
    assert outcome.alerts
    return outcome
