"""Version rows inside a transaction, and the events that tell of them."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, insert, select, update

from driftloop.events.decisions import GateResult, ModelEvent, ModelEventKind, ShadowLook
from driftloop.registry import outbox
from driftloop.registry._aliases import aliases_of
from driftloop.registry.artifacts import ArtifactRef
from driftloop.registry.database import storable
from driftloop.registry.errors import RegistryError, UnknownModelError
from driftloop.registry.history_chain import head_sha256
from driftloop.registry.rows import NewVersion, VersionRow, VersionStatus
from driftloop.registry.tables import model_versions, models

__all__ = [
    "announce",
    "existing_version",
    "insert_version",
    "lock_model",
    "next_name",
    "read_version",
    "read_versions",
    "set_status",
    "watched_version",
]

#: Everything but the profile, which is large and has a call of its own.
_COLUMNS = [column for column in model_versions.c if column.name != "profile"]
_decode_gates = msgspec.json.Decoder(list[GateResult]).decode


def lock_model(connection: Connection, model_id: str) -> Row[Any]:
    """The model's row, locked until the transaction ends, so that writers of one model take turns.

    Raises :class:`UnknownModelError` if there is no such model.
    """
    # SQLite ignores FOR UPDATE, and needs none: its writers take turns anyway.
    row = connection.execute(select(models).where(models.c.model_id == model_id).with_for_update()).first()
    if row is None:
        raise UnknownModelError(model_id)
    return row


def _row(row: Row[Any], names: dict[str, str]) -> VersionRow:
    artifact = None
    if row.artifact_uri is not None:
        artifact = ArtifactRef(row.artifact_uri, row.artifact_sha256, row.artifact_size)
    return VersionRow(
        model_id=row.model_id,
        version=row.version,
        sequence=row.sequence,
        status=row.status,
        artifact=artifact,
        profile_sha256=row.profile_sha256,
        lineage=msgspec.json.decode(row.lineage),
        metrics=msgspec.json.decode(row.metrics, type=dict[str, float]),
        gates=_decode_gates(row.gates),
        command_id=row.command_id,
        trained_from_ms=row.trained_from_ms,
        trained_to_ms=row.trained_to_ms,
        event_time_ms=row.event_time_ms,
        aliases=tuple(sorted(alias for alias, version in names.items() if version == row.version)),
    )


def read_versions(connection: Connection, model_id: str) -> list[VersionRow]:
    """Versions of a model in the order of their registration."""
    names = aliases_of(connection, model_id)
    statement = select(*_COLUMNS).where(model_versions.c.model_id == model_id).order_by(model_versions.c.sequence)
    return [_row(row, names) for row in connection.execute(statement)]


def read_version(connection: Connection, model_id: str, version: str) -> VersionRow | None:
    """One version, or None."""
    statement = select(*_COLUMNS).where(model_versions.c.model_id == model_id, model_versions.c.version == version)
    row = connection.execute(statement).first()
    return None if row is None else _row(row, aliases_of(connection, model_id))


def existing_version(connection: Connection, model_id: str, version: str) -> VersionRow:
    """One version. Raises :class:`RegistryError` that names those that there are."""
    row = read_version(connection, model_id, version)
    if row is None:
        names = ", ".join(found.version for found in read_versions(connection, model_id)) or "none"
        raise RegistryError(f"the model {model_id!r} has no version {version!r}; it has {names}")
    return row


def set_status(connection: Connection, model_id: str, version: str, status: VersionStatus) -> None:
    """Change a version's status, the one thing about it that changes."""
    connection.execute(
        update(model_versions)
        .where(model_versions.c.model_id == model_id, model_versions.c.version == version)
        .values(status=status)
    )


def watched_version(connection: Connection, model_id: str, *, but: str) -> str | None:
    """The newest version that is compared with the champion, other than ``but``; None if there is none."""
    statement = select(model_versions.c.version).where(
        model_versions.c.model_id == model_id, model_versions.c.status == "watched", model_versions.c.version != but
    )
    return connection.execute(statement.order_by(model_versions.c.sequence.desc()).limit(1)).scalar()


