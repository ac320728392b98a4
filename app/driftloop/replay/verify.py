"""Comparing a replay with what the live system published, field by field."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from driftloop.events.decisions import RetrainCommand
from driftloop.events.messages import Alert
from driftloop.events.reports import WindowReport

__all__ = ["Difference", "compare_alerts", "compare_commands", "compare_reports"]


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
    """Differences of final reports by report id."""
    return _compare(
        {report.report_id: report for report in live if report.status == "final"},
        {report.report_id: report for report in replayed if report.status == "final"},
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


def _compare(live: dict[str, Any], replayed: dict[str, Any]) -> list[Difference]:
    differences = []
    for name in sorted(live.keys() | replayed.keys()):
        mine, theirs = live.get(name), replayed.get(name)
        if mine is None or theirs is None:
            differences.append(
                Difference(name, "", None if mine is None else "there", None if theirs is None else "there")
            )
        elif mine != theirs:
            differences += _fields(name, "", msgspec.to_builtins(mine), msgspec.to_builtins(theirs))
    return differences


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
    return [] if live == replayed else [Difference(what, path, live, replayed)]
