"""The demo's event clock: how far the production service may run ahead of the loop that watches it.

At full speed a few seconds of training would be weeks of event time, and the closed loop would be late through no fault
of its own. So the clock stays within ``ahead_ms`` of the slowest model's last final outcome window, and stands still
while a retrain command is being worked on.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from driftloop.events.decisions import ModelEvent, RetrainCommand
from driftloop.events.time import duration_text, format_time

__all__ = ["Pace", "ReportHead"]

#: A model event of these kinds says that its command is done with.
_DONE = frozenset({"promoted", "rejected", "failed", "held", "awaiting_approval", "shadow_started", "canary_started"})


class ReportHead(Struct, frozen=True):
    """The part of a window report that the pace needs."""

    model_id: str
    kind: str
    segment: str
    window_end_ms: int
    status: str


class Pace:
    """What was heard from the loop, and what it means for the clock. Knows no wall time."""

    def __init__(self, models: Iterable[str], from_ms: int, ahead_ms: int) -> None:
        """``from_ms``: where the stream begins; nothing before it can become final."""
        self.ahead_ms = ahead_ms
        self.final_ms = dict.fromkeys(models, from_ms)
        self._open: dict[str, RetrainCommand] = {}
        self._done: set[str] = set()

    @property
    def slowest_ms(self) -> int:
        """End of the last final outcome window of the model that is furthest behind."""
        return min(self.final_ms.values())

    @property
    def training(self) -> list[RetrainCommand]:
        """Commands that nothing came of yet."""
        return list(self._open.values())

    def observe_report(self, report: ReportHead) -> None:
        if (
            report.kind == "outcome"
            and not report.segment
            and report.status == "final"
            and report.model_id in self.final_ms
        ):
            self.final_ms[report.model_id] = max(self.final_ms[report.model_id], report.window_end_ms)

    def observe_command(self, command: RetrainCommand) -> None:
        if command.command_id not in self._done and command.model_id in self.final_ms:
            self._open[command.command_id] = command

    def observe_model_event(self, event: ModelEvent) -> None:
        # The event may come before the command: they are on different topics.
        if event.command_id is not None and event.kind in _DONE:
            self._done.add(event.command_id)
            self._open.pop(event.command_id, None)

    def give_up_on(self, command_id: str) -> None:
        """No longer wait for this command."""
        self._done.add(command_id)
        self._open.pop(command_id, None)

    def hold(self, clock_ms: int) -> str | None:
        """Why the clock must stand still at ``clock_ms``; None if it may go on."""
        if self._open:
            names = ", ".join(sorted({command.model_id for command in self._open.values()}))
            return f"the clock waits while {names} is retrained"
        if clock_ms - self.slowest_ms > self.ahead_ms:
            day, ahead = format_time(self.slowest_ms), duration_text(self.ahead_ms)
            return f"the clock waits for the window after {day} ({ahead} ahead)"
        return None
