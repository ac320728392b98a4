"""The worker process: monitor, assessor or both, in one loop, until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Literal

import faust
import structlog
from faust.types import TP
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from driftloop.kafka.admin import BrokerError, wait_for_broker
from driftloop.kafka.config import client_config
from driftloop.kafka.reachable import BrokerCheck
from driftloop.monitoring.outputs import DEAD_LETTER_CODES
from driftloop.observability.metrics import Metrics
from driftloop.observability.server import Heartbeat, serve
from driftloop.registry import RegistryError
from driftloop.registry.database import database_problem, open_engine, what_it_said
from driftloop.registry.open_commands import open_commands
from driftloop.settings import Settings
from driftloop.stopping import StopSignals
from driftloop.streaming.alignment import Alignment
from driftloop.streaming.app import EXIT_FATAL, Membership, build_app
from driftloop.streaming.assessor import AssessorService
from driftloop.streaming.models_view import ModelsView
from driftloop.streaming.monitor import MonitorService
from driftloop.streaming.partials import MALFORMED_PARTIAL
from driftloop.streaming.runtime import Runtime, open_runtime

__all__ = ["Role", "run_worker"]

log = structlog.get_logger(__name__)
Role = Literal["all", "monitor", "assessor"]

#: The clean end; :class:`StopSignals` waits longer, for a loop that is blocked in a client's call can't end itself.
_STOP_GRACE_S = 15.0
_EXIT_UNCLEAN = 1
_HEARTBEAT_S = 60.0
_BROKER_PATIENCE_S = 30.0
_BEAT_EVERY_S = 0.5


def run_worker(settings: Settings, role: Role) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code. :class:`StopSignals` says how it ends when asked to."""
    return asyncio.run(_Worker(settings, role).run())


