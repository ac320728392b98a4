"""Memory of a worker in which ten million predictions wait for their labels.

    .venv/bin/python scripts/bench/pending_memory.py --rows 10000000

Four source partitions take in predictions of some 300 bytes, in batches of 4,000, with the core, the store on disk and
the rules of a worker (rows beyond DRIFTLOOP_PENDING_IN_MEMORY go to disk), but no broker. Then labels of predictions
from the whole time, and the same predictions once more. Printed on the way: rows that wait, rows in memory, the
process's memory, its largest so far, and the size on disk. Exit code 1 if it ever was above --limit-gib.

    .venv/bin/python scripts/bench/pending_memory.py --labels 1000000

Instead, so many labels that come before their predictions, to one partition. Then 100,000 predictions of other ids,
100,000 that such a label waits for, and one so late that the rest is given up.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import structlog

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from driftloop.checkpoints.folders import PartitionStore, open_partition
from driftloop.checkpoints.identity import Identity
from driftloop.events.batch import RecordBatch
from driftloop.events.messages import SourceProgress
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.source import SourceMonitor
from driftloop.settings import Settings
from driftloop.streaming.local_state import LocalState
from support.own_settings import own_settings
from support.wide_rows import SPEC, WideCatalog, label_of, prediction_of, predictions_batch, record_batch

PARTITIONS = 4
BATCH = 4_000


@dataclass
class Source:
    monitor: SourceMonitor
    store: PartitionStore
    published: SourceProgress | None = None

    def publish(self) -> None:
        """What a worker does every half second, without the broker."""
        for _ in self.monitor.take_partials():
            pass
        self.monitor.drain()
        self.published = self.monitor.progress()


class Worker:
    """Sources and the rules by which their rows go to disk."""

    def __init__(self, settings: Settings, folder: Path, *, go_on: dict[int, SourceProgress] | None = None) -> None:
        self.folder = folder
        self.local = LocalState(settings, {}, Limits(), [SPEC])
        self.sources: dict[int, Source] = {}
        for partition in range(PARTITIONS):
            identity = Identity.of(logs=(), topic_prefix="bench", partition=partition, specs=[SPEC], limits=())
            store = open_partition(folder, identity)
            assert store is not None
            progress = None if go_on is None else go_on[partition]
            monitor = SourceMonitor(
                partition,
                WideCatalog(),
                Limits(),
                predictions_topic="p",
                labels_topic="l",
                restart=progress,
                store=store,
                go_on=True,
            )
            assert monitor.went_on == (go_on is not None)
            self.sources[partition] = Source(monitor, store, progress)

    def settle(self) -> None:
        if self.local.full(self.sources.values()):
            for source in self.sources.values():
                source.publish()
            self.local.make_room(self.sources)

    def take(self, take: Callable[[RecordBatch], None], batch: RecordBatch) -> int:
        """One batch as a worker takes it. Returns how many dead letters came of it."""
        take(batch)
        dead = 0
        while True:
            for source in self.sources.values():
                dead += len(source.monitor.drain().dead_letters)
            self.settle()
            unfinished = [source.monitor for source in self.sources.values() if source.monitor.sweeping]
            if not unfinished:
                return dead
            for monitor in unfinished:
                monitor.sweep()

    def say(self, what: str, seconds: float, rows: int) -> None:
        pending = sum(source.monitor.pending_rows + source.monitor.waiting_labels for source in self.sources.values())
        memory = sum(source.monitor.rows_in_memory for source in self.sources.values())
        disk = sum(file.stat().st_blocks * 512 for file in self.folder.rglob("*") if file.is_file())
        print(
            f"{what:>12}  {rows / seconds:9,.0f} rows/s  {pending:11,} wait  {memory:9,} in memory  "
            f"{_memory_mb('VmRSS'):6,.0f} MB  {_memory_mb('VmHWM'):6,.0f} MB at most  {disk / 1e6:7,.0f} MB on disk",
            flush=True,
        )


def _memory_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--labels", type=int, default=0, help="labels without predictions instead")
    parser.add_argument("--in-memory", type=int, default=Settings.model_fields["pending_in_memory"].default)
    parser.add_argument("--limit-gib", type=float, default=4.0)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    rows = arguments.rows // (PARTITIONS * BATCH) * (PARTITIONS * BATCH)
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        settings = own_settings("none", "bench", Path(folder), pending_in_memory=arguments.in_memory)
        worker = Worker(settings, Path(folder) / "state")
        if arguments.labels:
            flood(worker, arguments.labels // BATCH * BATCH)
            end(arguments.limit_gib)
        steps = rows // (PARTITIONS * BATCH)
        spent_s, done = 0.0, 0
        for step in range(steps):
            for partition, source in worker.sources.items():
                batch = predictions_batch(partition, PARTITIONS, step * BATCH, (step + 1) * BATCH)
                started_s = time.perf_counter()
                source.monitor.take_predictions(batch)
                worker.settle()
                spent_s += time.perf_counter() - started_s
                done += BATCH
            if (step + 1) % max(1, steps // 10) == 0:
                worker.say("predictions", spent_s, done)
        for what in ("labels", "repeated"):
            spent_s, done = 0.0, 0
            for index in range(min(20, steps)):
                for partition, source in worker.sources.items():
                    numbers = [chance.randrange(rows // PARTITIONS) * PARTITIONS + partition for _ in range(BATCH)]
                    if what == "labels":
                        batch = record_batch("l", partition, index * BATCH, [label_of(at, rows) for at in numbers])
                        take = source.monitor.take_labels
                    else:
                        start = rows // PARTITIONS + index * BATCH
                        batch = record_batch("p", partition, start, [prediction_of(at) for at in numbers])
                        take = source.monitor.take_predictions
                    started_s = time.perf_counter()
                    take(batch)
                    worker.settle()
                    spent_s += time.perf_counter() - started_s
                    done += BATCH
            worker.say(what, spent_s, done)
        for source in worker.sources.values():
            source.publish()
        started_s = time.perf_counter()
        worker.local.save_all(worker.sources)
        print(f"last save {time.perf_counter() - started_s:.2f} s")
        progress = {partition: source.monitor.progress() for partition, source in worker.sources.items()}
        waiting = sum(source.monitor.pending_rows for source in worker.sources.values())
        for source in worker.sources.values():
            source.store.close()
        started_s = time.perf_counter()
        again = Worker(settings, Path(folder) / "state", go_on=progress)
        print(f"begun again in {time.perf_counter() - started_s:.2f} s")
        assert sum(source.monitor.pending_rows for source in again.sources.values()) == waiting == rows
        for source in again.sources.values():
            source.store.close()
    end(arguments.limit_gib)


def flood(worker: Worker, labels: int) -> None:
    """Labels before their predictions, in one partition."""
    others = 100_000
    monitor = worker.sources[0].monitor
    batches = {
        "labels": (monitor.take_labels, [(others, labels)]),
        "other ids": (monitor.take_predictions, [(0, others)]),
        "joined": (monitor.take_predictions, [(others, others)]),
        "given up": (monitor.take_predictions, [(100 * (others + labels), 1)]),
    }
    dead, offset = 0, {monitor.take_labels: 0, monitor.take_predictions: 0}
    for what, (take, ranges) in batches.items():
        spent_s, done = 0.0, 0
        for start, count in ranges:
            for at in range(start, start + count, BATCH):
                numbers = range(at, min(start + count, at + BATCH))
                is_labels = take == monitor.take_labels
                values = [label_of(number, number) if is_labels else prediction_of(number) for number in numbers]
                batch = record_batch("l" if is_labels else "p", 0, offset[take], values)
                offset[take] += len(values)
                started_s = time.process_time()
                dead += worker.take(take, batch)
                spent_s += time.process_time() - started_s
                done += len(values)
        worker.say(what, spent_s, labels - others if what == "given up" else done)
    assert dead == labels - others
    assert monitor.waiting_labels == 0


def end(limit_gib: float) -> NoReturn:
    most_gib = _memory_mb("VmHWM") / 1024
    print(f"at most {most_gib:.2f} GiB, limit {limit_gib:g} GiB")
    sys.exit(most_gib > limit_gib)


if __name__ == "__main__":
    main()
