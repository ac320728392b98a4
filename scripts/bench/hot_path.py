"""What the record-batch scheduler gains over an ordinary Faust agent, on the same events.

    .venv/bin/python scripts/bench/hot_path.py --events 100000

An embedded broker gets so many events (half predictions, half labels, about 250 bytes). Then, one after the other, each
in a process of its own: an ordinary agent that decodes JSON and does nothing else; an agent over record batches that
does nothing else either; and the monitor's whole work over record batches (typed decoding, join, windows, statistics,
labeled rows). Printed: events a second from the first to the last event, and CPU time of the process for each event.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import faust
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from driftloop.events.batch import RecordBatch
from driftloop.kafka.admin import create_topics
from driftloop.kafka.embedded import EmbeddedBroker, free_port
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.source import SourceMonitor
from driftloop.profiles.reference import ReferenceProfile
from driftloop.settings import Settings
from driftloop.spec import ModelSpec, parse_spec
from driftloop.streaming.app import build_app
from support import world
from support.own_settings import own_settings

MODES = {
    "agent": "ordinary agent, JSON decoded, nothing else",
    "batches": "record batches, nothing else",
    "monitor": "record batches, the monitor's whole core",
}


class Meter:
    """Time from the first event to the last, wall and CPU."""

    def __init__(self, events: int) -> None:
        self.left = self.events = events
        self.done = asyncio.Event()
        self.began: tuple[float, float] | None = None

    def count(self, events: int) -> None:
        if self.began is None:
            self.began = (time.perf_counter(), cpu_s())
        self.left -= events
        if self.left <= 0:
            self.done.set()

    def result(self) -> dict[str, float]:
        assert self.began is not None
        wall, cpu = time.perf_counter() - self.began[0], cpu_s() - self.began[1]
        return {"per_second": self.events / wall, "cpu_us": cpu / self.events * 1e6}


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Counting:
    """A service that only counts."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    async def assign(self, partitions: Iterable[int]) -> None: ...

    async def revoke(self, partitions: Iterable[int]) -> None: ...

    async def take(self, batch: RecordBatch) -> None:
        self.meter.count(len(batch))


class Monitoring(Counting):
    """The monitor's core without producing what comes out."""

    def __init__(self, meter: Meter, predictions_topic: str, labels_topic: str) -> None:
        super().__init__(meter)
        spec = parse_spec(world.SPEC)
        profile = world.reference_profile(spec)

        class Catalog:
            def spec(self, _: str) -> ModelSpec | None:
                return spec

            def profile(self, *_: str) -> ReferenceProfile | None:
                return profile

        self.predictions_topic = predictions_topic
        self.make: Callable[[int], SourceMonitor] = lambda partition: SourceMonitor(
            partition, Catalog(), Limits(), predictions_topic=predictions_topic, labels_topic=labels_topic
        )
        self.monitors: dict[int, SourceMonitor] = {}

    async def take(self, batch: RecordBatch) -> None:
        monitor = self.monitors.setdefault(batch.partition, self.make(batch.partition))
        (monitor.take_predictions if batch.topic == self.predictions_topic else monitor.take_labels)(batch)
        monitor.drain()
        self.meter.count(len(batch))


async def consume(mode: str, settings: Settings, events: int) -> None:
    meter = Meter(events)
    topics = [settings.topics.predictions, settings.topics.labels]
    if mode == "agent":
        app = faust.App(
            f"bench-{mode}",
            broker=f"kafka://{settings.bootstrap}",
            value_serializer="json",
            store="memory://",
            datadir=tempfile.mkdtemp(),
            web_enabled=False,
            web_port=settings.web_port,
            topic_disable_leader=True,
            topic_allow_declare=False,
            broker_rebalance_timeout=6.0,
            broker_session_timeout=6.0,
            consumer_auto_offset_reset="earliest",
        )

        async def each(stream: faust.StreamT) -> None:
            async for _ in stream:
                meter.count(1)

        app.agent(app.topic(*topics, value_serializer="json", key_serializer="raw"))(each)
    else:
        service = Counting(meter) if mode == "batches" else Monitoring(meter, *topics)
        app = build_app(settings, f"bench-{mode}", topics, service, web_port=settings.web_port)
    await app.start()
    await meter.done.wait()
    sys.stdout.write(json.dumps(meter.result()) + "\n")
    sys.stdout.flush()
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--mode", choices=MODES, help=argparse.SUPPRESS)
    parser.add_argument("--bootstrap", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = own_settings(arguments.bootstrap or "none", "bench", Path(folder), web_port=free_port())
        settings.data_dir.mkdir(parents=True)
        if arguments.mode:
            asyncio.run(consume(arguments.mode, settings, arguments.events))
        with EmbeddedBroker(log_file=Path(folder) / "broker.log") as broker:
            settings = settings.model_copy(update={"bootstrap": broker.bootstrap})
            create_topics(settings)
            events = world.history(30, arguments.events // 54, faults=False)
            world.publish(settings, events)
            table = Table("what", "events a second", "CPU µs an event", "CPU, ratio to the ordinary agent")
            baseline = 0.0
            for mode, title in MODES.items():
                command = [sys.executable, __file__, "--mode", mode, "--bootstrap", broker.bootstrap]
                command += ["--events", str(len(events))]
                run = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=300, check=True)
                result = json.loads(run.stdout.strip().splitlines()[-1])
                baseline = baseline or result["cpu_us"]
                ratio = f"{result['cpu_us'] / baseline:.3f}"
                table.add_row(title, f"{result['per_second']:,.0f}", f"{result['cpu_us']:.1f}", ratio)
            Console(width=130).print(f"{len(events):,} events", table)


if __name__ == "__main__":
    main()
