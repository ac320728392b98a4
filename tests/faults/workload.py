"""The workload with a known answer that every fault test runs, calm once and disturbed then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from driftloop.events.decisions import ModelEvent
from driftloop.kafka.config import client_config
from driftloop.kafka.embedded import free_port
from driftloop.kafka.log_reader import end_offsets
from driftloop.replay.published import read_events, read_published
from driftloop.settings import Settings
from driftloop.streaming.recovery import latest_progress
from support import world
from support.cluster import Cluster, Outcome, outcome_of, versions_of
from support.own_settings import own_settings

DAYS, PER_DAY = 10, 400
#: Input and outcome windows of every day, over all rows and two regions, and the empty input window before the end.
REPORTS = DAYS * 2 * 3 + 1
#: Version v1 is there from the start; the drift leads to one retrain command and so to v2.
VERSIONS = ["v1", "v2"]

Disturb = Callable[[Cluster, int, int], None]


def settings_of(bootstrap: str, name: str, folder: Path, **overrides: object) -> Settings:
    """Small batches and short intervals, so that a fault falls between many of them."""
    folder.mkdir(parents=True, exist_ok=True)
    return own_settings(
        bootstrap,
        name,
        folder,
        specs=folder / "specs",
        web_port=free_port(),
        publish_interval_ms=100,
        batch_records=50,
        **overrides,
    )


def calm(cluster: Cluster, piece: int, pieces: int) -> None:
    """No fault."""


def run(settings: Settings, folder: Path, disturb: Disturb = calm, *, monitors: int = 1) -> Outcome:
    """Publish the history in pieces; ``disturb(cluster, piece, pieces)`` is called before each. Returns when everything
    that must follow is published and stored."""
    world.prepare(settings)
    events = [*world.history(DAYS, PER_DAY, drift_from_day=4), *world.end_of_time(settings, DAYS)]
    pieces = [events[start : start + 250] for start in range(0, len(events), 250)]
    with Cluster(settings, folder, monitors=monitors) as cluster:
        cluster.start_all()
        for index, piece in enumerate(pieces):
            disturb(cluster, index, len(pieces))
            cluster.mend()
            world.publish(settings, piece)
        cluster.wait_for("all reports", lambda: len(read_published(settings).reports) >= REPORTS)
        cluster.wait_for("all records taken in", lambda: _all_read(settings))
        cluster.wait_for("the new version", lambda: _promoted(settings))
        codes = cluster.stop()
        assert set(codes.values()) == {0}, codes
        print(f"{cluster.mended} processes were started again")
    return outcome_of(settings)


def _all_read(settings: Settings) -> bool:
    """Reports can be complete while the last records of a partition are still to be read."""
    config, topics = client_config(settings), settings.topics
    partitions = range(settings.source_partitions)
    progress = latest_progress(config, topics.monitor_progress)
    predictions = end_offsets(config, topics.predictions, partitions)
    labels = end_offsets(config, topics.labels, partitions)
    return all(
        at in progress
        and progress[at].predictions_offset >= predictions[at]
        and progress[at].labels_offset >= labels[at]
        for at in partitions
    )


def _promoted(settings: Settings) -> bool:
    events = read_events(settings, settings.topics.model_events, ModelEvent)
    names = [entry["version"] for entry in versions_of(settings)[:-1]]
    return names == VERSIONS and any(event.kind == "promoted" and event.model_version == "v2" for event in events)