class _Worker:
    def __init__(self, settings: Settings, role: Role) -> None:
        self._settings = settings
        self._role = role
        self._stop = asyncio.Event()
        self._heartbeat = Heartbeat(_HEARTBEAT_S)
        self._monitor: MonitorService | None = None
        self._assessor: AssessorService | None = None
        self._monitor_app: faust.App | None = None
        self._alignment: Alignment | None = None
        roles = ("monitor", "assessor") if role == "all" else (role,)
        self._memberships = {name: Membership() for name in roles}

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        # Not a timer of Faust's: those begin when the broker has answered and end when the apps are told to stop.
        beating = asyncio.create_task(self._keep_beating())
        with StopSignals(lambda: loop.call_soon_threadsafe(self._stop.set)) as signals, ExitStack() as stack:
            stack.callback(beating.cancel)
            try:
                metrics, engine = Metrics(), open_engine(self._settings.resolved_database_url)
                # Before anything is waited for: a process that starts is alive and not ready.
                self._serve(metrics, engine, stack)
                runtime = await self._opened(metrics, engine)
            except (RegistryError, ValueError, OSError) as error:
                log.error("the worker cannot start", error=str(error))
                return 1
            except SQLAlchemyError as error:
                log.error("the worker cannot start: the database did not answer", error=what_it_said(error))
                return 1
            # Threads of clients whose broker is gone would keep the process alive.
            os._exit(await self._work(signals, runtime))

    def _serve(self, metrics: Metrics, engine: Engine, stack: ExitStack) -> None:
        if self._settings.metrics_port:
            server = serve(
                metrics.registry,
                self._settings.web_host,
                self._settings.metrics_port,
                self._checks(engine),
                liveness={"event loop": self._heartbeat},
            )
            stack.callback(server.close)

    async def _opened(self, metrics: Metrics, engine: Engine) -> Runtime:
        """The database may be silent: signals and probes are answered meanwhile."""
        opening = asyncio.create_task(asyncio.to_thread(open_runtime, self._settings, metrics=metrics, engine=engine))
        asked = asyncio.create_task(self._stop.wait())
        await asyncio.wait({opening, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            # The thread can't be told; what it has begun in the database is undone there.
            log.info("worker stopped before it had started")
            os._exit(0)
        asked.cancel()
        return opening.result()

    async def _work(self, signals: StopSignals, runtime: Runtime) -> int:
        runtime.metrics.declare(runtime.specs, (*DEAD_LETTER_CODES, MALFORMED_PARTIAL))
        apps = self._apps(runtime)
        if not await self._broker_is_there():
            return 0 if self._stop.is_set() else 1
        await asyncio.gather(*(app.start() for app in apps))
        log.info("worker started", role=self._role, models=sorted(runtime.specs), bootstrap=self._settings.bootstrap)
        crashed = await self._wait_until_stopped(apps)
        signals.begin_grace()
        code = await self._shut_down(apps) or crashed
        runtime.close()
        log.info("worker stopped", exit_code=code)
        return code

    async def _broker_is_there(self) -> bool:
        """Waits for it: Faust, which does not, would end the process with a traceback. False if none came, or if the
        process was told to end meanwhile."""
        deadline_s = time.monotonic() + _BROKER_PATIENCE_S
        while not self._stop.is_set():
            try:
                await asyncio.to_thread(wait_for_broker, client_config(self._settings), 1.0)
            except BrokerError as error:
                if time.monotonic() > deadline_s:
                    log.error("the worker cannot start", error=str(error), waited_s=_BROKER_PATIENCE_S)
                    return False
            else:
                return True
        return False

    def _apps(self, runtime: Runtime) -> list[faust.App]:
        settings, topics = self._settings, self._settings.topics
        apps = []
        if self._role in ("all", "monitor"):
            self._monitor = MonitorService(
                settings, runtime.catalog, runtime.producer, runtime.metrics, runtime.worker_id, runtime.specs.values()
            )
            interval_s = max(0.05, settings.publish_interval_ms / 1000)
            self._monitor_app = build_app(
                settings,
                "monitor",
                [topics.predictions, topics.labels],
                self._monitor,
                web_port=settings.web_port,
                after_batch=self._align,
                membership=self._memberships["monitor"],
                timers={interval_s: self._monitor.publish, 1.0 + interval_s / 7: self._show_lag},
            )
            # A window's rows are in memory anyway: being ahead by one makes it twice as many at most.
            bound_ms = max((spec.window_ms for spec in runtime.specs.values()), default=0)
            self._alignment = Alignment(topics.predictions, topics.labels, bound_ms, self._end_offset)
            apps.append(self._monitor_app)
        if self._role in ("all", "assessor"):
            self._assessor = AssessorService(
                settings,
                runtime.specs,
                runtime.catalog,
                runtime.assessments,
                runtime.relay,
                ModelsView(
                    settings,
                    runtime.registry,
                    runtime.assessments,
                    runtime.metrics,
                    lambda models: open_commands(runtime.engine, models, time.time()),
                ),
                runtime.producer,
                runtime.metrics,
            )
            apps.append(
                build_app(
                    settings,
                    "assessor",
                    [topics.window_partials],
                    self._assessor,
                    web_port=settings.web_port + 1,
                    membership=self._memberships["assessor"],
                    timers={2.0: self._assessor.tick},
                )
            )
        return apps

    async def _keep_beating(self) -> None:
        """The heart of the loop itself: it beats while brokers are away and partitions are rebuilt, and stops when
        something blocks the loop."""
        while True:
            self._heartbeat.beat()
            await asyncio.sleep(_BEAT_EVERY_S)

    async def _show_lag(self) -> None:
        if self._monitor is not None:
            self._monitor.show_lag(self._end_offset)
        # Also when no batch comes: what one topic waited for may have been the end of the other.
        self._align()

    def _align(self) -> None:
        if self._alignment is not None and self._monitor is not None and self._monitor_app is not None:
            self._alignment.look(self._monitor.positions(), self._monitor_app.consumer)

    def _end_offset(self, topic: str, partition: int) -> int | None:
        end = self._monitor_app.consumer.highwater(TP(topic, partition)) if self._monitor_app else None
        return None if end is None else int(end)

    def _checks(self, engine: Engine) -> dict[str, Callable[[], str | None]]:
        def running() -> str | None:
            return "told to end: partitions are handed over" if self._stop.is_set() else None

        broker = BrokerCheck(client_config(self._settings), self._settings.topics.window_partials)
        return {
            "running": running,
            **self._memberships,
            "broker": broker,
            "database": lambda: database_problem(engine),
        }

    async def _wait_until_stopped(self, apps: list[faust.App]) -> int:
        """Returns 0 when told to stop, or the exit code of a Faust app that has crashed."""
        while not self._stop.is_set():
            if any(app.crashed for app in apps):
                log.critical("a Faust app has crashed, ending the process")
                return EXIT_FATAL
            try:
                async with asyncio.timeout(0.5):
                    await self._stop.wait()
            except TimeoutError:
                continue
        return 0

    async def _shut_down(self, apps: list[faust.App]) -> int:
        """Hand in what is there and leave the groups; a broker that is gone is not waited for longer than the grace."""
        work = asyncio.ensure_future(self._leave(apps))
        # Not a time-out on the work itself: Faust goes on waiting for its broker when it is cancelled.
        await asyncio.wait({work}, timeout=_STOP_GRACE_S)
        if not work.done():
            log.warning("the broker did not answer within the grace period; what was not published will be done again")
            return _EXIT_UNCLEAN
        if work.exception() is not None:
            log.warning("stopping was not clean; what was not published will be done again", exc_info=work.exception())
            return _EXIT_UNCLEAN
        return 0

    async def _leave(self, apps: list[faust.App]) -> None:
        for app in apps:
            await app.stop()
        if self._monitor is not None:
            await self._monitor.revoke(self._monitor.partitions)
        if self._assessor is not None:
            await self._assessor.relay()
