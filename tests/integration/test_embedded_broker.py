"""The embedded broker's life."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from driftloop.kafka.acl import create_acls
from driftloop.kafka.admin import BrokerError, wait_for_broker
from driftloop.kafka.embedded import EmbeddedBroker
from driftloop.settings import Settings

pytestmark = pytest.mark.broker


def test_starts_answers_and_is_gone_after_stop(tmp_path: Path) -> None:
    log_file = tmp_path / "logs" / "broker.log"
    with EmbeddedBroker(log_file=log_file) as broker:
        assert broker.alive
        assert log_file.exists()
        wait_for_broker({"bootstrap.servers": broker.bootstrap}, 2)
        pid = broker.pid
        assert pid is not None
    assert not broker.alive
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    broker.stop()


def test_rights_cannot_be_allowed_at_it() -> None:
    with EmbeddedBroker() as broker:
        settings = Settings(bootstrap=broker.bootstrap)
        with pytest.raises(BrokerError, match="no access lists"):
            create_acls(settings, "monitor", "User:monitor")
    with pytest.raises(BrokerError, match="cannot allow User:monitor"):
        create_acls(settings, "monitor", "User:monitor")


def test_ctrl_c_in_the_terminal_does_not_reach_it(tmp_path: Path) -> None:
    with EmbeddedBroker(log_file=tmp_path / "broker.log") as broker:
        assert broker.pid is not None
        assert os.getpgid(broker.pid) != os.getpgid(0)


def test_notices_that_it_was_killed(tmp_path: Path) -> None:
    with EmbeddedBroker(log_file=tmp_path / "broker.log") as broker:
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        broker._process.wait(5)  # type: ignore[union-attr]
        assert not broker.alive


def test_a_port_in_use_is_an_error_and_not_somebody_elses_broker(tmp_path: Path) -> None:
    with EmbeddedBroker(log_file=tmp_path / "one.log") as first:
        second = EmbeddedBroker(first.port, tmp_path / "two.log")
        with pytest.raises(BrokerError, match="Address already in use; choose another port"):
            second.start(5)
        assert not second.alive


def test_a_broker_that_ends_at_once_is_an_error_with_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "tansu"
    binary.write_text("#!/bin/sh\necho I cannot go on; exit 3\n", "utf-8")
    binary.chmod(0o755)
    monkeypatch.setenv("CALF_TANSU_BIN", str(binary))
    with pytest.raises(BrokerError, match="I cannot go on"):
        EmbeddedBroker(log_file=tmp_path / "broker.log").start(5)


def test_the_address_is_known_once_started() -> None:
    with pytest.raises(BrokerError, match=r"call start\(\) first"):
        _ = EmbeddedBroker().bootstrap
