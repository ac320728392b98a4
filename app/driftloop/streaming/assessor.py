"""The live assessor: partials into the core of each model partition, what follows into one database transaction.

Reports, alerts, commands and the state after them are committed together with the outbox; the relay publishes the
outbox. Kafka's committed offsets are only where delivery starts: the database says from where the open windows can be
put together again.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import ParamSpec, TypeVar

import structlog
from sqlalchemy.exc import OperationalError

from driftloop.events.batch import RecordBatch
from driftloop.events.reports import WindowReport
from driftloop.judging.assessor import Advance, Assessor, Lookups
from driftloop.kafka.config import client_config
from driftloop.kafka.log_reader import read_batches
from driftloop.kafka.producer import DeliveryError, Producer
from driftloop.monitoring.outputs import DeadLetter
from driftloop.observability.metrics import Metrics
from driftloop.registry import AssessmentStore, Committed, Relay, StaleStateError
from driftloop.settings import Settings
from driftloop.spec.model import ModelSpec
from driftloop.streaming.catalog import RegistryCatalog
from driftloop.streaming.dead_letters import produce_dead_letters
from driftloop.streaming.made_by import Origin, origin_of, stamped
from driftloop.streaming.models_view import ModelsView
from driftloop.streaming.partials import readable_partials
from driftloop.streaming.placement import model_partition

__all__ = ["AssessorService"]

log = structlog.get_logger(__name__)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
_DATABASE_PATIENCE_S = 60.0
#: Open windows are reported no more often than this, and so many at a time for each model partition.
_OPEN_REPORTS_EVERY_S = 5.0
_OPEN_REPORTS_AT_ONCE = 16


class AssessorService:
    """Model partitions of one worker. Not thread-safe: one asyncio loop."""

    def __init__(
        self,
        settings: Settings,
        specs: Mapping[str, ModelSpec],
        catalog: RegistryCatalog,
        store: AssessmentStore,
        relay: Relay,
        view: ModelsView,
        producer: Producer,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._topic = settings.topics.window_partials
        self._specs = specs
        self._catalog = catalog
        self._store = store
        self._relay = relay
        self._view = view
        self._producer = producer
        self._metrics = metrics
        self._assessors: dict[int, Assessor] = {}
        self._warned: set[str] = set()
        self._lock = asyncio.Lock()
        self._open_shown_s = 0.0
        self._origin: Origin | None = None

    @property
    def partitions(self) -> list[int]:
        """Model partitions whose state is there."""
        return sorted(self._assessors)

    async def assign(self, partitions: Iterable[int]) -> None:
        """Load states, and prepare to read again what the open windows need."""
        async with self._lock:
            for partition in partitions:
                if partition not in self._assessors:
                    self._origin = None  # the logs may have been made anew
                    self._assessors[partition] = await asyncio.to_thread(self._recover, partition)
                    log.info("model partition ready", partition=partition)
                    await self._advance(partition)
            await asyncio.to_thread(self._view.take_over, self._models())

    def _models(self) -> list[str]:
        """Models whose windows are judged here."""
        partitions = self._settings.model_partitions
        return [model for model in self._specs if model_partition(model, partitions) in self._assessors]

    def _recover(self, partition: int) -> Assessor:
        start = self._store.restart_offset(partition) or 0
        own = {
            model: spec
            for model, spec in self._specs.items()
            if model_partition(model, self._settings.model_partitions) == partition
        }
        assessor = Assessor(
            own,
            self._settings.source_partitions,
            Lookups(
                _patient(self._catalog.known_profile),
                _patient(self._store.load_state),
                _patient(self._store.final_report),
                _patient(self._catalog.approved),
                _patient(self._catalog.promoted),
            ),
            start_offset=start,
            progress=self._store.load_state(_progress_key(partition)),
        )
        for batch in read_batches(client_config(self._settings), self._topic, partition, start):
            # What cannot be read was put among the dead letters when it was delivered, or will be.
            assessor.take(readable_partials(batch, self._settings.source_partitions)[0])
        return assessor

    async def revoke(self, partitions: Iterable[int]) -> None:
        """Forget partitions; nothing is lost, since everything that was judged is committed."""
        async with self._lock:
            for partition in partitions:
                self._assessors.pop(partition, None)
            self._view.keep(self._models())

    async def take(self, batch: RecordBatch) -> None:
        """One batch of partials: judge what has become final and commit it."""
        if batch.partition not in self._assessors:
            await self.assign([batch.partition])
        async with self._lock:
            assessor = self._assessors.get(batch.partition)
            if assessor is None:
                return
            messages, letters = readable_partials(batch, self._settings.source_partitions)
            if letters:
                await asyncio.to_thread(self._bury, letters)
            assessor.take(messages)
            await self._advance(batch.partition)
        await self.relay()

    def _bury(self, letters: list[DeadLetter]) -> None:
        for letter in letters:
            log.warning("unreadable partial", partition=letter.partition, offset=letter.offset, error=letter.message)
            self._metrics.dead_letter(letter.code)
        produce_dead_letters(self._producer, self._settings.topics.dead_letters, letters, "assessor")
        self._producer.flush()

    async def _advance(self, partition: int) -> None:
        assessor = self._assessors[partition]
        self._warn_about(assessor)
        try:
            await self._commit(partition, assessor)
        except StaleStateError as error:
            # Another assessor has the partition: what it committed is read from the database if it comes back.
            log.warning("state of another assessor found", partition=partition, reason=str(error))
            del self._assessors[partition]

    async def _commit(self, partition: int, assessor: Assessor) -> None:
        # Calibrated thresholds may take seconds the first time: the loop goes on meanwhile, the lock holds the rest.
        advance = await asyncio.to_thread(assessor.advance)
        if advance:
            committed = await asyncio.to_thread(self._write, partition, advance)
            self._view.show(committed)

    def _write(self, partition: int, advance: Advance) -> Committed:
        judged = advance.judged
        if self._origin is None:
            self._origin = origin_of(self._settings)
        origin = self._origin
        return _patient(self._store.commit)(
            partition=partition,
            restart_offset=advance.restart_offset,
            states={**advance.states, _progress_key(partition): advance.progress},
            reports=[(stamped(report, origin), stats) for report, stats in judged.reports],
            alerts=judged.alerts,
            decisions=judged.decisions,
            commands=judged.commands,
        )

    async def tick(self) -> None:
        """For a timer: publish what the outbox holds, report open windows, and show what became of models."""
        await self.relay()
        await self._report_open_windows()
        await asyncio.to_thread(self._view.refresh)

    async def _report_open_windows(self) -> None:
        """Provisional reports into the database; one that fails is made again when its window changes."""
        if time.monotonic() < self._open_shown_s + _OPEN_REPORTS_EVERY_S:
            return
        self._open_shown_s = time.monotonic()
        async with self._lock:
            # As for final windows, judging may take seconds.
            reports = await asyncio.to_thread(self._open_reports)
            if not reports:
                return
            try:
                await asyncio.to_thread(lambda: self._store.commit(reports=reports))
            except OperationalError as error:
                log.warning("open windows could not be stored", reason=str(error.orig))
                return
            # All of them: after a start the database may hold them already, but this process does not show them yet.
            self._view.show(Committed(reports=[report for report, _ in reports]))

    def _open_reports(self) -> list[tuple[WindowReport, bytes]]:
        return [pair for assessor in self._assessors.values() for pair in assessor.open_reports(_OPEN_REPORTS_AT_ONCE)]

    async def relay(self) -> None:
        """Publish what the outbox holds. Without database or broker it waits there for the next time."""
        try:
            await asyncio.to_thread(self._relay.publish_pending)
        except OperationalError as error:
            log.warning("the database does not answer, publishing later", reason=str(error.orig))
        except DeliveryError as error:
            if error.broken:
                raise
            log.warning("the broker does not take events, publishing later", reason=str(error))

    def _warn_about(self, assessor: Assessor) -> None:
        for model_id in assessor.foreign_models - self._warned:
            self._warned.add(model_id)
            log.warning(
                "statistics of a model without a spec are ignored", model=model_id, specs=str(self._settings.specs)
            )
        for model_id, reason in assessor.left_out.items():
            if (warned := f"{model_id}: {reason}") not in self._warned:
                self._warned.add(warned)
                log.warning("statistics are left out of windows", model=model_id, reason=reason)
        forgotten, assessor.forgotten = assessor.forgotten, Counter()
        for model_id, windows in (+forgotten).items():
            log.warning("late rows of windows that were forgotten are in no report", model=model_id, windows=windows)


def _patient(action: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The action, tried again while the database does not answer. It blocks: for threads beside the loop alone."""

    def trying(*args: Arguments.args, **more: Arguments.kwargs) -> Result:
        deadline_s = time.monotonic() + _DATABASE_PATIENCE_S
        while True:
            try:
                return action(*args, **more)
            except OperationalError as error:
                if time.monotonic() > deadline_s:
                    raise
                log.warning("the database does not answer, trying again", reason=str(error.orig))
                time.sleep(1.0)

    return trying


def _progress_key(partition: int) -> str:
    return f"@progress/{partition}"
