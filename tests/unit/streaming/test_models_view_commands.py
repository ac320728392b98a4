"""The assessor's metrics of open commands: from the database, whoever works on them, and also after a restart."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy.exc import OperationalError

from driftloop.observability import Metrics
from driftloop.registry.open_commands import OpenCommand
from driftloop.settings import Settings
from driftloop.streaming.models_view import ModelsView

NOTHING: Any = None


class Database:
    def __init__(self) -> None:
        self.found: list[OpenCommand] = []
        self.away = False

    def __call__(self, models: Collection[str]) -> list[OpenCommand]:
        if self.away:
            raise OperationalError("select", {}, Exception("away"))
        return [command for command in self.found if command.model_id in models]


def test_idle_commands_and_the_first_limit_are_shown_until_they_are_over() -> None:
    metrics, database = Metrics(), Database()
    view = ModelsView(Settings(), NOTHING, NOTHING, metrics, database)
    view._models = {"m", "quiet"}

    def shown(name: str, model: str = "m") -> float | None:
        view._commands_due_s = 0.0
        view._show_commands()
        return metrics.registry.get_sample_value(f"driftloop_retrain_{name}", {"model": model})

    assert (shown("commands_open"), shown("commands_idle"), shown("limit_timestamp_seconds")) == (0, 0, None)
    database.found = [
        OpenCommand(command_id="a", model_id="m", state="idle"),
        OpenCommand(command_id="b", model_id="m", state="handed_over", limit=500.0),
        OpenCommand(command_id="c", model_id="m", state="running", limit=200.0),
        OpenCommand(command_id="d", model_id="theirs", state="idle"),
    ]
    assert (shown("commands_open"), shown("commands_idle"), shown("limit_timestamp_seconds")) == (3, 1, 200.0)
    assert (shown("commands_open", "quiet"), shown("commands_idle", "theirs")) == (0, None)
    database.away = True  # what was known stays
    assert (shown("commands_open"), shown("commands_idle"), shown("limit_timestamp_seconds")) == (3, 1, 200.0)
    database.away, database.found = False, []
    assert (shown("commands_open"), shown("commands_idle"), shown("limit_timestamp_seconds")) == (0, 0, None)
    metrics.forget_model("m")
    assert metrics.registry.get_sample_value("driftloop_retrain_commands_idle", {"model": "m"}) is None
