"""The assessor waits for its database, in what it reads as in what it commits."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import OperationalError

import driftloop.streaming.assessor as shell


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.mark.parametrize(("away_s", "answers"), [(0, True), (30, True), (59, True), (90, False)])
def test_a_minute_without_the_database_is_waited_out(
    monkeypatch: pytest.MonkeyPatch, away_s: float, answers: bool
) -> None:
    clock = Clock()
    monkeypatch.setattr(shell, "time", clock)

    def read(model: str, *, version: str) -> str:
        if clock.now_s < away_s:
            raise OperationalError("select", None, Exception("connection refused"))
        return f"{model} {version}"

    if answers:
        assert shell._patient(read)("credit", version="v1") == "credit v1"
        assert clock.now_s == away_s
    else:
        with pytest.raises(OperationalError):
            shell._patient(read)("credit", version="v1")


def test_other_errors_are_not_waited_out() -> None:
    with pytest.raises(LookupError):
        shell._patient({}.__getitem__)("credit")
