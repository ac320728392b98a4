"""What several integration tests compare with."""

from __future__ import annotations

import os
import random

import pytest

from conftest import Broker
from integration.test_kill import REPORTS, run
from support.cluster import Outcome


@pytest.fixture(scope="session")
def undisturbed(apache_kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What one worker leaves behind that nobody disturbs."""
    result = run(apache_kafka, f"calm{os.getpid()}", tmp_path_factory.mktemp("calm"), None, random.Random(0))
    assert len(result.reports) == REPORTS
    assert result.commands, "the workload has a drift that must lead to a command"
    return result
