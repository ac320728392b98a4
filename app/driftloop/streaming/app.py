"""The Faust apps of the worker: one for monitors, one for assessors, each a consumer group of its own."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

import faust
import structlog
from faust.types import TP

from driftloop.events.batch import RecordBatch
from driftloop.kafka.security import broker_security
from driftloop.settings import Settings
from driftloop.streaming.batches import RECORDS_CODEC, batch_of, batch_scheduler

__all__ = ["EXIT_FATAL", "Membership", "PartitionService", "broker_credentials", "build_app"]

log = structlog.get_logger(__name__)

#: Exit code of a process that ended itself because it could neither go on nor skip what it was handling.
EXIT_FATAL = 70


#: A queue's size is divided by this to get the one from which on it is under pressure.
_NEVER = 1e-9


class PartitionService(Protocol):
    """What an app drives: partitions come and go, batches come in."""

    async def assign(self, partitions: Iterable[int]) -> None: ...

    async def revoke(self, partitions: Iterable[int]) -> None: ...

    async def take(self, batch: RecordBatch) -> None: ...


class _App(faust.App):  # type: ignore[misc]
    """Its streams' buffers know full and not full, and who fetches waits while one is full.

    Faust's own way lets go of partitions at four fifths and takes them up again one by one in an order of its own, so
    that some of them get next to nothing while a backlog is worked off; and when it has let go of all it sleeps.
    """

    def FlowControlQueue(self, maxsize: int | None = None, *, clear_on_resume: bool = False) -> Any:  # noqa: N802
        queue = super().FlowControlQueue(maxsize, clear_on_resume=clear_on_resume)
        queue.pressure_high_ratio = _NEVER
        return queue


class Membership:
    """Where an app stands in its consumer group; called, it says what is wrong, or None, for readiness. A member
    without partitions, because others have them all, is ready: it takes over at once."""

    def __init__(self) -> None:
        self._problem: str | None = "the consumer group has not been joined yet"

    def rebuilding(self, partitions: list[int]) -> None:
        self._problem = f"rebuilding the state of partitions {partitions}"

    def ready(self) -> None:
        self._problem = None

    def waiting(self) -> None:
        self._problem = "partitions are being handed out anew"

    def __call__(self) -> str | None:
        return self._problem


def build_app(
    settings: Settings,
    role: str,
    topics: list[str],
    service: PartitionService,
    *,
    web_port: int,
    membership: Membership | None = None,
    timers: dict[float, Callable[[], Awaitable[None]]] | None = None,
    after_batch: Callable[[], None] | None = None,
) -> faust.App:
    """A Faust app that reads ``topics`` in record batches and hands them to the service, one at a time, in order.

    ``timers``: seconds to coroutine function. ``after_batch`` is called when the service has taken a batch in.
    ``membership`` is kept up to date.

    What waits in memory is bounded, whatever the backlog is: a fetch of a partition (``consumer_max_fetch_size``) in
    the client, and ``stream_buffer_maxsize`` batches in the stream; while that is full nothing is fetched.
    """
    app = _App(
        f"{settings.app_id}-{role}",
        broker=";".join(f"kafka://{server}" for server in settings.bootstrap.split(",")),
        broker_credentials=broker_credentials(settings),
        broker_max_poll_records=settings.batch_records * 4,
        broker_session_timeout=settings.session_timeout_ms / 1000,
        broker_rebalance_timeout=settings.rebalance_timeout_ms / 1000,
        broker_heartbeat_interval=max(1.0, settings.session_timeout_ms / 10_000),
        broker_commit_interval=2.0,
        ConsumerScheduler=batch_scheduler(settings.batch_records),
        consumer_auto_offset_reset="earliest",
        datadir=str(settings.data_dir / f"faust-{role}-{web_port}"),
        store="memory://",
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        web_port=web_port,
        web_bind=settings.web_host,
        web_host=settings.web_host,
        stream_wait_empty=False,
        stream_buffer_maxsize=2,
        consumer_max_fetch_size=1_048_576,
    )
    membership = membership or Membership()
    channel = app.topic(*topics, key_serializer="raw", value_serializer=RECORDS_CODEC)

    async def consume(stream: Any) -> None:
        async for event in stream.events():
            message = event.message
            await _or_die(service.take(batch_of(message.topic, message.partition, message.value)), role)
            if after_batch is not None:
                after_batch()

    app.agent(channel, name=role)(consume)

    async def assigned(_: Any, assigned: set[TP], **__: Any) -> None:
        partitions = _partitions(assigned, topics[0])
        membership.rebuilding(partitions)
        await _or_die(service.assign(partitions), role)
        membership.ready()

    async def revoked(_: Any, revoked: set[TP], **__: Any) -> None:
        membership.waiting()
        await _or_die(service.revoke(_partitions(revoked, topics[0])), role)

    app.on_partitions_assigned.connect(assigned, weak=False)
    app.on_partitions_revoked.connect(revoked, weak=False)
    for seconds, action in (timers or {}).items():
        app.timer(seconds, name=f"{role}-{seconds}")(_timer(action, role))
    return app


def _partitions(tps: set[TP], topic: str) -> list[int]:
    return sorted(tp.partition for tp in tps if tp.topic == topic)


def _timer(action: Callable[[], Awaitable[None]], role: str) -> Callable[[], Awaitable[None]]:
    async def tick() -> None:  # without parameters: Faust hands the app to timers that have one
        await _or_die(action(), role)

    return tick


async def _or_die(work: Awaitable[None], role: str) -> None:
    """An agent that raises would lose what it was handling: Faust counts it as done and commits its offset. So the
    process ends at once, without committing, and the next one does the work again."""
    try:
        await work
    except Exception:
        log.critical("cannot go on, ending the process without committing", role=role, exc_info=True)
        os._exit(EXIT_FATAL)


def broker_credentials(settings: Settings) -> Any:
    """What Faust takes, for the same connections as :func:`driftloop.kafka.config.client_config` makes."""
    security = broker_security(settings)
    context = security.ssl_context()
    if security.mechanism is not None:
        # Faust encrypts exactly if there is a context.
        return faust.SASLCredentials(
            username=security.username,
            password=security.password,
            mechanism=security.mechanism,
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context=context)
