"""The trainer's port for results, for the tests of who reports to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from driftloop.observability.server import serve
from driftloop.settings import Settings
from driftloop.training.handover.results import MOST_BODY_BYTES, RESULT_PATH
from support.results_port import KEY, RISK, Port


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "risk.key").write_text(RISK)
    values = {"handover_key": KEY, "handover_secrets": str(tmp_path / "secrets"), "data_dir": str(tmp_path / "data")}
    for name, value in {**values, "bootstrap": "127.0.0.1:9"}.items():
        monkeypatch.setenv(f"DRIFTLOOP_{name.upper()}", value)
    monkeypatch.chdir(tmp_path)
    return Settings()


@pytest.fixture
def port(tmp_path: Path, settings: Settings) -> Iterator[Port]:
    port = Port(tmp_path, settings)

    def most(path: str) -> int | None:
        return MOST_BODY_BYTES if RESULT_PATH.fullmatch(path) else None

    with serve(
        CollectorRegistry(), "127.0.0.1", 0, {}, post=port.results.post, admit=port.results.admit, most_body_bytes=most
    ) as server:
        port.server = server
        yield port
    port.engine.dispose()
