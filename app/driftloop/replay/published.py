"""What the live system has published: reports, alerts and commands, each once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from driftloop.events.decisions import RetrainCommand
from driftloop.events.decoding import UNDECODABLE
from driftloop.events.messages import Alert
from driftloop.events.reports import WindowReport
from driftloop.kafka.config import client_config
from driftloop.kafka.log_reader import Record, read_topic
from driftloop.replay.verify import content_of
from driftloop.settings import Settings

__all__ = ["Again", "Copies", "Published", "decoded", "read_events", "read_published"]

log = logging.getLogger(__name__)

EventT = TypeVar("EventT", bound=Struct)


@dataclass(frozen=True)
class Again(Generic[EventT]):
    """An event whose id was published before with another content, and where it lies."""

    event: EventT
    place: str


class Copies(Generic[EventT]):
    """Events by id, the first appearance of each. What has the same id and the same content is a copy and goes: the
    relay delivers at least once, and a copy may land late, after what followed its original. What has the same id and
    another content is kept apart."""

    def __init__(self) -> None:
        self.first: dict[str, EventT] = {}
        self.again: list[Again[EventT]] = []
        self._contents: dict[str, set[bytes]] = {}

    def take(self, identifier: str, event: EventT, place: str) -> None:
        first = self.first.setdefault(identifier, event)
        if first is event:
            return
        # The content of what was published once alone is not worth keeping.
        known = self._contents.setdefault(identifier, {content_of(first)})
        content = content_of(event)
        if content not in known:
            known.add(content)
            self.again.append(Again(event, place))


@dataclass
class Published:
    """First appearances by id, in the order of the topics. ``*_again``: whatever has an id that another content had
    before, which driftloop never writes. ``completed``: restated input reports by id that hold rows in time which the
    final report lacks."""

    reports: dict[str, WindowReport] = field(default_factory=dict)
    alerts: dict[str, Alert] = field(default_factory=dict)
    commands: dict[str, RetrainCommand] = field(default_factory=dict)
    reports_again: list[Again[WindowReport]] = field(default_factory=list)
    alerts_again: list[Again[Alert]] = field(default_factory=list)
    commands_again: list[Again[RetrainCommand]] = field(default_factory=list)
    completed: dict[str, WindowReport] = field(default_factory=dict)

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
    reports, alerts, commands = Copies[WindowReport](), Copies[Alert](), Copies[RetrainCommand]()
    completed: dict[str, WindowReport] = {}
    for report, place in _placed(settings, topics.window_reports, WindowReport):
        if report.status == "final":
            reports.take(report.report_id, report, place)
        elif report.kind == "input" and report.rows - report.late_rows > _rows(reports.first.get(report.report_id)):
            completed.setdefault(report.report_id, report)
    for alert, place in _placed(settings, topics.alerts, Alert):
        alerts.take(alert.event_id, alert, place)
    for command, place in _placed(settings, topics.retrain_commands, RetrainCommand):
        commands.take(command.command_id, command, place)
    return Published(
        reports.first,
        alerts.first,
        commands.first,
        reports.again,
        alerts.again,
        commands.again,
        completed,
    )


def _rows(report: WindowReport | None) -> int:
    return 0 if report is None else report.rows


def read_events(settings: Settings, topic: str, kind: type[EventT]) -> list[EventT]:
    """Every event of a topic up to its present end, copies included. What cannot be read is logged and left out."""
    return [event for event, _ in _placed(settings, topic, kind)]


def _placed(settings: Settings, topic: str, kind: type[EventT]) -> Iterator[tuple[EventT, str]]:
    for records in read_topic(client_config(settings), topic):
        yield from decoded(records, kind)


def decoded(records: Iterable[Record], kind: type[EventT]) -> Iterator[tuple[EventT, str]]:
    """Events with the place of each (``topic[partition] offset n``). A record of another kind, which somebody else must
    have written, stops nobody: it is logged with its place and left out."""
    decode = msgspec.json.Decoder(kind).decode
    for record in records:
        if record.value is None:
            continue
        place = f"{record.topic}[{record.partition}] offset {record.offset}"
        try:
            yield decode(record.value), place
        except UNDECODABLE as error:
            log.warning("%s cannot be read as %s and is left out: %s", place, kind.__name__, error)
