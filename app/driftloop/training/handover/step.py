"""One command whose training is done elsewhere: prepared and handed over, and judged when the result is there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from driftloop.events.decisions import RetrainCommand
from driftloop.observability.logs import get_logger
from driftloop.registry.artifacts import ArtifactRef, ArtifactStore
from driftloop.registry.errors import ArtifactError
from driftloop.registry.handovers import HandoverStore
from driftloop.spec.load import spec_digest
from driftloop.spec.model import ModelSpec
from driftloop.training import progress
from driftloop.training.child import ChampionFile, TrainingFailed, TrainingProcesses, train_in_child, validate_in_child
from driftloop.training.dataset import SplitError, TrainingSet
from driftloop.training.gap import before_gap
from driftloop.training.gates import seed_from
from driftloop.training.handover.credentials import CredentialsError, Keyring
from driftloop.training.handover.dispatch import place_of
from driftloop.training.handover.messages import (
    GivenData,
    Offer,
    Report,
    Request,
    Result,
    body_of,
    decode_result,
    encode,
)
from driftloop.training.provenance import keep_lock
from driftloop.training.train import Trained, lineage_of
from driftloop.training.validation.keep import keep_results

__all__ = ["Handing"]

log = get_logger(__name__)


@dataclass(frozen=True)
class Handing:
    """What is needed to hand commands over. ``report_url`` is where the trainer's port is reached from outside."""

    store: HandoverStore
    keyring: Keyring
    files: ArtifactStore
    report_url: str | None = None
    processes: TrainingProcesses | None = None
    cancelled: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.time

    def concerns(self, spec: ModelSpec, command: RetrainCommand) -> bool:
        """Whether the command is, or is to be, handed over."""
        return spec.training.handover is not None or self.begun(command)

    def begun(self, command: RetrainCommand) -> bool:
        """Whether it is handed over already."""
        return self.store.get(command.command_id) is not None

    def hand_over(
        self,
        spec: ModelSpec,
        command: RetrainCommand,
        kept: tuple[TrainingSet, bytes, dict[str, Any]],
        champion: tuple[ChampionFile, ArtifactRef | None] | None,
        folder: Path,
    ) -> None:
        """Check the data, keep the rows before the holdout as a file of their own, and leave the rest to the
        dispatcher. ``kept``: the rows, their Parquet file, and what lineage says of it; ``folder`` is empty.

        Raises :class:`~driftloop.training.child.TrainingFailed` if the data are not to be trained on.
        """
        handover = spec.training.handover
        assert handover is not None, "concerns() has said so"
        data, parquet, dataset = kept
        try:
            missing = self.keyring.named(handover.credentials).missing_for(handover.to)
        except CredentialsError as error:
            missing = str(error)
        if missing is not None:
            raise TrainingFailed(f"it cannot be handed over: {missing}")
        try:
            validate_in_child(
                spec,
                parquet,
                None if champion is None else champion[0],
                folder=folder,
                unreadable=data.unreadable,
                processes=self.processes,
                cancelled=self.cancelled,
            )
        finally:
            validation = keep_results(folder, self.files)
        try:
            earlier, later = data.split(spec.training.holdout)
            earlier, _ = before_gap(spec, earlier, later)
        except SplitError as error:
            raise TrainingFailed(str(error)) from error
        progress.phase("handing the training over")
        given = self._keep(spec, earlier)
        request = Request(
            to=handover.to,
            url=handover.url,
            dag_id=handover.dag_id,
            credentials=handover.credentials,
            dataset=dataset,
            given=given,
            spec_digest=spec_digest(spec),
            validation=validation,
        )
        now = self.clock()
        progress.line(f"{len(earlier):,} rows are handed over; {len(later):,} later ones stay here as the holdout")
        offer = None
        if champion is not None:
            file = champion[1]
            offer = Offer(
                version=champion[0].version,
                uri=None if file is None else file.uri,
                sha256=None if file is None else file.sha256,
            )
        command_id = command.command_id
        url = None if self.report_url is None else f"{self.report_url.rstrip('/')}/runs/{command_id}/result"
        report = Report(
            url=url, command=f"driftloop runs report {command_id} --artifact FILE", timeout_ms=handover.timeout_ms
        )
        self.store.begin(
            command_id,
            request=encode(request),
            body=body_of(spec, command, given, offer, report, round(now * 1000)),
            timeout_ms=handover.timeout_ms,
            retry_for_ms=handover.retry_for_ms,
            waiting=f"to be handed over to {place_of(request)}",
            now=now,
        )

    def result(self, command: RetrainCommand) -> Result | None:
        """How it ended; None: it has not."""
        found = self.store.get(command.command_id)
        if found is None or found.state != "ended" or found.result is None:
            return None
        return decode_result(found.result)

    def judge(
        self, spec: ModelSpec, command: RetrainCommand, result: Result, champion: ChampionFile | None, folder: Path
    ) -> tuple[Trained, dict[str, Any]]:
        """The model that came back, judged on the rows that were kept from it, and its lineage.

        Raises :class:`~driftloop.training.child.TrainingFailed` if there is none, or none that can be judged, and
        ``OSError`` if the artifact store is away: then nothing is decided.
        """
        found = self.store.get(command.command_id)
        assert found is not None, "it has a result"
        request = msgspec.json.decode(found.request, type=Request)
        place = place_of(request)
        if result.status == "failed" or result.artifact is None or result.artifact.uri is None:
            if result.by == "driftloop":
                raise TrainingFailed(result.reason)
            raise TrainingFailed(f"the training by {place} failed: {result.reason or 'no reason was given'}")
        if spec_digest(spec) != request.spec_digest:
            progress.line("the spec has changed since the training was handed over; the model is judged by the new one")
        try:
            artifact = self.files.read(result.artifact.uri)
            parquet = self.files.read(request.dataset["uri"])
        except ArtifactError as error:
            raise TrainingFailed(f"the result cannot be judged: {error}") from error
        seed = seed_from(command.command_id)
        trained = train_in_child(
            spec,
            parquet,
            champion,
            seed=seed,
            folder=folder,
            processes=self.processes,
            cancelled=self.cancelled,
            brought=artifact,
        )
        lineage = lineage_of(
            spec,
            trained,
            request.dataset,
            judging_seed=seed,
            lock=keep_lock(self.files),
            command=msgspec.to_builtins(command),
            compared_with=None if champion is None else champion.version,
            validation=request.validation,
            # Not what the spec says: nobody here knows what was trained there.
            estimator=None,
            parameters=None,
            refit_on_all=False,
            handover={
                "to": request.to,
                "place": place,
                "dataset": msgspec.to_builtins(request.given),
                "artifact_sha256": result.artifact.sha256,
                "reason": result.reason,
                "reported_by": result.by,
            },
        )
        return trained, lineage

    def _keep(self, spec: ModelSpec, earlier: TrainingSet) -> GivenData:
        stored = self.files.put_bytes(earlier.to_parquet(), ".parquet")
        progress.kept("handed_over", stored.uri)
        return GivenData(
            uri=stored.uri,
            sha256=stored.sha256,
            size=stored.size,
            rows=len(earlier),
            first_predicted_ms=int(earlier.predicted_at_ms[0]),
            last_predicted_ms=int(earlier.predicted_at_ms[-1]),
            features=list(spec.features),
        )
