"""What ``driftloop replay`` does, and how it looks."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping

import msgspec
from rich.console import Console
from rich.markup import escape
from sqlalchemy.exc import SQLAlchemyError

from driftloop.cli._database import did_not_answer, opened
from driftloop.cli._progress import ReplayProgress
from driftloop.cli._tables import counted, open_console, print_alerts, print_commands, print_reports
from driftloop.cli._verify import Verification
from driftloop.cli._wanted import ReplayRequest, Wanted
from driftloop.demo.supervisor import interrupt_on_sigterm
from driftloop.events.messages import Alert
from driftloop.joining.store import StoreError
from driftloop.kafka.config import client_config
from driftloop.kafka.log_reader import LogReadError, end_offsets
from driftloop.policy.breaker import MANUAL
from driftloop.registry import ArtifactStore, Registry
from driftloop.registry.errors import RegistryError
from driftloop.replay.history import History, replay_history
from driftloop.replay.processes import ReplayProcessDied, default_processes
from driftloop.replay.published import Published, read_published
from driftloop.settings import Settings
from driftloop.spec import ModelSpec, SpecError, load_spec, load_specs
from driftloop.streaming.catalog import RegistryCatalog

__all__ = ["ReplayRequest", "run_replay"]

_INTERRUPTED = 130
_PROCESS_DIED = 70


def run_replay(settings: Settings, request: ReplayRequest) -> int:
    """Returns the exit code: 0; 1 if --verify found differences; 2 for what a person must mend; 3 if the replay cannot
    be equal to the live run; 70 if a process of the replay died; 130 after Ctrl-C or SIGTERM."""
    notes = Console(stderr=True)
    try:
        with interrupt_on_sigterm():
            return _run(settings, request, notes)
    except KeyboardInterrupt:
        notes.print("driftloop replay: stopped; nothing was written", highlight=False)
        return _INTERRUPTED
    except (SpecError, ValueError, LookupError, LogReadError, RegistryError, StoreError) as error:
        _complain(notes, error)
        return 2
    except SQLAlchemyError as error:
        _complain(notes, did_not_answer(error))
        return 2
    except ReplayProcessDied as error:
        _complain(notes, error)
        return 2 if error.mendable else _PROCESS_DIED


def _complain(notes: Console, error: Exception | str) -> None:
    notes.print(f"[red]driftloop replay:[/] {escape(str(error))}", highlight=False, soft_wrap=True)


def _run(settings: Settings, request: ReplayRequest, notes: Console) -> int:
    wanted = Wanted(request)
    if request.verify and request.spec is not None:
        raise ValueError("--verify compares with the live run, which used the live specs: leave out --spec")
    specs = _specs(load_specs(settings.specs), request)
    with _catalog(settings, specs) as catalog:
        verification = Verification(settings, specs, catalog, wanted) if request.verify else None
        if verification is not None and verification.hopeless:
            return verification.refuse(notes)
        until_ms = None if request.end is None else wanted.until_ms
        history = _replay(settings, specs, catalog, until_ms, request.processes, notes)
    if verification is not None:
        return verification.compare(history, notes)
    if request.as_json:
        for report in filter(wanted.report, history.reports):
            sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        _show(history, wanted, read_published(settings) if request.spec is not None else None)
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


@contextlib.contextmanager
def _catalog(settings: Settings, specs: Mapping[str, ModelSpec]) -> Iterator[RegistryCatalog]:
    with opened(settings, "read") as engine:
        yield RegistryCatalog(specs, Registry(engine, ArtifactStore(settings.resolved_artifacts)))


def _replay(
    settings: Settings,
    specs: Mapping[str, ModelSpec],
    catalog: RegistryCatalog,
    until_ms: int | None,
    processes: int | None,
    notes: Console,
) -> History:
    config, topics = client_config(settings), settings.topics
    total = sum(sum(end_offsets(config, topic).values()) for topic in (topics.predictions, topics.labels))
    with ReplayProgress(notes, total) as progress:
        return replay_history(
            settings,
            specs,
            catalog,
            until_ms=until_ms,
            on_step=lambda step: progress.update(step.progress, step.time_ms),
            processes=processes or default_processes(settings.source_partitions),
        )


def _show(history: History, wanted: Wanted, published: Published | None) -> None:
    console = open_console()
    counts = history.counts
    reports = list(filter(wanted.report, history.reports))
    alerts = list(filter(wanted.alert, history.judged.alerts))
    commands = list(filter(wanted.command, history.judged.commands))
    if published is None:
        print_reports(console, reports, "Window reports")
    changes = [alert for alert in alerts if alert.state != "firing"]
    print_alerts(console, changes, "Alerts opened and resolved" if published is None else "What would have alerted")
    print_commands(console, commands, "Retrain commands")
    summary = (
        f"{counts.predictions:,} predictions, {counts.labels:,} labels, {counts.joined:,} joined, "
        f"{counted(counts.dead_letters, 'dead letter')}; {counted(len(reports), 'window report')}, "
        f"{counted(_opened(alerts), 'alert')} opened, {counted(len(commands), 'retrain command')}"
    )
    if counts.other_models:
        summary += f"; {counts.other_models:,} records of models without a spec here left out"
    console.print(summary)
    if published is not None:
        live_alerts = filter(wanted.alert, published.alerts.values())
        # What people asked for follows from no log, so that no replay gives it.
        live_commands = [c for c in filter(wanted.command, published.commands.values()) if c.trigger != MANUAL]
        console.print(
            f"The live run opened {counted(_opened(live_alerts), 'alert')} and gave "
            f"{counted(len(live_commands), 'retrain command')}.",
            highlight=False,
        )


def _opened(alerts: Iterable[Alert]) -> int:
    return sum(alert.state == "opened" for alert in alerts)
