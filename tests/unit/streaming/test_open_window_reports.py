"""The shell around provisional reports: how often, and that a database that does not answer stops nothing."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

import driftloop.streaming.assessor as shell
from driftloop.settings import Settings
from driftloop.streaming.assessor import AssessorService
from support.events import outcome_report


class Fake:
    """Assessor, store, relay and view at once."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.committed: list[Any] = []
        self.shown: list[Any] = []
        self.broken = False

    def open_reports(self, limit: int) -> list[Any]:
        assert threading.current_thread() is not threading.main_thread(), "judging would stop the event loop"
        self.asked.append(limit)
        return [(outcome_report(), b"")]

    def commit(self, **options: Any) -> None:
        if self.broken:
            raise OperationalError("insert", None, Exception("the disk is full"))
        self.committed.append(options)

    def show(self, committed: Any) -> None:
        self.shown += committed.reports

    def publish_pending(self) -> None: ...

    def refresh(self) -> None: ...


async def test_open_windows_are_reported_every_few_seconds_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake()
    now_s = [1_000.0]
    monkeypatch.setattr(shell.time, "monotonic", lambda: now_s[0])
    service = AssessorService(Settings(), {}, fake, fake, fake, fake, fake, fake)  # type: ignore[arg-type]
    service._assessors = {0: fake}  # type: ignore[dict-item]
    for _ in range(5):
        await service.tick()
        now_s[0] += 2.0
    assert len(fake.asked) == 2
    assert all("states" not in options for options in fake.committed), "no state of a model is touched"
    assert len(fake.shown) == 2
    fake.broken = True
    now_s[0] += 10.0
    await service.tick()
    assert len(fake.asked) == 3
    assert len(fake.shown) == 2
