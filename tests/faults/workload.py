"""The workload with a known answer that every fault test runs, calm once and disturbed then."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from driftloop.events.decisions import ModelEvent
from driftloop.kafka.config import client_config
from driftloop.kafka.embedded import free_port
from driftloop.kafka.log_reader import end_offsets
from driftloop.registry import Run, RunStore, open_engine
from driftloop.replay.published import read_events, read_published
from driftloop.settings import Settings
from driftloop.streaming.recovery import latest_progress
from faults.answer import Answer, answer
from faults.differences import differences_from_answer
from faults.history import MAX_MESSAGE_BYTES, Sent, history
from support import world
from support.cluster import Cluster, Outcome, outcome_of, versions_of
from support.own_settings import own_settings

DAYS, PER_DAY = 10, 400
#: Input and outcome windows of every day, over all rows and two regions, and the empty input window before the end.
REPORTS = DAYS * 2 * 3 + 1
#: Version v1 is there from the start; the drift leads to one retrain command and so to v2.
VERSIONS = ["v1", "v2"]

#: In place of the number of a piece: none is published yet, and the processes are still starting.
STARTING = -1
#: Seconds from one piece to the next: where nothing is to fall between them, and where processes and brokers that come
#: and go are to find the others at work.
QUICK_S, SLOW_S = 0.1, 0.5

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
        max_message_bytes=MAX_MESSAGE_BYTES,
        **overrides,
    )


@cache
def events() -> tuple[list[Sent], Answer]:
    """The history, the end of time after it, and what must come of them."""
    partitions = Settings.model_fields["source_partitions"].default
    ends = world.end_of_time(partitions, DAYS)
    sent = [*history(DAYS, PER_DAY, drift_from_day=4), *((event, None) for event in ends)]
    return sent, answer(sent, partitions)


def calm(cluster: Cluster, piece: int, pieces: int) -> None:
    """No fault."""


def run(
    settings: Settings,
    folder: Path,
    disturb: Disturb = calm,
    *,
    monitors: int = 1,
    environment: dict[str, str] | None = None,
    module: str = "driftloop",
    pace_s: float = 0.2,
) -> Outcome:
    """Publish the history in pieces, one in ``pace_s``. ``disturb(cluster, piece, pieces)`` is called before each, with
    :data:`STARTING` while the processes start, and with ``piece == pieces`` after the last. Returns when everything
    that must follow is published and stored; whatever was done meanwhile, nobody may have said that it is not alive,
    and what was said must be the known answer."""
    world.prepare(settings)
    sent = [event for event, _ in events()[0]]
    pieces = [sent[start : start + 250] for start in range(0, len(sent), 250)]
    with Cluster(settings, folder, monitors=monitors, environment=environment, module=module) as cluster:
        cluster.start_all()
        disturb(cluster, STARTING, len(pieces))
        cluster.wait_until_started()
        with world.publisher(settings) as publish:
            for index, piece in enumerate(pieces):
                disturb(cluster, index, len(pieces))
                cluster.mend()
                publish(piece)
                time.sleep(pace_s)
        disturb(cluster, len(pieces), len(pieces))
        cluster.wait_for("all reports", lambda: len(read_published(settings).reports) >= REPORTS)
        cluster.wait_for("all records taken in", lambda: _all_read(settings))
        cluster.wait_for("the new version", lambda: _promoted(settings))
        # Restated reports and dead letters have no end of their own.
        cluster.wait_for("the known answer", lambda: not against_answer(outcome_of(settings)), 30, required=False)
        cluster.wait_for_health(cluster.names, "ready", lambda health: health.ready is True)
        codes = cluster.stop()
        assert set(codes.values()) == {0}, codes
        print(f"{cluster.mended} processes were started again; readiness: {cluster.watch.seen}")
    assert cluster.watch.dead == []
    assert cluster.watch.deaf == []
    outcome = outcome_of(settings)
    assert (found := against_answer(outcome)) == [], "\n".join(found[:20])
    return outcome


def against_answer(outcome: Outcome) -> list[str]:
    """What is wrong in an outcome, in sentences."""
    return differences_from_answer(
        events()[1],
        until_ms=world.START + DAYS * world.DAY,
        final=outcome.reports,
        restated=outcome.restated,
        labeled=outcome.labeled,
        dead={origin: code for origin, (code, _) in outcome.dead.items()},
        dead_values={origin: value for origin, (_, value) in outcome.dead.items()},
    )


def only_run(settings: Settings) -> Run:
    """What the trainer has made of the one command."""
    engine = open_engine(settings.resolved_database_url)
    (run,) = RunStore(engine).runs("credit")
    engine.dispose()
    return run


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
