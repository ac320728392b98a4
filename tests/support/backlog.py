"""A backlog that lies in the topics before a worker starts: the same rows in every window, however many windows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from driftloop.kafka.config import client_config
from driftloop.kafka.log_reader import end_offsets
from driftloop.kafka.producer import Producer
from driftloop.replay.published import read_published
from driftloop.settings import Settings
from support import world

__all__ = ["Backlog", "Run", "Sample", "work_off", "write_backlog"]

#: Predictions in a window of a day; a label for each of them, two hours later.
PER_DAY = 5_000
_SPACING_MS = world.DAY // PER_DAY
_LABEL_DELAY_MS = 2 * world.HOUR


@dataclass(frozen=True)
class Backlog:
    """What was written. Events to close the windows come on top."""

    predictions: int

    @property
    def events(self) -> int:
        return 2 * self.predictions

    @property
    def days(self) -> int:
        return -(-self.predictions // PER_DAY)


def write_backlog(settings: Settings, events: int) -> Backlog:
    """Predictions and labels, in order of event time in each topic."""
    backlog = Backlog(events // 2)
    predictions, labels = settings.topics.predictions, settings.topics.labels
    with Producer(client_config(settings, linger_ms=20)) as producer:
        produce = producer.produce
        for number in range(backlog.predictions):
            time_ms = world.START + number * _SPACING_MS
            key = b"b%d" % number
            region = b"north" if number % 3 else b"south"
            produce(
                predictions,
                b'{"prediction_id":"%s","model_id":"credit","model_version":"v1","event_time_ms":%d,'
                b'"features":{"income":%d.5,"age":%d,"region":"%s"},"prediction":0.%02d}'
                % (key, time_ms, 30 + number * 7 % 41, 18 + number * 13 % 60, region, number * 31 % 97),
                key,
            )
            produce(
                labels,
                b'{"prediction_id":"%s","model_id":"credit","event_time_ms":%d,"label":%d}'
                % (key, time_ms + _LABEL_DELAY_MS, number * 17 % 2),
                key,
            )
    world.publish(settings, world.end_of_time(settings, backlog.days))
    return backlog


@dataclass(frozen=True)
class Sample:
    """Resident memory of the worker, and how many reports it has published."""

    seconds: float
    resident_bytes: int
    reports: int


@dataclass
class Run:
    """What became of a backlog. ``rows`` and ``labeled`` are those of final windows over all rows."""

    peak_bytes: int = 0
    seconds: float = 0.0
    samples: list[Sample] = field(default_factory=list)
    rows: int = 0
    labeled: int = 0
    dead_letters: int = 0


def work_off(
    settings: Settings,
    backlog: Backlog,
    log: Path,
    *,
    timeout_s: float,
    on_sample: Callable[[Sample], None] = lambda _: None,
    module: str = "driftloop",
    environment: dict[str, str] | None = None,
) -> Run:
    """Start a worker on it, wait until every window of the backlog is reported, stop it, and count."""
    config, topics = client_config(settings), settings.topics
    run = Run()
    began_s = time.monotonic()
    worker = world.Process(
        settings, "worker", log=log, life_s=round(timeout_s) + 60, module=module, **(environment or {})
    )
    last_ms = world.START + backlog.days * world.DAY

    def done() -> bool:
        time.sleep(1.0)
        reading = _memory(worker.process.pid)
        reports = sum(end_offsets(config, topics.window_reports).values())
        sample = Sample(time.monotonic() - began_s, reading.get("VmRSS", 0), reports)
        run.samples.append(sample)
        run.peak_bytes = max(run.peak_bytes, reading.get("VmHWM", 0))
        on_sample(sample)
        # An input and an outcome window for each day and three segments.
        if reports < 6 * backlog.days:
            return False
        until = read_published(settings).judged_until_ms()
        return len(until) == 2 and min(until.values()) >= last_ms

    try:
        world.wait_for("the backlog", done, worker, timeout_s)
        run.seconds = time.monotonic() - began_s
        assert worker.stop() == 0, worker.text()
    finally:
        if worker.process.poll() is None:
            worker.kill()
    for report in read_published(settings).reports.values():
        if report.segment or report.window_end_ms > last_ms:
            continue
        if report.kind == "input":
            run.rows += report.rows
        else:
            run.labeled += report.labeled_rows
    run.dead_letters = sum(end_offsets(config, topics.dead_letters).values())
    return run


def _memory(parent: int) -> dict[str, int]:
    """Bytes by name, from the kernel's own books, of the process that ``timeout`` runs."""
    try:
        (child,) = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        lines = Path(f"/proc/{child}/status").read_text().splitlines()
    except (OSError, ValueError):
        return {}
    fields = (line.split() for line in lines if line.startswith("Vm"))
    return {name.rstrip(":"): int(number) * 1024 for name, number, _ in fields}
