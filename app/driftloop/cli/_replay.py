"""What ``driftloop replay`` does, and how it looks."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from driftloop.cli._tables import counted, open_console, print_alerts, print_commands, print_reports
from driftloop.events.decisions import RetrainCommand
from driftloop.events.messages import Alert
from driftloop.events.reports import WindowReport
from driftloop.events.time import NEVER_MS, format_time, parse_time
from driftloop.judging.alerts import window_kind_of
from driftloop.kafka.config import client_config
from driftloop.kafka.log_reader import LogReadError, end_offsets
from driftloop.registry import ArtifactStore, Registry, open_engine, schema_problem
from driftloop.registry.errors import RegistryError
from driftloop.replay.history import History, replay_history
from driftloop.replay.published import Published, read_published
from driftloop.replay.source import ReplayStep
from driftloop.replay.verify import Difference, compare_alerts, compare_commands, compare_reports
from driftloop.settings import Settings
from driftloop.spec import ModelSpec, SpecError, load_spec, load_specs
from driftloop.streaming.catalog import RegistryCatalog

__all__ = ["ReplayRequest", "run_replay"]

_SHOWN_DIFFERENCES = 20


@dataclass(frozen=True)
class ReplayRequest:
    """The options, as given."""

    start: str | None = None
    end: str | None = None
    spec: Path | None = None
    model: str | None = None
    segments: bool = False
    verify: bool = False
    as_json: bool = False


def run_replay(settings: Settings, request: ReplayRequest) -> int:
    """Returns the exit code: 0, 1 if --verify found differences, 2 for what a person must mend."""
    notes = Console(stderr=True)
    try:
        from_ms = NEVER_MS if request.start is None else parse_time(request.start)
        until_ms = None if request.end is None else parse_time(request.end)
        if request.verify and request.spec is not None:
            raise ValueError("--verify compares with the live run, which used the live specs: leave out --spec")
        live = load_specs(settings.specs)
        specs = _specs(live, request)
        history = _replay(settings, specs, until_ms, notes)
        chosen = _Chosen(history, from_ms, 2**62 if until_ms is None else until_ms, request)
        if request.verify:
            return _verify(read_published(settings), chosen, notes)
        published = read_published(settings) if request.spec is not None else None
    except (SpecError, ValueError, LookupError, LogReadError, RegistryError) as error:
        notes.print(f"[red]driftloop replay:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        return 2
    if request.as_json:
        for report in chosen.reports:
            sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        _show(chosen, published)
    return 0


def _specs(live: dict[str, ModelSpec], request: ReplayRequest) -> dict[str, ModelSpec]:
    specs = dict(live)
    if request.spec is not None:
        given = load_specs(request.spec) if request.spec.is_dir() else {(one := load_spec(request.spec)).model: one}
        unknown = sorted(set(given) - set(live))
        if unknown:
            raise ValueError(f"{request.spec} is about model {unknown[0]!r}, the history has {', '.join(sorted(live))}")
        specs = dict(given)
    if request.model is not None:
        if request.model not in specs:
            raise ValueError(f"there is no spec of model {request.model!r}; there are {', '.join(sorted(specs))}")
        specs = {request.model: specs[request.model]}
    return specs


def _replay(settings: Settings, specs: dict[str, ModelSpec], until_ms: int | None, notes: Console) -> History:
    engine = open_engine(settings.resolved_database_url)
    problem = schema_problem(engine)
    if problem:
        raise RegistryError(problem)
    catalog = RegistryCatalog(specs, Registry(engine, ArtifactStore(settings.resolved_artifacts)))
    config, topics = client_config(settings), settings.topics
    total = sum(sum(end_offsets(config, topic).values()) for topic in (topics.predictions, topics.labels))
    read: dict[int, int] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,}/{task.total:,} records"))
    with Progress(*columns, TimeElapsedColumn(), console=notes, transient=True) as progress:
        bar = progress.add_task("replaying", total=total)

        def on_step(step: ReplayStep) -> None:
            read[step.progress.source_partition] = step.progress.predictions_offset + step.progress.labels_offset
            day = "" if step.time_ms <= NEVER_MS else f" {format_time(step.time_ms)[:10]}"
            progress.update(bar, completed=sum(read.values()), description=f"replaying{day}")

        try:
            return replay_history(settings, specs, catalog, until_ms=until_ms, on_step=on_step)
        finally:
            engine.dispose()


class _Chosen:
    """The part of a history that was asked for."""

    def __init__(self, history: History, from_ms: int, until_ms: int, request: ReplayRequest) -> None:
        self.history = history
        self.from_ms, self.until_ms = from_ms, until_ms
        self._request = request
        self.reports = [report for report in history.reports if self.wants_report(report)]
        self.alerts = [alert for alert in history.judged.alerts if self.wants_alert(alert)]
        self.commands = [command for command in history.judged.commands if self.wants_command(command)]

    def wants_report(self, report: WindowReport) -> bool:
        request = self._request
        return (
            report.window_start_ms >= self.from_ms
            and report.window_end_ms <= self.until_ms
            and report.status == "final"
            and (request.model is None or report.model_id == request.model)
            and (request.segments or request.verify or not report.segment)
        )

    def wants_alert(self, alert: Alert) -> bool:
        request = self._request
        return (
            self.from_ms < alert.window_end_ms <= self.until_ms
            and (request.model is None or alert.model_id == request.model)
            and (request.segments or request.verify or not alert.segment)
        )

    def wants_command(self, command: RetrainCommand) -> bool:
        return self.from_ms < command.window_end_ms <= self.until_ms and (
            self._request.model is None or command.model_id == self._request.model
        )


def _show(chosen: _Chosen, published: Published | None) -> None:
    console = open_console()
    counts = chosen.history.counts
    if published is None:
        print_reports(console, chosen.reports, "Window reports")
    changes = [alert for alert in chosen.alerts if alert.state != "firing"]
    print_alerts(console, changes, "Alerts opened and resolved" if published is None else "What would have alerted")
    print_commands(console, chosen.commands, "Retrain commands")
    summary = (
        f"{counts.predictions:,} predictions, {counts.labels:,} labels, {counts.joined:,} joined, "
        f"{counted(counts.dead_letters, 'dead letter')}; {counted(len(chosen.reports), 'window report')}, "
        f"{counted(_opened(chosen.alerts), 'alert')} opened, {counted(len(chosen.commands), 'retrain command')}"
    )
    if counts.other_models:
        summary += f"; {counts.other_models:,} records of models without a spec here left out"
    console.print(summary)
    if published is not None:
        alerts = [alert for alert in published.alerts.values() if chosen.wants_alert(alert)]
        commands = [command for command in published.commands.values() if chosen.wants_command(command)]
        console.print(
            f"The live run opened {counted(_opened(alerts), 'alert')} and gave "
            f"{counted(len(commands), 'retrain command')}.",
            highlight=False,
        )


def _opened(alerts: list[Alert]) -> int:
    return sum(alert.state == "opened" for alert in alerts)


def _verify(published: Published, chosen: _Chosen, notes: Console) -> int:
    until = published.judged_until_ms()

    def judged_live(model_id: str, kind: str, end_ms: int) -> bool:
        return end_ms <= until.get((model_id, kind), NEVER_MS)

    replayed = [r for r in chosen.reports if judged_live(r.model_id, r.kind, r.window_end_ms)]
    alerts = [a for a in chosen.alerts if judged_live(a.model_id, window_kind_of(a), a.window_end_ms)]
    commands = [c for c in chosen.commands if judged_live(c.model_id, "outcome", c.window_end_ms)]
    live_reports = [r for r in published.reports.values() if chosen.wants_report(r)]
    live_alerts = [a for a in published.alerts.values() if chosen.wants_alert(a)]
    live_commands = [c for c in published.commands.values() if chosen.wants_command(c)]
    differences: list[Difference] = [
        *compare_reports(live_reports, replayed),
        *compare_alerts(live_alerts, alerts),
        *compare_commands(live_commands, commands),
    ]
    for difference in differences[:_SHOWN_DIFFERENCES]:
        notes.print(difference.sentence(), highlight=False)
    if len(differences) > _SHOWN_DIFFERENCES:
        notes.print(f"and {len(differences) - _SHOWN_DIFFERENCES:,} more differences", highlight=False)
    pending = len(chosen.reports) - len(replayed)
    open_console().print(
        f"{counted(len(live_reports), 'window report')}, {counted(len(live_alerts), 'alert event')} and "
        f"{counted(len(live_commands), 'retrain command')} compared field by field: "
        f"{counted(len(differences), 'difference')}."
        + (f" Not yet reported live: {counted(pending, 'window')}." if pending else "")
    )
    return 1 if differences else 0
