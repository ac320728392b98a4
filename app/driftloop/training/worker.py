"""The training worker: takes retrain commands from Kafka, one at a time, and carries each out exactly once.

The consumer keeps polling while a training runs (its partitions paused), so that a long training is no reason to be
put out of the group. A command's offset is committed after its run has ended in the database; if the worker dies
before, the next one gets the command again, takes over the lease when it ends, and goes on with what the registry
already holds.

A command whose files cannot be read or written is put off: its offset is committed, the database says when it is due
again, and the others go on meanwhile (:mod:`.putting_off`).
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from driftloop.events.decisions import RetrainCommand
from driftloop.kafka.config import ClientConfig
from driftloop.kafka.log_reader import LogReadError
from driftloop.kafka.producer import DeliveryError, Producer
from driftloop.observability.logs import get_logger
from driftloop.registry.database import what_it_said
from driftloop.registry.outbox import Relay
from driftloop.registry.runs import RunStore
from driftloop.training import progress
from driftloop.training.child import TrainingCancelled
from driftloop.training.command_records import command_of, letter_of
from driftloop.training.putting_off import PuttingOff, is_put_off
from driftloop.training.run import CommandRunner, Finished
from driftloop.training.run_recorder import RunRecorder

__all__ = ["Trainer", "TrainerError"]

log = get_logger(__name__)

#: A command that ended so many workers is given up: something in it brings them down.
MAX_ATTEMPTS = 5
#: Broker or database away, or this worker asked to end: no attempt is used up.
_NOT_ITS_FAULT = (LogReadError, KafkaException, OperationalError, TrainingCancelled)
_POLL_S = 0.1
_RELAY_EVERY_S = 2.0
_LOOK_EVERY_S = 1.0


class TrainerError(RuntimeError):
    """The worker cannot go on; nothing was committed. Start it again when the cause is gone."""


class Observer(Protocol):
    """Told of every finished training: model, seconds, outcome."""

    def __call__(self, model_id: str, seconds: float, outcome: str) -> None: ...


class Trainer:
    """Consumes ``commands_topic``: :meth:`run` works until :meth:`stop`, or until it raises :class:`TrainerError`.

    ``lease_s``: how long a command stays with a worker that has died. ``beat`` is called in every turn of the loop,
    ``after`` when a command is done with. ``putting_off`` deals with files that cannot be read or written;
    ``limits_ms``: how long a run of each model may take.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        group: str,
        commands_topic: str,
        dead_letters_topic: str,
        runs: RunStore,
        relay: Relay,
        runner: CommandRunner,
        stopping: threading.Event,
        producer: Producer,
        putting_off: PuttingOff,
        lease_s: float = 15.0,
        observe: Observer | None = None,
        beat: Callable[[], None] = lambda: None,
        after: Callable[[], None] = lambda: None,
        owner: str | None = None,
        limits_ms: Mapping[str, int] | None = None,
    ) -> None:
        self._consumer_config = {
            **config,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
        }
        self._commands_topic = commands_topic
        self._dead_letters_topic = dead_letters_topic
        self._runs = runs
        self._relay = relay
        self._runner = runner
        self._stopping = stopping
        self._producer = producer
        self._lease_s = lease_s
        self._observe = observe
        self._beat = beat
        self._after = after
        self._owner = owner or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._putting_off = putting_off
        self._limits_ms = dict(limits_ms or {})
        self._waiting: deque[Message] = deque()
        self._due: deque[RetrainCommand] = deque()
        self._look_at_s = 0.0
        self._busy = False
        self._relay_due_s = 0.0
        self.assigned = False

    def stop(self) -> None:
        """Let :meth:`run` return soon. A training that runs is broken off and left for another worker."""
        self._stopping.set()

    def run(self) -> None:
        """Work until :meth:`stop`. Raises :class:`TrainerError` when Kafka or the database fail.

        Nothing is retried here: whoever supervises the process does that, and lease and offset say where to go on.
        """
        consumer = Consumer(self._consumer_config)
        consumer.subscribe([self._commands_topic], on_assign=self._on_assign, on_revoke=self._on_revoke)
        current: tuple[Message | None, Future[None]] | None = None
        due_was_last = False  # what was put off and what is new take turns
        with ThreadPoolExecutor(1, thread_name_prefix="training") as pool:
            try:
                while not self._stopping.is_set():
                    self._beat()
                    self._poll(consumer)
                    if current is not None and current[1].done():
                        current[1].result()
                        self._publish()
                        if current[0] is not None:
                            self._commit(consumer, current[0])
                        self._after()
                        current = None
                    if current is None:
                        self._look_for_due()
                    if current is None and self._due and not (self._waiting and due_was_last):
                        due_was_last = True
                        current = None, pool.submit(self._carry_out, self._due.popleft(), wait=False)
                    elif current is None and self._waiting:
                        due_was_last = False
                        message = self._waiting.popleft()
                        current = message, pool.submit(self._handle, message)
                    self._pace(consumer, busy=current is not None or bool(self._waiting))
                    if time.monotonic() >= self._relay_due_s:
                        self._publish()
            except TrainingCancelled:
                log.info("stopped during a training, which is left for another worker")
            except TrainerError:
                raise
            except Exception as error:
                what = f"{type(error).__name__}: {error}"
                raise TrainerError(f"{what}; nothing is lost: the command will be taken up again") from error
            finally:
                self._stopping.set()
                # The pool waits for the training that runs, which sees that it is to end.
                pool.shutdown(wait=True)
                consumer.close()
        try:
            self._publish()
        except DeliveryError as error:
            raise TrainerError(f"{error}; nothing is lost: what waits is published at the next start") from error

    def _poll(self, consumer: Consumer) -> None:
        message = consumer.poll(_POLL_S)
        if message is None:
            return
        error = message.error()
        if error is None:
            self._waiting.append(message)
        elif error.fatal() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise TrainerError(
                f"cannot read {self._commands_topic}: {error.str()}; `driftloop topics create` makes topics"
            )
        else:
            log.warning("reading commands", error=error.str())

    def _look_for_due(self) -> None:
        """What was put off and is due. One at a time, so that new commands are not held up by many of these."""
        if self._due or time.monotonic() < self._look_at_s:
            return
        self._look_at_s = time.monotonic() + _LOOK_EVERY_S
        self._due.extend(self._runs.due(time.time(), limit=1))

    def _pace(self, consumer: Consumer, *, busy: bool) -> None:
        """Pause while there is something to do: polling must go on, but nothing more is wanted."""
        if busy != self._busy:
            self._busy = busy
            places = consumer.assignment()
            (consumer.pause if busy else consumer.resume)(places)

    def _on_assign(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        self.assigned = True
        if self._busy:
            consumer.assign(places)
            consumer.pause(places)

    def _on_revoke(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        self.assigned = False
        gone = {place.partition for place in places}
        # Their new owner reads them again; the run in progress keeps its lease, and the new owner waits for it.
        self._waiting = deque(message for message in self._waiting if message.partition() not in gone)

    def _commit(self, consumer: Consumer, message: Message) -> None:
        place = TopicPartition(message.topic(), message.partition(), message.offset() + 1)
        try:
            consumer.commit(offsets=[place], asynchronous=False)
        except KafkaException as error:
            # The partition went to another worker meanwhile, which will find the run finished.
            log.warning("offset not committed", partition=message.partition(), error=str(error))

    def publish_soon(self) -> None:
        """Let the loop publish what another thread has put into the outbox, in its next turn."""
        self._relay_due_s = 0.0

    def _publish(self) -> None:
        """Send what waits in the outbox. The broker may be away for a while: it stays there."""
        self._relay_due_s = time.monotonic() + _RELAY_EVERY_S
        try:
            self._relay.publish_pending()
        except DeliveryError as error:
            if error.broken:
                raise
            log.warning("model events wait in the outbox", error=str(error))

    def _handle(self, message: Message) -> None:
        """In the training thread: one record of the topic."""
        value = message.value()
        if value is None:
            return
        command, problem = command_of(value)
        if command is None:
            self._bury(message, problem)
            return
        self._carry_out(command)

    def _bury(self, message: Message, reason: str) -> None:
        log.warning("unreadable command", partition=message.partition(), offset=message.offset(), error=reason)
        key, value, headers = letter_of(message, reason)
        self._producer.produce(self._dead_letters_topic, value, key, headers=headers)
        self._producer.flush(30.0)

    def _carry_out(self, command: RetrainCommand, *, wait: bool = True) -> None:
        """``wait`` while another worker has it; else it is left to that one."""
        attempts = self._take(command, wait=wait)
        if attempts is None:
            return
        started = time.monotonic()
        log.info("retrain command", model=command.model_id, command_id=command.command_id, attempt=attempts)
        over = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(command, over), name="lease", daemon=True)
        renewing.start()
        recorder = RunRecorder(self._runs, command.command_id, attempts)
        try:
            with progress.listening(recorder):
                ended = self._attempt(command, attempts)
        except BaseException as error:
            if isinstance(error, OSError):
                over.set()
                renewing.join()
                reason = self._putting_off.put_off(command, self._owner, error, recorder)
                if reason is not None:
                    recorder.line(reason)
                    recorder.close()
                    self._end(command, self._runner.fail(command, reason), started)
                return
            why = what_it_said(error) if isinstance(error, SQLAlchemyError) else str(error)
            recorder.line(f"this attempt by {self._owner} broke off: {type(error).__name__}: {why}")
            recorder.close()
            over.set()
            renewing.join()
            # Whoever comes next need not wait for the lease to end.
            with contextlib.suppress(SQLAlchemyError):
                if isinstance(error, _NOT_ITS_FAULT):
                    self._runs.give_back(command.command_id, self._owner)
                    # There may be any number of such attempts.
                    self._runs.log.trim(command.command_id)
                else:
                    self._runs.renew(command.command_id, self._owner, 0.0, time.time())
            raise
        over.set()
        renewing.join()
        recorder.close()
        if ended.outcome == "handed_over":
            self._runs.let_wait(command.command_id, self._owner, known=ended.known)
            log.info("handed over", model=command.model_id, command_id=command.command_id)
            return
        self._end(command, ended, started)

    def _end(self, command: RetrainCommand, ended: Finished, started: float) -> None:
        assert ended.outcome != "handed_over", "then it waits, and has not ended"
        self._runs.finish(command.command_id, ended.outcome, ended.version, ended.reason, time.time())
        with contextlib.suppress(SQLAlchemyError):  # the next run does it
            self._runs.log.forget(command.model_id)
        self._tell(command, ended, time.monotonic() - started)

    def _attempt(self, command: RetrainCommand, attempts: int) -> Finished:
        """In the training thread: whatever is told of its progress goes to the run's log."""
        progress.phase(f"attempt {attempts} by {self._owner}")
        if attempts > MAX_ATTEMPTS:
            return self._runner.fail(
                command, f"{attempts - 1} attempts ended without a result; `driftloop runs show` has their last lines"
            )
        return self._runner.run(command)

    def _take(self, command: RetrainCommand, *, wait: bool = True) -> int | None:
        """Lease the command. Waits while another worker has it, if told so; None if it is finished or put off."""
        limit_ms = self._limits_ms.get(command.model_id)
        while not self._stopping.is_set():
            run = self._runs.lease(command, self._owner, self._lease_s, time.time(), limit_ms=limit_ms)
            if run is not None:
                return run.attempts
            known = self._runs.get(command.command_id)
            if known is not None and (known.outcome is not None or is_put_off(known)):
                return None
            if not wait:
                return None
            self._stopping.wait(0.5)
        raise TrainingCancelled

    def _renew(self, command: RetrainCommand, over: threading.Event) -> None:
        while not over.wait(self._lease_s / 3):
            try:
                kept = self._runs.renew(command.command_id, self._owner, self._lease_s, time.time())
            except SQLAlchemyError as error:
                log.warning("the lease could not be renewed", command_id=command.command_id, error=str(error))
                continue
            if not kept:
                # Harmless: the registry takes one version for a command, and the first end of a run counts.
                log.warning("the lease went to another worker", command_id=command.command_id)
                return

    def _tell(self, command: RetrainCommand, ended: Finished, seconds: float) -> None:
        log.info(
            "training ended",
            model=command.model_id,
            version=ended.version,
            outcome=ended.outcome,
            reason=ended.reason,
            seconds=round(seconds, 2),
        )
        if self._observe is not None:
            self._observe(command.model_id, seconds, ended.outcome)
