"""The model registry: versions that never change, and the aliases champion and challenger with their history."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, UnsetType
from sqlalchemy import Engine, func, select, update

from driftloop.registry._aliases import alias_changes, aliases_of, move_alias, was_promoted_for
from driftloop.registry._compared import check_approval, outdated, put_back
from driftloop.registry._decisions import approve, ask_for_approval, make_champion, refuse, roll_back
from driftloop.registry._versions import (
    announce,
    existing_version,
    insert_version,
    lock_model,
    next_name,
    read_version,
    read_versions,
)
from driftloop.registry.artifacts import ArtifactStore
from driftloop.registry.database import insert_new, reading, writing
from driftloop.registry.errors import RegistryError, UnknownModelError
from driftloop.registry.files_lock import referring
from driftloop.registry.outbox import MODEL_EVENTS
from driftloop.registry.rows import (
    CHALLENGER,
    CHAMPION,
    UNDECIDED,
    HistoryRow,
    ModelRow,
    NewVersion,
    VersionRow,
    VersionStatus,
)
from driftloop.registry.tables import alias_history, model_versions, models

__all__ = ["MODEL_EVENTS", "Registry"]


class Registry:
    """Models, versions, aliases. Every change writes its model event into the outbox in the same transaction.

    Calls with a ``command_id`` may be repeated after a crash: what the command has already done is not done again.
    ``store`` holds the files that versions name. Raises :class:`RegistryError` with what to do.
    """

    def __init__(self, engine: Engine, store: ArtifactStore) -> None:
        self.engine = engine
        self.store = store

    def ensure_model(self, model_id: str, task: str, spec_digest: str) -> None:
        """Add the model, or note the digest of its present spec. A model keeps its task for good."""
        values = {"model_id": model_id, "task": task, "spec_digest": spec_digest}
        with writing(self.engine) as connection:
            if insert_new(connection, models, {**values, "event_sequence": 0, "version_sequence": 0}):
                return
            row = lock_model(connection, model_id)
            if row.task != task:
                raise RegistryError(
                    f"the model {model_id!r} is registered as a {row.task} model, and its spec now says {task}; "
                    "give the new model another name"
                )
            if row.spec_digest != spec_digest:
                connection.execute(update(models).where(models.c.model_id == model_id).values(spec_digest=spec_digest))

    def register_version(self, new: NewVersion) -> str:
        """Register a version and make it the challenger. Returns its name.

        Doing it again with the same ``command_id``, or the same name and content, changes nothing.
        """
        if new.version is not None and not 0 < len(new.version) <= 256:
            raise RegistryError(f"expected a version name of 1 to 256 characters, got {len(new.version)}")
        with referring(self.engine) as connection:
            if new.artifact is not None:
                self.store.expect(new.artifact)
            lock_model(connection, new.model_id)
            version, is_new = insert_version(connection, new)
            if is_new:
                previous = move_alias(
                    connection,
                    new.model_id,
                    CHALLENGER,
                    version,
                    action="registered",
                    subject=version,
                    reason=new.reason,
                    actor=new.actor,
                    event_time_ms=new.event_time_ms,
                    command_id=new.command_id,
                )
                announce(
                    connection,
                    "registered",
                    new.model_id,
                    read_version(connection, new.model_id, version),
                    event_time_ms=new.event_time_ms,
                    previous_version=previous,
                    reason=new.reason,
                    actor=new.actor,
                )
            return version

    def promote(
        self,
        model_id: str,
        version: str,
        reason: str,
        event_time_ms: int,
        actor: str = "driftloop",
        *,
        command_id: str | None = None,
        allow_rejected: bool = False,
        compared_with: str | UnsetType | None = UNSET,
    ) -> tuple[VersionStatus, str]:
        """Make the version the champion. Nothing happens if it is, or if ``command_id`` has led to a promotion before
        (so that a repeated run does not undo a rollback). A rejected version, or one that waits for approval, needs
        ``allow_rejected``.

        ``compared_with``: the champion that ``reason`` is about (None: there was none). If another one is there by now
        (somebody rolled back, or promoted a version, meanwhile), the version is not promoted: it waits for approval,
        or is rejected if it is the older of the two. Returns what became of it, and why.
        """
        with writing(self.engine) as connection:
            lock_model(connection, model_id)
            row = existing_version(connection, model_id, version)
            if CHAMPION in row.aliases:
                return "promoted", reason
            if command_id is not None and was_promoted_for(connection, model_id, command_id):
                return "promoted", reason
            if row.status == "rejected" and not allow_rejected:
                raise RegistryError(
                    f"the version {version!r} of {model_id!r} was rejected; see 'driftloop models show {model_id}', "
                    "and promote with --force if you want it all the same"
                )
            if row.status == "awaiting_approval" and not allow_rejected:
                raise RegistryError(
                    f"the version {version!r} of {model_id!r} waits for approval: use 'driftloop models approve "
                    f"{model_id} {version}', or promote with --force past it"
                )
            if row.status == "watched" and not allow_rejected:
                raise RegistryError(
                    f"the version {version!r} of {model_id!r} is compared with the champion and has no verdict: see "
                    f"'driftloop models shadow {model_id}', or promote with --force past it"
                )
            found = outdated(connection, row, compared_with)
            if found is not None:
                return put_back(
                    connection, row, found, reason, actor=actor, event_time_ms=event_time_ms, command_id=command_id
                )
            make_champion(
                connection, row, reason=reason, actor=actor, event_time_ms=event_time_ms, command_id=command_id
            )
            return "promoted", reason

    def rollback(self, model_id: str, reason: str, event_time_ms: int, actor: str = "driftloop") -> str:
        """Make the champion before the present one the champion again. Returns its name.

        Two rollbacks go two champions back. Raises :class:`RegistryError` if there is none before.
        """
        with writing(self.engine) as connection:
            lock_model(connection, model_id)
            return roll_back(connection, model_id, reason=reason, actor=actor, event_time_ms=event_time_ms)

    def reject(
        self,
        model_id: str,
        version: str,
        reason: str,
        event_time_ms: int,
        actor: str = "driftloop",
        *,
        command_id: str | None = None,
    ) -> None:
        """Say that the version does not become champion. Nothing happens if it was rejected, or promoted before.

        Raises :class:`RegistryError` for the champion itself: roll back instead.
        """
        with writing(self.engine) as connection:
            lock_model(connection, model_id)
            row = existing_version(connection, model_id, version)
            if CHAMPION in row.aliases:
                raise RegistryError(
                    f"{version!r} is the champion of {model_id!r}; use 'driftloop models rollback {model_id}'"
                )
            if row.status in UNDECIDED:
                refuse(connection, row, reason=reason, actor=actor, event_time_ms=event_time_ms, command_id=command_id)

    def await_approval(
        self,
        model_id: str,
        version: str,
        reason: str,
        event_time_ms: int,
        actor: str = "driftloop",
        *,
        command_id: str | None = None,
    ) -> None:
        """Let a version that passed its gates wait for a person; nothing happens unless it is ``registered``."""
        with writing(self.engine) as connection:
            lock_model(connection, model_id)
            row = existing_version(connection, model_id, version)
            if row.status == "registered":
                ask_for_approval(
                    connection, row, reason=reason, actor=actor, event_time_ms=event_time_ms, command_id=command_id
                )

    def approve(
        self, model_id: str, version: str, reason: str, event_time_ms: int, actor: str, *, anyway: bool = False
    ) -> None:
        """A person's yes: the version becomes champion.

        Raises :class:`RegistryError` unless it waits for approval, and without ``anyway`` if the champion is not the
        one that it was judged against (by the comparison that it passed, else by its gates), or a newer one.
        """
        if not actor.strip() or not reason.strip():
            raise RegistryError("an approval needs the name of who gives it, and a reason")
        with writing(self.engine) as connection:
            lock_model(connection, model_id)
            row = existing_version(connection, model_id, version)
            if row.status != "awaiting_approval":
                raise RegistryError(
                    f"the version {version!r} of {model_id!r} does not wait for approval: it is {row.status}; see "
                    f"'driftloop models show {model_id}'"
                )
            if not anyway:
                check_approval(connection, row)
            approve(connection, row, reason=reason, actor=actor, event_time_ms=event_time_ms)

    def fail(self, model_id: str, command_id: str, reason: str, event_time_ms: int, actor: str = "driftloop") -> None:
        """Say that a command led to no version (too few rows, a crash of the training). Once for each command."""
        self._without_version("failed", model_id, command_id, reason, event_time_ms, actor)

    def hold(self, model_id: str, command_id: str, reason: str, event_time_ms: int, actor: str = "driftloop") -> None:
        """Say that nothing was trained for a command, because a guard held it. Once for each command."""
        self._without_version("held", model_id, command_id, reason, event_time_ms, actor)

    def _without_version(
        self,
        action: Literal["failed", "held"],
        model_id: str,
        command_id: str,
        reason: str,
        event_time_ms: int,
        actor: str,
    ) -> None:
        with writing(self.engine) as connection:
            lock_model(connection, model_id)
            told = select(alias_history.c.id).where(
                alias_history.c.command_id == command_id, alias_history.c.action == action
            )
            if connection.execute(told.limit(1)).first() is not None:
                return
            names = aliases_of(connection, model_id)
            move_alias(
                connection,
                model_id,
                CHALLENGER,
                names.get(CHALLENGER),
                action=action,
                subject=None,
                reason=reason,
                actor=actor,
                event_time_ms=event_time_ms,
                command_id=command_id,
            )
            announce(
                connection,
                action,
                model_id,
                None,
                event_time_ms=event_time_ms,
                previous_version=names.get(CHAMPION),
                command_id=command_id,
                reason=reason,
                actor=actor,
            )

    def champion(self, model_id: str) -> VersionRow | None:
        """The version in production, or None."""
        return self._alias(model_id, CHAMPION)

    def challenger(self, model_id: str) -> VersionRow | None:
        """The version registered last and neither promoted nor rejected yet, or None."""
        return self._alias(model_id, CHALLENGER)

    def _alias(self, model_id: str, alias: str) -> VersionRow | None:
        with reading(self.engine) as connection:
            version = aliases_of(connection, model_id).get(alias)
            return None if version is None else read_version(connection, model_id, version)

    def version(self, model_id: str, version: str) -> VersionRow | None:
        """One version, or None."""
        with reading(self.engine) as connection:
            return read_version(connection, model_id, version)

    def versions(self, model_id: str) -> list[VersionRow]:
        """Every version of a model in the order of registration; empty also for an unknown model."""
        with reading(self.engine) as connection:
            return read_versions(connection, model_id)

    def next_version(self, model_id: str) -> str:
        """The name that the next version without a name of its own would get now. Raises for an unknown model."""
        with writing(self.engine) as connection:
            lock_model(connection, model_id)
            return next_name(connection, model_id)

    def version_of_command(self, command_id: str) -> VersionRow | None:
        """The version that a retrain command led to, or None."""
        statement = select(model_versions.c.model_id, model_versions.c.version)
        with reading(self.engine) as connection:
            row = connection.execute(statement.where(model_versions.c.command_id == command_id)).first()
            return None if row is None else read_version(connection, row.model_id, row.version)

    def models(self) -> list[ModelRow]:
        """Every model, by name."""
        count = select(model_versions.c.model_id, func.count().label("versions")).group_by(model_versions.c.model_id)
        with reading(self.engine) as connection:
            versions = {row.model_id: row.versions for row in connection.execute(count)}
            found = []
            for row in connection.execute(select(models).order_by(models.c.model_id)).all():
                names = aliases_of(connection, row.model_id)
                found.append(
                    ModelRow(
                        model_id=row.model_id,
                        task=row.task,
                        spec_digest=row.spec_digest,
                        versions=versions.get(row.model_id, 0),
                        champion=names.get(CHAMPION),
                        challenger=names.get(CHALLENGER),
                    )
                )
            return found

    def expect_model(self, model_id: str) -> None:
        """Raise :class:`UnknownModelError` unless the registry holds the model."""
        with reading(self.engine) as connection:
            if connection.execute(select(models.c.model_id).where(models.c.model_id == model_id)).first() is None:
                raise UnknownModelError(model_id)

    def profile(self, model_id: str, version: str) -> bytes | None:
        """The encoded reference profile of a version; None if there is no such version, or it has none."""
        statement = select(model_versions.c.profile).where(
            model_versions.c.model_id == model_id, model_versions.c.version == version
        )
        with reading(self.engine) as connection:
            profile = connection.execute(statement).scalar()
            return None if profile is None else bytes(profile)

    def history(self, model_id: str, alias: str | None = None) -> list[HistoryRow]:
        """Every change of the model's aliases (or of one alias), oldest first."""
        with reading(self.engine) as connection:
            return alias_changes(connection, model_id, alias)
