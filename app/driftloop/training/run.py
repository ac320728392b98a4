"""One retrain command, from the data to the decision. Repeating it after a crash goes on where it stopped."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from driftloop.events.decisions import RetrainCommand
from driftloop.events.time import format_time
from driftloop.observability.logs import get_logger
from driftloop.registry.artifacts import ArtifactRef
from driftloop.registry.errors import ComparisonOpenError, RegistryError
from driftloop.registry.models import Registry
from driftloop.registry.rows import CHAMPION, VersionRow
from driftloop.registry.runs import RunOutcome
from driftloop.registry.shadows import ShadowMode, ShadowStore
from driftloop.spec.load import spec_digest
from driftloop.spec.model import ModelSpec
from driftloop.training import progress
from driftloop.training.breaker import why_held
from driftloop.training.child import ChampionFile, TrainingFailed, TrainingProcesses, train_in_child
from driftloop.training.comparing import may_supersede, why_not_now
from driftloop.training.dataset import TrainingSet, cut
from driftloop.training.dataset_files import keep_dataset
from driftloop.training.dataset_manifest import DatasetQuery
from driftloop.training.gates import first_failure, seed_from
from driftloop.training.handover.step import Handing
from driftloop.training.labeled_log import LabeledLog
from driftloop.training.provenance import keep_lock
from driftloop.training.registration import register
from driftloop.training.shadow_watch import first_window_ms
from driftloop.training.train import Trained, lineage_of
from driftloop.training.validation.keep import keep_results

__all__ = ["ACTOR", "CommandRunner", "Finished"]

log = get_logger(__name__)

ACTOR = "trainer"


@dataclass(frozen=True)
class Finished:
    """How a command ended, or that it waits for a training elsewhere. ``known``: it did so before."""

    outcome: RunOutcome | Literal["handed_over"]
    version: str | None
    reason: str
    known: bool = False


class CommandRunner:
    """Carries out retrain commands for the models in ``specs``.

    ``labeled`` reads the topic named ``labeled_topic``; ``folder`` holds the files of running trainings;
    ``processes`` are those that train; ``cancelled()`` says that the worker is to end; ``handing`` hands over what
    specs say is trained elsewhere.
    """

    def __init__(
        self,
        specs: Mapping[str, ModelSpec],
        registry: Registry,
        labeled: LabeledLog,
        *,
        labeled_topic: str,
        folder: Path,
        processes: TrainingProcesses | None = None,
        cancelled: Callable[[], bool] = lambda: False,
        handing: Handing | None = None,
    ) -> None:
        self._specs = specs
        self._registry = registry
        self._labeled = labeled
        self._labeled_topic = labeled_topic
        self._folder = folder
        self._processes = processes
        self._cancelled = cancelled
        self._shadows = ShadowStore(registry.engine)
        self._handing = handing

    def run(self, command: RetrainCommand) -> Finished:
        """Train, judge, register, and promote or reject. The caller holds the lease of the command.

        Whatever the command has already led to, in a run that broke off, is kept and not done again. Raises
        :class:`~driftloop.training.child.TrainingCancelled`, and what Kafka or the database raise when they are away:
        then nothing is decided yet.
        """
        spec = self._specs.get(command.model_id)
        if spec is None:
            known = ", ".join(sorted(self._specs)) or "none"
            return self.fail(command, f"the trainer has no spec of model {command.model_id!r}; it has {known}")
        digest = spec_digest(spec)
        if command.spec_digest and command.spec_digest != digest:
            log.warning("the spec has changed since the command", model=spec.model, command_id=command.command_id)
        earlier = self._told_before(command)
        if earlier is not None:
            return earlier
        try:
            self._registry.ensure_model(spec.model, spec.task, digest)
            version = self._registry.version_of_command(command.command_id)
            if version is None and self._handing is not None and self._handing.begun(command):
                name = self._judge_brought(self._handing, spec, command)
                if name is None:
                    return Finished("handed_over", None, "it is handed over", known=True)
                version = self._registry.version(spec.model, name)
            if version is None:
                held = why_held(self._registry, spec, command) or why_not_now(self._shadows, spec, command)
                if held is not None:
                    self._registry.hold(spec.model, command.command_id, held, command.window_end_ms, ACTOR)
                    return Finished("held", None, held)
                if spec.training.handover is not None:
                    self._hand_over(spec, command)
                    return Finished("handed_over", None, "it is handed over")
                name = self._train(spec, command)
                version = self._registry.version(spec.model, name)
                assert version is not None, f"{spec.model} {name} was registered a moment ago"
            return self._decide(spec, command, version)
        except (TrainingFailed, RegistryError) as error:
            return self.fail(command, str(error))

    def fail(self, command: RetrainCommand, reason: str) -> Finished:
        """The command ends without a version, and says so on model-events."""
        if any(model.model_id == command.model_id for model in self._registry.models()):
            self._registry.fail(command.model_id, command.command_id, reason, command.window_end_ms, ACTOR)
        else:
            # Without a model in the registry there is nothing that an event could be about.
            log.error("command for a model that is not registered", model=command.model_id, reason=reason)
        return Finished("failed", None, reason)

    def _told_before(self, command: RetrainCommand) -> Finished | None:
        for change in self._registry.history(command.model_id):
            if change.command_id == command.command_id and change.action == "failed":
                return Finished("failed", None, change.reason)
            if change.command_id == command.command_id and change.action == "held":
                return Finished("held", None, change.reason)
        return None

    def _train(self, spec: ModelSpec, command: RetrainCommand) -> str:
        """Cut, train, register. Returns the version's name."""
        data, parquet, dataset = self._data(spec, command)
        champion = self._champion(spec)
        with _work_folder(self._folder, command.command_id) as folder:
            try:
                trained = train_in_child(
                    spec,
                    parquet,
                    champion,
                    seed=seed_from(command.command_id),
                    folder=Path(folder),
                    changed_at_ms=command.changed_at_ms,
                    unreadable=data.unreadable,
                    processes=self._processes,
                    cancelled=self._cancelled,
                )
            finally:
                validation = keep_results(Path(folder), self._registry.store)
        lineage = lineage_of(
            spec,
            trained,
            dataset,
            judging_seed=seed_from(command.command_id),
            lock=keep_lock(self._registry.store),
            command=msgspec.to_builtins(command),
            compared_with=None if champion is None else champion.version,
            validation=validation,
        )
        return self._register(spec, command, trained, lineage, f"{_asked_by(command)}: {command.reason}")

    def _hand_over(self, spec: ModelSpec, command: RetrainCommand) -> None:
        """Cut, check, and leave the training to whom the spec names."""
        if self._handing is None:
            raise TrainingFailed("training.handover is set, and this trainer hands nothing over")
        kept = self._data(spec, command)
        champion, row = self._champion(spec), self._registry.champion(spec.model)
        offer = None if champion is None else (champion, None if row is None else row.artifact)
        with _work_folder(self._folder, command.command_id) as folder:
            self._handing.hand_over(spec, command, kept, offer, Path(folder))

    def _judge_brought(self, handing: Handing, spec: ModelSpec, command: RetrainCommand) -> str | None:
        """Judge and register what came back. Returns the version's name, None if nothing has come yet."""
        result = handing.result(command)
        if result is None:
            return None
        with _work_folder(self._folder, command.command_id) as folder:
            trained, lineage = handing.judge(spec, command, result, self._champion(spec), Path(folder))
        reason = f"{_asked_by(command)}: {command.reason}; trained by {lineage['handover']['place']}"
        return self._register(spec, command, trained, lineage, reason)

    def _register(
        self, spec: ModelSpec, command: RetrainCommand, trained: Trained, lineage: dict[str, Any], reason: str
    ) -> str:
        progress.phase("registering")
        return register(
            self._registry,
            spec,
            trained,
            lineage=lineage,
            event_time_ms=command.window_end_ms,
            reason=reason,
            actor=ACTOR,
            command_id=command.command_id,
        )

    def _data(self, spec: ModelSpec, command: RetrainCommand) -> tuple[TrainingSet, bytes, dict[str, Any]]:
        """The command's rows, kept in the store: as a training set, as Parquet, and what the lineage says of them."""
        data = self._cut(spec, command)
        query = DatasetQuery(model=spec.model, from_ms=command.from_ms, to_ms=command.to_ms)
        parquet, dataset = keep_dataset(self._registry.store, spec, data, topic=self._labeled_topic, query=query)
        return data, parquet, dataset

    def _cut(self, spec: ModelSpec, command: RetrainCommand) -> TrainingSet:
        progress.phase(f"cutting the data of {format_time(command.from_ms)} to {format_time(command.to_ms)}")
        rows, sources = self._labeled.rows(
            spec.model, command.from_ms, command.to_ms, most_rows=spec.training.most_rows
        )
        data = cut(rows, spec, command.from_ms, command.to_ms, sources)
        log.info(
            "training set cut", model=spec.model, rows=len(data), superseded=data.superseded, unreadable=data.unreadable
        )
        progress.line(f"{len(data):,} rows; {data.superseded:,} superseded, {data.unreadable:,} do not fit the spec")
        if len(data) < spec.training.minimum_rows:
            left_out = f" ({data.unreadable:,} more do not fit the spec)" if data.unreadable else ""
            raise TrainingFailed(
                f"only {len(data):,} labeled rows of {format_time(command.from_ms)} to {format_time(command.to_ms)}"
                f"{left_out}; training.minimum_rows asks for {spec.training.minimum_rows:,}"
            )
        return data

    def _champion(self, spec: ModelSpec) -> ChampionFile | None:
        champion = self._registry.champion(spec.model)
        if champion is None:
            return None
        artifact: ArtifactRef | None = champion.artifact
        data = None if artifact is None else self._registry.store.read(artifact)
        profile = self._registry.profile(spec.model, champion.version)
        return ChampionFile(champion.version, data, champion.trained_to_ms, profile)

    def _decide(self, spec: ModelSpec, command: RetrainCommand, version: VersionRow) -> Finished:
        """Promote or reject by the gates that were registered with the version."""
        progress.phase(f"deciding about {version.version}")
        failed = first_failure(version.gates)
        if CHAMPION in version.aliases:
            return Finished("promoted", version.version, "it is the champion already")
        if failed is not None:
            reason = f"gate {failed.gate}: {failed.sentence}"
            self._registry.reject(
                spec.model, version.version, reason, command.window_end_ms, ACTOR, command_id=command.command_id
            )
            return Finished("rejected", version.version, reason)
        if version.status == "rejected":
            return Finished("rejected", version.version, self._said(version, "rejected"))
        if version.status == "awaiting_approval":  # the run comes again
            return Finished("registered", version.version, f"waits for approval; {self._said(version, version.status)}")
        judged = [gate.sentence for gate in version.gates if gate.gate.startswith("metric:")]
        reason = "; ".join(judged) or "all gates passed"
        compared = spec.promotion in ("shadow", "canary")
        if compared and self._registry.champion(spec.model) is not None:
            return self._compare(spec, command, version, reason)
        if version.status == "watched":  # as the spec wanted it when the run was here before
            return Finished("registered", version.version, f"is compared with the champion; {reason}")
        if spec.promotion == "manual":
            return Finished("registered", version.version, f"waits for a person to promote it; {reason}")
        # Without a champion there is nothing to compare with.
        if spec.promotion == "approval" or (compared and spec.shadow.then == "approval"):
            self._registry.await_approval(
                spec.model, version.version, reason, command.window_end_ms, ACTOR, command_id=command.command_id
            )
            return Finished("registered", version.version, f"waits for approval; {reason}")
        status, reason = self._registry.promote(
            spec.model,
            version.version,
            reason,
            command.window_end_ms,
            ACTOR,
            command_id=command.command_id,
            compared_with=version.lineage.get("compared_with", UNSET),
        )
        if status == "awaiting_approval":
            return Finished("registered", version.version, f"waits for approval; {reason}")
        return Finished("rejected" if status == "rejected" else "promoted", version.version, reason)

    def _said(self, version: VersionRow, action: str) -> str:
        """Why this was done to the version, at last."""
        history = self._registry.history(version.model_id)
        return next(row.reason for row in reversed(history) if (row.action, row.subject) == (action, version.version))

    def _compare(self, spec: ModelSpec, command: RetrainCommand, version: VersionRow, reason: str) -> Finished:
        """Let the version be compared with the champion; :class:`ShadowWatcher` finds the verdict."""
        mode: ShadowMode = "canary" if spec.promotion == "canary" else "shadow"
        try:
            self._shadows.start(
                spec.model,
                version.version,
                mode,
                from_ms=first_window_ms(spec, version),
                reason=reason,
                event_time_ms=command.window_end_ms,
                actor=ACTOR,
                command_id=command.command_id,
                supersede=may_supersede(spec, command),
            )
        except ComparisonOpenError as error:  # it began while this one was trained
            self._registry.reject(
                spec.model, version.version, str(error), command.window_end_ms, ACTOR, command_id=command.command_id
            )
            return Finished("rejected", version.version, str(error))
        return Finished("registered", version.version, f"is compared with the champion ({mode}); {reason}")


def _asked_by(command: RetrainCommand) -> str:
    return f"{command.trigger} (asked by {command.actor})" if command.actor else command.trigger


def _work_folder(parent: Path, command_id: str) -> tempfile.TemporaryDirectory[str]:
    """A new folder for one attempt. What a killed attempt at the same command left is removed."""
    parent.mkdir(parents=True, exist_ok=True)
    prefix = f"{command_id[:32]}-"
    for left in parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    return tempfile.TemporaryDirectory(dir=parent, prefix=prefix, ignore_cleanup_errors=True)