def insert_version(connection: Connection, new: NewVersion) -> tuple[str, bool]:
    """Insert the version; the model must be locked. Returns its name, and whether it is new.

    Not new: the command has a version already, or a version of that name and content is there. Raises
    :class:`RegistryError` if the name is taken by other content.
    """
    if new.command_id is not None:
        statement = select(model_versions.c.model_id, model_versions.c.version)
        row = connection.execute(statement.where(model_versions.c.command_id == new.command_id)).first()
        if row is not None:
            if row.model_id != new.model_id:
                raise RegistryError(f"the command {new.command_id} belongs to the model {row.model_id!r}")
            return str(row.version), False
    digest = hashlib.sha256(new.profile).hexdigest()
    artifact_sha256 = None if new.artifact is None else new.artifact.sha256
    if new.version is not None:
        existing = read_version(connection, new.model_id, new.version)
        if existing is not None:
            found = None if existing.artifact is None else existing.artifact.sha256
            if (found, existing.profile_sha256) == (artifact_sha256, digest):
                return new.version, False
            raise RegistryError(
                f"the version {new.version!r} of {new.model_id!r} is registered already, with another artifact or "
                "reference profile; versions never change, so choose another name"
            )
    version = new.version or next_name(connection, new.model_id)
    sequence = _version_count(connection, new.model_id) + 1
    connection.execute(update(models).where(models.c.model_id == new.model_id).values(version_sequence=sequence))
    connection.execute(
        insert(model_versions).values(
            model_id=new.model_id,
            version=version,
            sequence=sequence,
            status="registered",
            artifact_uri=None if new.artifact is None else new.artifact.uri,
            artifact_sha256=artifact_sha256,
            artifact_size=None if new.artifact is None else new.artifact.size,
            profile=new.profile or None,
            profile_sha256=digest,
            lineage=_json(new.lineage),
            metrics=_json(new.metrics),
            gates=_json(new.gates),
            command_id=new.command_id,
            trained_from_ms=new.trained_from_ms,
            trained_to_ms=new.trained_to_ms,
            event_time_ms=new.event_time_ms,
        )
    )
    return version, True


def next_name(connection: Connection, model_id: str) -> str:
    """``v`` and the number of the next version, or a higher number if somebody took that name."""
    taken = {row.version for row in read_versions(connection, model_id)}
    number = _version_count(connection, model_id) + 1
    while f"v{number}" in taken:
        number += 1
    return f"v{number}"


def _version_count(connection: Connection, model_id: str) -> int:
    statement = select(models.c.version_sequence).where(models.c.model_id == model_id)
    return int(connection.execute(statement).scalar_one())


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


def announce(
    connection: Connection,
    kind: ModelEventKind,
    model_id: str,
    version: VersionRow | None,
    *,
    event_time_ms: int,
    previous_version: str | None = None,
    command_id: str | None = None,
    reason: str = "",
    actor: str = "",
    look: ShadowLook | None = None,
) -> ModelEvent:
    """Write a model event into the outbox; the model must be locked, and its history written. Its id counts the
    model's events."""
    sequence = int(lock_model(connection, model_id).event_sequence) + 1
    connection.execute(update(models).where(models.c.model_id == model_id).values(event_sequence=sequence))
    name = "" if version is None else version.version
    text = f"model-event\n{model_id}\n{sequence}\n{kind}\n{name}"
    model_event = ModelEvent(
        event_id=hashlib.sha256(text.encode()).hexdigest()[:32],
        kind=kind,
        model_id=model_id,
        model_version=name,
        event_time_ms=event_time_ms,
        previous_version=previous_version,
        artifact=None if version is None or version.artifact is None else version.artifact.uri,
        artifact_sha256=None if version is None or version.artifact is None else version.artifact.sha256,
        command_id=command_id if version is None else command_id or version.command_id,
        reason=storable(reason),
        actor=storable(actor),
        history_sha256=head_sha256(connection),
        gates=[] if version is None else version.gates,
        metrics={} if version is None else version.metrics,
        look=look,
    )
    outbox.add(
        connection,
        event_key=f"model-event:{model_event.event_id}",
        topic=outbox.MODEL_EVENTS,
        key=model_id,
        value=msgspec.json.encode(model_event),
    )
    return model_event
