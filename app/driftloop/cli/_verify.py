"""``driftloop replay --verify``: what keeps a replay from being equal is named, and what can be compared is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from rich.console import Console

from driftloop.cli._tables import counted, open_console
from driftloop.cli._wanted import Wanted
from driftloop.events.decisions import RetrainCommand
from driftloop.events.messages import Alert
from driftloop.events.reports import WindowReport
from driftloop.events.time import NEVER_MS
from driftloop.judging.alerts import window_kind_of
from driftloop.policy.breaker import MANUAL
from driftloop.replay.history import History
from driftloop.replay.obstacles import Obstacle, find_obstacles, log_spans
from driftloop.replay.published import Again, Published, read_published
from driftloop.replay.verify import Difference, compare_alerts, compare_commands, compare_reports, summarised
from driftloop.settings import Settings
from driftloop.spec import ModelSpec, spec_digest
from driftloop.streaming.catalog import RegistryCatalog
from driftloop.streaming.made_by import origin_of

__all__ = ["DIFFERENT", "IMPOSSIBLE", "Verification"]

DIFFERENT = 1
IMPOSSIBLE = 3

_SHOWN_DIFFERENCES = 20

#: A window of a model: model, kind, end.
_Window = tuple[str, str, int]


class Verification:
    """What the live run has published so far, and what stands between it and a replay. It is read before the replay
    begins, so that everything in it can be replayed."""

    def __init__(
        self, settings: Settings, specs: Mapping[str, ModelSpec], catalog: RegistryCatalog, wanted: Wanted
    ) -> None:
        self._wanted = wanted
        self._live = read_published(settings)
        reports = [report for report in self._live.reports.values() if wanted.precedes(report)]
        self._obstacles = find_obstacles(
            reports,
            filter(wanted.alert_precedes, self._live.alerts.values()),
            spans=log_spans(settings),
            has_profile=lambda model, version: catalog.profile(model, version) is not None,
            digests={model: spec_digest(spec) for model, spec in specs.items()},
            here=origin_of(settings),
            approved=catalog.approved,
            completed=filter(wanted.window_precedes, self._live.completed.values()),
        )
        out = frozenset[str]().union(*(obstacle.left_out for obstacle in self._obstacles))
        self._left_out: frozenset[_Window] = frozenset(_window(report) for report in reports if report.report_id in out)
        self._until_ms = self._live.judged_until_ms()

    @property
    def hopeless(self) -> bool:
        """There is nothing that could be compared."""
        return any(obstacle.hopeless for obstacle in self._obstacles)

    def refuse(self, notes: Console) -> int:
        """Say why nothing is compared; returns the exit code."""
        _say(notes, self._obstacles)
        notes.print("Nothing was compared: a replay of this history cannot be equal to the live run.", highlight=False)
        return IMPOSSIBLE

    def compare(self, history: History, notes: Console) -> int:
        """Compare, say what was found, and return the exit code."""
        reports, alerts, commands = self._pick(history.reports, history.judged.alerts, history.judged.commands)
        live = self._live
        # A person gave them: the policy, which a replay asks, knows nothing of them.
        by_hand = sum(command.trigger == MANUAL and self._wanted.command(command) for command in _commands(live))
        live_reports, live_alerts, live_commands = self._pick(
            live.reports.values(), live.alerts.values(), (c for c in _commands(live) if c.trigger != MANUAL)
        )
        differences: list[Difference] = [
            *compare_reports(live_reports, reports),
            *compare_alerts(live_alerts, alerts),
            *compare_commands(live_commands, commands),
            *self._published_again(reports, alerts, commands),
        ]
        _say(notes, self._obstacles)
        if self._obstacles:
            _say_summary(notes, differences)
        else:
            _say_differences(notes, differences)
        pending = sum(
            self._wanted.report(report) and report.window_end_ms > self._until(report) for report in history.reports
        )
        open_console().print(
            f"{counted(len(live_reports), 'window report')}, {counted(len(live_alerts), 'alert event')} and "
            f"{counted(len(live_commands), 'retrain command')} compared field by field: "
            f"{counted(len(differences), 'difference')}."
            + (f" Not yet reported live: {counted(pending, 'window')}." if pending else "")
            + (f" Given by hand and left out: {counted(by_hand, 'retrain command')}." if by_hand else ""),
            soft_wrap=True,
        )
        if not (live_reports or live_alerts or live_commands or differences):
            notes.print(f"Nothing was compared: {self._nothing(history)}.", highlight=False, soft_wrap=True)
            return IMPOSSIBLE
        if self._left_out or (self._obstacles and differences):
            return IMPOSSIBLE
        return DIFFERENT if differences else 0

    def _nothing(self, history: History) -> str:
        """Why there was nothing to compare."""
        replayed = sum(map(self._wanted.report, history.reports))
        if any(map(self._wanted.report, self._live.reports.values())):
            return "all live reports of these windows are left out"
        if replayed:
            return (
                f"the live system has published no final report of these windows, the replay has {replayed:,}. Check "
                "that the assessor runs, and that DRIFTLOOP_TOPIC_PREFIX and --from, --to and --model are those of the "
                "live run"
            )
        return "neither the live system nor the replay has a final window there"

    def _published_again(
        self, reports: list[WindowReport], alerts: list[Alert], commands: list[RetrainCommand]
    ) -> Iterator[Difference]:
        """What was published with another content under an id that had one already: one of them differs from the
        replay."""
        live = self._live
        for again in live.reports_again:
            if self._pick([again.event], (), ())[0]:
                same = [report for report in reports if report.report_id == again.event.report_id]
                yield from _of_copy(again, compare_reports([again.event], same))
        for alert in live.alerts_again:
            if self._pick((), [alert.event], ())[1]:
                same_alerts = [one for one in alerts if one.event_id == alert.event.event_id]
                yield from _of_copy(alert, compare_alerts([alert.event], same_alerts))
        for command in live.commands_again:
            if command.event.trigger != MANUAL and self._pick((), (), [command.event])[2]:
                same_commands = [one for one in commands if one.command_id == command.event.command_id]
                yield from _of_copy(command, compare_commands([command.event], same_commands))

    def _pick(
        self, reports: Iterable[WindowReport], alerts: Iterable[Alert], commands: Iterable[RetrainCommand]
    ) -> tuple[list[WindowReport], list[Alert], list[RetrainCommand]]:
        """Those that were asked for, of windows that the live run has reported and that can be compared."""
        return (
            [r for r in reports if self._wanted.report(r) and self._comparable(_window(r))],
            [
                a
                for a in alerts
                if self._wanted.alert(a) and self._comparable((a.model_id, window_kind_of(a), a.window_end_ms))
            ],
            [
                c
                for c in commands
                if self._wanted.command(c) and self._comparable((c.model_id, "outcome", c.window_end_ms))
            ],
        )

    def _comparable(self, window: _Window) -> bool:
        model, kind, end_ms = window
        return end_ms <= self._until_ms.get((model, kind), NEVER_MS) and window not in self._left_out

    def _until(self, report: WindowReport) -> int:
        return self._until_ms.get((report.model_id, report.kind), NEVER_MS)


def _of_copy(again: Again[Any], differences: Iterable[Difference]) -> Iterator[Difference]:
    for difference in differences:
        what = f"{difference.what}, published again with another content at {again.place}"
        yield msgspec.structs.replace(difference, what=what)


def _window(report: WindowReport) -> _Window:
    return report.model_id, report.kind, report.window_end_ms


def _commands(live: Published) -> Iterable[RetrainCommand]:
    return live.commands.values()


def _say(notes: Console, obstacles: Iterable[Obstacle]) -> None:
    for obstacle in obstacles:
        notes.print(f"{obstacle.sentence}.", highlight=False, markup=False, soft_wrap=True)


def _say_differences(notes: Console, differences: list[Difference]) -> None:
    for difference in differences[:_SHOWN_DIFFERENCES]:
        notes.print(difference.sentence(), highlight=False, markup=False)
    if len(differences) > _SHOWN_DIFFERENCES:
        notes.print(f"and {len(differences) - _SHOWN_DIFFERENCES:,} more differences", highlight=False)


def _say_summary(notes: Console, differences: list[Difference]) -> None:
    """Where a difference need not mean anything, a line each would hide the reason."""
    if differences:
        notes.print(
            "What is compared all the same differs, which this can explain (detectors, alerts and quality checks carry "
            f"over from window to window): {', '.join(summarised(differences)[:_SHOWN_DIFFERENCES])}.",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
