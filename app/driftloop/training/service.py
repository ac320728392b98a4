"""The trainer as a process: settings in, exit code out."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from driftloop.kafka.admin import BrokerError, check_topics, wait_for_broker
from driftloop.kafka.config import client_config
from driftloop.kafka.log_reader import Record, read_partition
from driftloop.kafka.producer import Producer
from driftloop.mlflow_mirror.follower import following
from driftloop.observability.logs import get_logger
from driftloop.observability.metrics import Metrics
from driftloop.observability.server import Heartbeat, serve
from driftloop.registry.artifacts import ArtifactStore
from driftloop.registry.database import create_schema, open_engine, schema_problem, what_it_said
from driftloop.registry.errors import RegistryError
from driftloop.registry.models import Registry
from driftloop.registry.outbox import Relay, kafka_sender
from driftloop.registry.runs import RunStore
from driftloop.settings import Settings
from driftloop.spec.load import load_specs
from driftloop.training.child import TrainingProcesses
from driftloop.training.labeled_log import LabeledLog
from driftloop.training.run import CommandRunner
from driftloop.training.worker import Trainer, TrainerError
from driftloop.web.actions import Actions

__all__ = ["labeled_log", "run_trainer"]

log = get_logger(__name__)

#: The main loop turns several times a second, except while it waits for the database.
_HEARTBEAT_S = 90.0


def labeled_log(settings: Settings) -> LabeledLog:
    """The labeled predictions in Kafka."""
    config = client_config(settings, client_id="driftloop-trainer-log")

    def read(partition: int, start: int) -> Iterator[list[Record]]:
        return read_partition(config, settings.topics.labeled, partition, start)

    return LabeledLog(read, range(settings.source_partitions))


def run_trainer(settings: Settings, *, lease_s: float = 15.0, broker_timeout_s: float = 30.0) -> int:
    """Run the trainer until SIGTERM or SIGINT. Returns the process's exit code; says what is wrong in the log.

    Must be called in the main thread. ``lease_s``: how long a command stays with a worker that has died.
    """
    stopping = threading.Event()
    with _signals(stopping):
        try:
            _serve(settings, stopping, lease_s, broker_timeout_s)
        except (BrokerError, RegistryError, ValueError, OSError) as error:
            log.error("the trainer cannot start", error=str(error))
            return 1
        except SQLAlchemyError as error:
            log.error(
                "the trainer cannot go on: the database did not answer", error=what_it_said(error), exc_info=error
            )
            return 1
        except TrainerError as error:
            log.error("the trainer ended", error=str(error), exc_info=error)
            return 1
    return 0


def _serve(settings: Settings, stopping: threading.Event, lease_s: float, broker_timeout_s: float) -> None:
    specs = load_specs(settings.specs)
    config = client_config(settings, client_id="driftloop-trainer")
    wait_for_broker(config, broker_timeout_s)
    problems = [check.problem for check in check_topics(settings) if check.problem]
    if problems:
        raise BrokerError(f"{problems[0]}; `driftloop topics create` makes the topics")
    engine = open_engine(settings.resolved_database_url)
    create_schema(engine)
    registry = Registry(engine, ArtifactStore(settings.resolved_artifacts))
    producer = Producer(config)
    metrics = Metrics()
    heartbeat = Heartbeat(_HEARTBEAT_S)
    processes = TrainingProcesses()
    runner = CommandRunner(
        specs,
        registry,
        labeled_log(settings),
        labeled_topic=settings.topics.labeled,
        folder=settings.data_dir / "trainer",
        processes=processes,
        cancelled=stopping.is_set,
    )
    trainer = Trainer(
        {
            **config,
            "session.timeout.ms": settings.session_timeout_ms,
            "heartbeat.interval.ms": max(500, settings.session_timeout_ms // 10),
        },
        group=f"{settings.app_id}-trainer",
        commands_topic=settings.topics.retrain_commands,
        dead_letters_topic=settings.topics.dead_letters,
        runs=RunStore(engine),
        relay=Relay(engine, kafka_sender(producer, settings.topics)),
        runner=runner,
        stopping=stopping,
        producer=producer,
        lease_s=lease_s,
        observe=metrics.training,
        beat=heartbeat.beat,
        after=processes.warm,
    )
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        stack.callback(processes.close)
        stack.enter_context(following(settings, registry))
        if settings.metrics_port:
            checks = {
                "consumer": lambda: None if trainer.assigned else "no partition of the commands is assigned yet",
                "database": lambda: _database_problem(engine),
            }
            token = None if settings.web_token is None else settings.web_token.get_secret_value()
            server = serve(
                metrics.registry,
                settings.web_host,
                settings.metrics_port,
                checks,
                liveness={"loop": heartbeat},
                post=Actions(registry, token, trainer.publish_soon).post,
            )
            stack.callback(server.close)
        log.info("trainer started", models=sorted(specs), topic=settings.topics.retrain_commands)
        processes.warm()
        trainer.run()
    log.info("trainer stopped")


def _database_problem(engine: Engine) -> str | None:
    try:
        return schema_problem(engine)
    except SQLAlchemyError as error:
        return f"the database does not answer: {what_it_said(error)}"


@contextmanager
def _signals(stopping: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT ask for the end. The handlers from before come back afterwards, unless a signal came: then the
    process is about to end, and a copy of that signal (``timeout`` sends one to the group) must not cut it short."""
    asked = False

    def stop(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if asked else handler)
