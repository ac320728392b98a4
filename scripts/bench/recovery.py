"""How long a worker takes to take over partitions in which a million predictions wait for their labels.

    .venv/bin/python scripts/bench/recovery.py --rows 1000000

An embedded broker gets so many predictions (some 300 bytes, four partitions). A worker's service takes them in,
publishes its progress and hands its partitions in. Then others are assigned the same partitions, each in a process of
its own: with an empty disk, so that the state is rebuilt from the logs; and with the checkpoint of the first one.
Printed: seconds until the partitions are ready, CPU seconds of that, records read from the logs, and memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import structlog
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from driftloop.kafka.admin import create_topics
from driftloop.kafka.config import client_config
from driftloop.kafka.embedded import EmbeddedBroker
from driftloop.kafka.log_reader import read_batches
from driftloop.kafka.producer import Producer
from driftloop.observability.metrics import Metrics
from driftloop.settings import Settings
from driftloop.streaming.monitor import MonitorService
from support.own_settings import own_settings
from support.wide_rows import SPEC, WideCatalog, prediction_of

CASES = {"logs": "empty disk, from the logs", "checkpoint": "from a checkpoint"}


def service(settings: Settings) -> MonitorService:
    producer = Producer(client_config(settings))
    return MonitorService(settings, WideCatalog(), producer, Metrics(), "bench", [SPEC])


async def take_all(settings: Settings) -> None:
    """A worker's whole life, up to a clean end."""
    worker = service(settings)
    await worker.assign(range(settings.source_partitions))
    topic = settings.topics.predictions
    for partition in range(settings.source_partitions):
        for batch in read_batches(client_config(settings), topic, partition, batch=settings.batch_records):
            await worker.take(batch)
    await worker.revoke(worker.partitions)


async def take_over(settings: Settings) -> None:
    worker = service(settings)
    with structlog.testing.capture_logs() as logs:
        started_s, started_cpu_s = time.perf_counter(), time.process_time()
        await worker.assign(range(settings.source_partitions))
        seconds = time.perf_counter() - started_s
        cpu_seconds = time.process_time() - started_cpu_s
    ready = next(line for line in logs if line["event"] == "partitions ready")
    memory = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    found = {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "records": ready["records_read"],
        "partitions": ready["from_checkpoint"],
        "memory_mb": int(memory.split()[1]) / 1024,
    }
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--case", choices=("live", *CASES), help=argparse.SUPPRESS)
    parser.add_argument("--bootstrap", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    if arguments.case:
        settings = own_settings(arguments.bootstrap, "bench", arguments.folder)
        asyncio.run((take_all if arguments.case == "live" else take_over)(settings))
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedBroker(log_file=Path(folder) / "broker.log") as broker,
    ):
        settings = own_settings(broker.bootstrap, "bench", Path(folder))
        create_topics(settings)
        producer = Producer(client_config(settings))
        for number in range(arguments.rows):
            at = number % settings.source_partitions
            producer.produce(settings.topics.predictions, prediction_of(number), b"%d" % number, at)
        producer.close()
        table = Table("taking over", "records read", "seconds", "CPU seconds", "memory MB")

        def child(case: str, own: str) -> str:
            command = [sys.executable, __file__, "--case", case, "--bootstrap", broker.bootstrap]
            command += ["--folder", str(Path(folder) / own)]
            return subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=1800, check=True).stdout

        child("live", "first")
        for case, own in (("logs", "other"), ("checkpoint", "first")):
            found = json.loads(child(case, own).strip().splitlines()[-1])
            assert bool(found["partitions"]) == (case == "checkpoint")
            times = (f"{found['seconds']:.2f}", f"{found['cpu_seconds']:.2f}")
            table.add_row(CASES[case], f"{found['records']:,}", *times, f"{found['memory_mb']:,.0f}")
        Console(width=110).print(f"{arguments.rows:,} pending predictions", table)


if __name__ == "__main__":
    main()
