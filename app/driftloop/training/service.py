"""The trainer as a process: settings in, exit code out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from http import HTTPStatus

from sqlalchemy.exc import SQLAlchemyError

from driftloop.kafka.admin import BrokerError, check_topics, wait_for_broker
from driftloop.kafka.config import client_config
from driftloop.kafka.log_reader import Record, read_partition
from driftloop.kafka.producer import Producer
from driftloop.kafka.reachable import BrokerCheck
from driftloop.mlflow_mirror.follower import following
from driftloop.observability.logs import get_logger
from driftloop.observability.metrics import Metrics
from driftloop.observability.server import Check, Heartbeat, serve
from driftloop.registry.artifacts import ArtifactStore
from driftloop.registry.assessments import AssessmentStore
from driftloop.registry.database import create_schema, database_problem, open_engine, what_it_said
from driftloop.registry.errors import RegistryError
from driftloop.registry.handovers import HandoverStore
from driftloop.registry.models import Registry
from driftloop.registry.outbox import MESSAGE_TIMEOUT_MS, Relay, kafka_sender
from driftloop.registry.runs import RunStore
from driftloop.settings import Settings
from driftloop.spec.load import load_specs
from driftloop.spec.model import ModelSpec
from driftloop.stopping import StopSignals
from driftloop.training.by_hand import give_command, prepare_command
from driftloop.training.child import TrainingProcesses
from driftloop.training.file_trouble import SharedFiles, Tries
from driftloop.training.handover.credentials import Keyring
from driftloop.training.handover.dispatch import Dispatcher
from driftloop.training.handover.results import MOST_BODY_BYTES, RESULT_PATH, Results
from driftloop.training.handover.step import Handing
from driftloop.training.labeled_log import LabeledLog
from driftloop.training.putting_off import PuttingOff
from driftloop.training.run import CommandRunner
from driftloop.training.shadow_service import start_shadow_watch
from driftloop.training.worker import Trainer, TrainerError
from driftloop.web.actions import Actions, Answer

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

    Must be called in the main thread; :class:`StopSignals` says how it ends when asked to. ``lease_s``: how long a
    command stays with a worker that has died.
    """
    stopping = threading.Event()
    with StopSignals(stopping.set):
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
    engine = open_engine(settings.resolved_database_url)
    metrics = Metrics()
    heartbeat = Heartbeat(_HEARTBEAT_S)
    consuming, deciding = _Consuming(stopping), _Deciding()
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        if settings.metrics_port:
            # Before anything is waited for: a process that starts is alive and not ready.
            checks: dict[str, Check] = {
                "consumer": consuming,
                "files": consuming.files,
                "broker": BrokerCheck(config, settings.topics.retrain_commands),
                "database": lambda: database_problem(engine),
            }
            server = serve(
                metrics.registry,
                settings.web_host,
                settings.metrics_port,
                checks,
                liveness={"loop": heartbeat},
                post=deciding.post,
                admit=deciding.admit,
                most_body_bytes=lambda path: MOST_BODY_BYTES if RESULT_PATH.fullmatch(path) else None,
            )
            stack.callback(server.close)

        def given_up() -> bool:
            heartbeat.beat()
            return stopping.is_set()

        if not wait_for_broker(config, broker_timeout_s, given_up=given_up):
            return
        problems = [check.problem for check in check_topics(settings) if check.problem]
        if problems:
            raise BrokerError(f"{problems[0]}; `driftloop topics create` makes the topics")
        create_schema(engine)
        registry = Registry(engine, ArtifactStore(settings.resolved_artifacts))
        work = settings.data_dir / "trainer"
        producer = Producer(config)
        processes = TrainingProcesses()
        stack.callback(processes.close)
        handovers, keyring, runs = HandoverStore(engine), Keyring(settings), RunStore(engine)
        runner = CommandRunner(
            specs,
            registry,
            labeled_log(settings),
            labeled_topic=settings.topics.labeled,
            folder=work,
            processes=processes,
            cancelled=stopping.is_set,
            handing=Handing(
                handovers, keyring, registry.store, settings.handover_report_url, processes, cancelled=stopping.is_set
            ),
        )
        metrics.trainer_blocked("files", blocked=False)
        consuming.putting_off = PuttingOff(
            runs,
            SharedFiles(registry.store, work),
            Tries(settings.file_tries, settings.file_retry_ms / 1_000),
            stopping,
            partial(metrics.trainer_blocked, "files"),
        )
        relaying = client_config(settings, message_timeout_ms=MESSAGE_TIMEOUT_MS)
        trainer = consuming.trainer = Trainer(
            {
                **config,
                "session.timeout.ms": settings.session_timeout_ms,
                "heartbeat.interval.ms": max(500, settings.session_timeout_ms // 10),
            },
            group=f"{settings.app_id}-trainer",
            commands_topic=settings.topics.retrain_commands,
            dead_letters_topic=settings.topics.dead_letters,
            runs=runs,
            relay=Relay(engine, kafka_sender(Producer(relaying), settings.topics)),
            runner=runner,
            stopping=stopping,
            producer=producer,
            lease_s=lease_s,
            observe=metrics.training,
            beat=heartbeat.beat,
            after=processes.warm,
            putting_off=consuming.putting_off,
            limits_ms={name: spec.training.time_limit_ms for name, spec in specs.items()},
        )
        token = None if settings.web_token is None else settings.web_token.get_secret_value()
        retrain = _retrain(specs, AssessmentStore(engine))
        deciding.actions = Actions(registry, token, trainer.publish_soon, retrain)
        deciding.results = Results(handovers, runs, registry.store, keyring, trainer.publish_soon)
        log.info("trainer started", models=sorted(specs), topic=settings.topics.retrain_commands)
        processes.warm()
        stack.enter_context(following(settings, registry))
        stack.callback(start_shadow_watch(settings, specs, registry, labeled_log(settings), stopping))
        dispatcher = Dispatcher(handovers, runs, keyring, ended=trainer.publish_soon)
        sending = threading.Thread(target=dispatcher.run, args=(stopping,), name="handovers", daemon=True)
        sending.start()
        trainer.run()
        sending.join(timeout=5.0)
    log.info("trainer stopped")


def _retrain(specs: Mapping[str, ModelSpec], store: AssessmentStore) -> Callable[[str, str, str], str]:
    def retrain(model: str, reason: str, actor: str) -> str:
        if model not in specs:
            raise ValueError(f"the trainer has no spec of model {model!r}")
        command, decision, _ = prepare_command(store, specs[model], reason=reason, actor=actor)
        give_command(store, command, decision)
        return command.command_id

    return retrain


class _Deciding:
    """Takes decisions and results over HTTP once there is a registry to take them in."""

    def __init__(self) -> None:
        self.actions: Actions | None = None
        self.results: Results | None = None

    def admit(self, path: str, headers: Mapping[str, str]) -> Answer | None:
        taking = self._taking(path)
        return _STARTING if taking is None else taking.admit(path, headers)

    def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        taking = self._taking(path)
        return _STARTING if taking is None else taking.post(path, headers, body)

    def _taking(self, path: str) -> Actions | Results | None:
        return self.results if path.startswith("/runs/") else self.actions


_STARTING: Answer = HTTPStatus.SERVICE_UNAVAILABLE, {"error": "the trainer is starting; ask again"}


class _Consuming:
    """For readiness: whether commands are taken."""

    def __init__(self, stopping: threading.Event) -> None:
        self.trainer: Trainer | None = None
        self.putting_off: PuttingOff | None = None
        self._stopping = stopping

    def __call__(self) -> str | None:
        if self._stopping.is_set():
            return "told to end"
        if self.trainer is None:
            return "the trainer is starting"
        return None if self.trainer.assigned else "no partition of the commands is assigned yet"

    def files(self) -> str | None:
        """Why nothing can be trained, though commands are taken."""
        return None if self.putting_off is None else self.putting_off.trouble
