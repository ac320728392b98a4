"""Comparing a replay with what the live system published, field by field and bit by bit."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from driftloop.events.decisions import RetrainCommand
from driftloop.events.messages import Alert
from driftloop.events.reports import WindowReport

__all__ = [
    "Difference",
    "compare_alerts",
    "compare_commands",
    "compare_reports",
    "content_of",
    "summarised",
]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Difference(msgspec.Struct, frozen=True):
    """One field that differs, or something that one side has not: ``live`` or ``replayed`` is then None."""

    what: str
    path: str
    live: Any
    replayed: Any

    def sentence(self) -> str:
        if not self.path:
            return f"{self.what}: only in the {'replay' if self.live is None else 'live run'}"
        return f"{self.what}: {self.path} was {self.live!r} live and is {self.replayed!r} in the replay"


def compare_reports(live: Iterable[WindowReport], replayed: Iterable[WindowReport]) -> list[Difference]:
    """Differences of final reports by report id; their digests, which cover the merged statistics, are among the
    fields. What they were made by is not content."""
    return _compare(
        {f"report {report.report_id}": _without_origin(report) for report in live if report.status == "final"},
        {f"report {report.report_id}": _without_origin(report) for report in replayed if report.status == "final"},
    )


def compare_alerts(live: Iterable[Alert], replayed: Iterable[Alert]) -> list[Difference]:
    """Differences of alert events by event id."""
    return _compare(
        {f"alert {alert.event_id}": alert for alert in live}, {f"alert {alert.event_id}": alert for alert in replayed}
    )


def compare_commands(live: Iterable[RetrainCommand], replayed: Iterable[RetrainCommand]) -> list[Difference]:
    """Differences of retrain commands by command id."""
    return _compare(
        {f"command {command.command_id}": command for command in live},
        {f"command {command.command_id}": command for command in replayed},
    )


def summarised(differences: Iterable[Difference]) -> list[str]:
    """How many reports, alerts and commands differ in which field: a line each, the most frequent first."""
    places: Counter[str] = Counter()
    for kind, field, _ in {
        (what.split(" ", 1)[0], path.replace("[", ".").split(".", 1)[0] or _missing(difference), what)
        for difference in differences
        for what, path in [(difference.what, difference.path)]
    }:
        places[f"{kind}s: {field}"] += 1
    return [f"{place} ({count:,})" for place, count in sorted(places.items(), key=lambda item: (-item[1], item[0]))]


def _missing(difference: Difference) -> str:
    return f"only in the {'replay' if difference.live is None else 'live run'}"


def content_of(event: msgspec.Struct) -> bytes:
    """What an event says, as whoever reads it from its topic has it; of a report, without where it comes from."""
    return _as_read(_without_origin(event) if isinstance(event, WindowReport) else event)


def _without_origin(report: WindowReport) -> WindowReport:
    return msgspec.structs.replace(report, made_by="", source_partitions=0, limits={}, logs={})


def _compare(live: Mapping[str, Any], replayed: Mapping[str, Any]) -> list[Difference]:
    differences = []
    for name in sorted(live.keys() | replayed.keys()):
        mine, theirs = live.get(name), replayed.get(name)
        if mine is None or theirs is None:
            differences.append(
                Difference(name, "", None if mine is None else "there", None if theirs is None else "there")
            )
            continue
        one, other = _as_read(mine), _as_read(theirs)
        if one != other:
            differences += _fields(name, "", _decode(one), _decode(other))
    return differences


def _as_read(event: Any) -> bytes:
    """The event as who reads it from the topic has it, on the wire again: there a float is the shortest text of its
    very bits, and NaN is null."""
    return _encode(msgspec.json.decode(_encode(event), type=type(event)))


def _fields(what: str, path: str, live: Any, replayed: Any) -> list[Difference]:
    if isinstance(live, dict) and isinstance(replayed, dict):
        found = []
        for key in sorted(live.keys() | replayed.keys()):
            found += _fields(what, f"{path}.{key}" if path else key, live.get(key), replayed.get(key))
        return found
    if isinstance(live, list) and isinstance(replayed, list) and len(live) == len(replayed):
        found = []
        for index, (one, other) in enumerate(zip(live, replayed, strict=True)):
            found += _fields(what, f"{path}[{index}]", one, other)
        return found
    return [] if _same(live, replayed) else [Difference(what, path, live, replayed)]


def _same(one: Any, other: Any) -> bool:
    """Equal in kind and to the last bit: 0.0 is not -0.0, and 1 is neither 1.0 nor true."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return struct.pack("<d", one) == struct.pack("<d", other)
    return bool(one == other)
