"""What a burst does to a worker's memory, and whether every event of it is counted.

    .venv/bin/python scripts/bench/backpressure.py --events 5000000

Apache Kafka (from its jars, or ``--bootstrap``) gets so many events, half predictions and half labels, before a worker
starts on them with the default settings. Printed: its resident memory over time, the peak, and the rows and labels in
final windows, which must be as many as were written.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from driftloop.kafka.embedded import free_port
from support import world
from support.apache_kafka import ApacheKafka
from support.backlog import Run, Sample, work_off, write_backlog
from support.own_settings import own_settings

_MIB = 2**20
_SHOWN_EVERY_S = 5.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--bootstrap", help="an Apache Kafka that runs already")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.bootstrap:
            return burst(arguments.bootstrap, Path(folder), arguments.events)
        broker = ApacheKafka(Path(folder) / "kafka")
        try:
            return burst(broker.start().bootstrap, Path(folder), arguments.events)
        finally:
            broker.stop()


def burst(bootstrap: str, folder: Path, events: int) -> int:
    settings = own_settings(bootstrap, f"burst{os.getpid()}", folder, specs=folder / "specs", web_port=free_port())
    world.prepare(settings)
    began_s = time.monotonic()
    backlog = write_backlog(settings, events)
    print(f"{backlog.events:,} events written in {time.monotonic() - began_s:.0f} s", flush=True)
    shown_s = -_SHOWN_EVERY_S

    def show(sample: Sample) -> None:
        nonlocal shown_s
        if sample.seconds - shown_s >= _SHOWN_EVERY_S:
            shown_s = sample.seconds
            print(
                f"{sample.seconds:6.0f} s  {sample.resident_bytes / _MIB:6.0f} MiB  {sample.reports:6,} reports",
                flush=True,
            )

    run: Run = work_off(settings, backlog, folder / "worker.log", timeout_s=max(300.0, events / 2_000), on_sample=show)
    print(f"all reported after {run.seconds:.0f} s; peak {run.peak_bytes / _MIB:.0f} MiB of resident memory")
    print(f"{run.rows:,} of {backlog.predictions:,} predictions and {run.labeled:,} labels counted in final windows, ")
    print(f"{run.dead_letters:,} dead letters")
    return 0 if (run.rows, run.labeled, run.dead_letters) == (backlog.predictions, backlog.predictions, 0) else 1


if __name__ == "__main__":
    sys.exit(main())
