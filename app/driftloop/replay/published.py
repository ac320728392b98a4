"""What the live system has published: reports, alerts and commands, each once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from driftloop.events.decisions import RetrainCommand
from driftloop.events.messages import Alert
from driftloop.events.reports import WindowReport
from driftloop.kafka.config import client_config
from driftloop.kafka.log_reader import read_topic
from driftloop.settings import Settings

__all__ = ["Published", "read_events", "read_published"]


EventT = TypeVar("EventT")


@dataclass
class Published:
    """By id, in the order of the topics."""

    reports: dict[str, WindowReport] = field(default_factory=dict)
    alerts: dict[str, Alert] = field(default_factory=dict)
    commands: dict[str, RetrainCommand] = field(default_factory=dict)

    def judged_until_ms(self) -> dict[tuple[str, str], int]:
        """(model, kind) to the end of the last final window."""
        until: dict[tuple[str, str], int] = {}
        for report in self.reports.values():
            key = (report.model_id, report.kind)
            until[key] = max(until.get(key, report.window_end_ms), report.window_end_ms)
        return until


def read_published(settings: Settings) -> Published:
    """Read the topics of reports (final ones), alerts and commands to their present ends."""
    topics = settings.topics
    published = Published()
    for report in read_events(settings, topics.window_reports, WindowReport):
        if report.status == "final":
            published.reports[report.report_id] = report
    for alert in read_events(settings, topics.alerts, Alert):
        published.alerts[alert.event_id] = alert
    for command in read_events(settings, topics.retrain_commands, RetrainCommand):
        published.commands[command.command_id] = command
    return published


def read_events(settings: Settings, topic: str, kind: type[EventT]) -> list[EventT]:
    """Every event of a topic up to its present end, copies included."""
    decode = msgspec.json.Decoder(kind).decode
    return [
        decode(record.value)
        for records in read_topic(client_config(settings), topic)
        for record in records
        if record.value is not None
    ]
