"""The history of aliases as a chain: each row's SHA-256 covers its content and the SHA-256 of the row before.

A row that is changed, removed, put in or moved afterwards breaks the chain there, and :func:`check_history` says where.
The chain is one for the whole registry; ``history_head`` holds its length and last SHA-256, is what writers lock, and
shows when the last rows are missing. Who may write to the database can make the whole chain anew: so the head is told
outside as well, in every model event (``history_sha256``), and a head noted there must still be in the chain.

What is hashed, as UTF-8 JSON arrays without white space (the tag fixes the form for good):

- a row: ``["driftloop-history-1", previous SHA-256, sequence, model_id, alias, action, subject, version,
  previous_version, version_sha256, command_id, reason, actor, event_time_ms]``
- a version: ``["driftloop-version-1", `` and the columns of :data:`VERSION_COLUMNS` in that order ``]``
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select, update

from driftloop.registry.errors import RegistryError
from driftloop.registry.tables import alias_history, aliases, history_head, model_versions

__all__ = ["GENESIS", "HistoryCheck", "append", "check_history", "head_sha256", "row_sha256", "version_sha256"]

#: What the first row has for the SHA-256 of the row before.
GENESIS = "0" * 64

ROW_COLUMNS = (
    "sequence",
    "model_id",
    "alias",
    "action",
    "subject",
    "version",
    "previous_version",
    "version_sha256",
    "command_id",
    "reason",
    "actor",
    "event_time_ms",
)
#: What never changes about a version.
VERSION_COLUMNS = (
    "model_id",
    "version",
    "sequence",
    "artifact_uri",
    "artifact_sha256",
    "artifact_size",
    "profile_sha256",
    "lineage",
    "metrics",
    "gates",
    "command_id",
    "trained_from_ms",
    "trained_to_ms",
    "event_time_ms",
)
_VERSION_CONTENT = [model_versions.c[name] for name in VERSION_COLUMNS]


@dataclass(frozen=True)
class HistoryCheck:
    """What a check of the history found. ``broken``: sequence number of the first row that is not as it was written
    (or is missing, or too many); None with a ``problem`` if the rows are whole and what they say is not what is there.
    """

    rows: int
    head_sha256: str
    problem: str | None = None
    broken: int | None = None


def row_sha256(previous_sha256: str, row: Mapping[str, Any]) -> str:
    """The SHA-256 of a row of the history."""
    return _sha256(["driftloop-history-1", previous_sha256, *(row[name] for name in ROW_COLUMNS)])


def version_sha256(row: Mapping[str, Any]) -> str:
    """The SHA-256 of what never changes about a version."""
    return _sha256(["driftloop-version-1", *(row[name] for name in VERSION_COLUMNS)])


def _sha256(values: list[Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(values)).hexdigest()


def append(connection: Connection, values: Mapping[str, Any]) -> None:
    """Write the next row. ``values``: the columns of a row but its number and digests. Writers wait for each other."""
    head = connection.execute(select(history_head).with_for_update()).first()
    if head is None:
        raise RegistryError("the registry's table history_head is empty; see 'driftloop registry verify'")
    row = {
        **values,
        "sequence": head.rows + 1,
        "version_sha256": _version_now(connection, values["model_id"], values["subject"]),
    }
    digest = row_sha256(head.sha256, row)
    connection.execute(insert(alias_history).values(**row, previous_sha256=head.sha256, row_sha256=digest))
    connection.execute(update(history_head).values(rows=head.rows + 1, sha256=digest))


def head_sha256(connection: Connection) -> str:
    """The SHA-256 of the last row."""
    return str(connection.execute(select(history_head.c.sha256)).scalar_one())


def _version_now(connection: Connection, model_id: str, version: str | None) -> str | None:
    if version is None:
        return None
    statement = select(*_VERSION_CONTENT).where(
        model_versions.c.model_id == model_id, model_versions.c.version == version
    )
    return version_sha256(connection.execute(statement).one()._asdict())


def check_history(connection: Connection, noted_sha256: str | None = None) -> HistoryCheck:
    """Recompute the chain, and compare what it says with the versions and aliases that are there.

    ``noted_sha256``: a head that was noted earlier; it must still be the digest of a row. One pass over the history and
    one over the versions, with one digest of each version in memory.
    """
    versions = {
        (row.model_id, row.version): version_sha256(row._asdict())
        for row in connection.execute(select(*_VERSION_CONTENT).execution_options(yield_per=500))
    }
    previous, count, seen_noted = GENESIS, 0, noted_sha256 in (None, GENESIS)
    named: dict[tuple[str, str], str | None] = {}
    for row in connection.execute(select(alias_history).order_by(alias_history.c.sequence, alias_history.c.id)):
        problem = _problem_of(row._asdict(), count + 1, previous, versions)
        if problem is not None:
            return HistoryCheck(count, previous, problem, count + 1)
        previous, count = row.row_sha256, count + 1
        seen_noted = seen_noted or previous == noted_sha256
        named[row.model_id, row.alias] = row.version
    head = connection.execute(select(history_head)).first()
    if head is None or head.rows < count:
        held = 0 if head is None else head.rows
        return HistoryCheck(count, previous, f"row {held + 1} was put in: the chain ends with row {held}", held + 1)
    if head.rows > count:
        gone = f"row {count + 1} is missing: the chain has {head.rows} rows, and the last there is {count}"
        return HistoryCheck(count, previous, gone, count + 1)
    if head.sha256 != previous:
        changed = f"row {count} is not the one that the chain ends with: it was replaced, or history_head was changed"
        return HistoryCheck(count, previous, changed, count or None)
    if not seen_noted:
        rewritten = f"no row has the digest {noted_sha256} that was noted earlier: the history was written anew"
        return HistoryCheck(count, previous, rewritten)
    return HistoryCheck(count, previous, _problem_beside(connection, named, versions))


def _problem_of(
    row: Mapping[str, Any], expected: int, previous: str, versions: Mapping[tuple[str, str], str]
) -> str | None:
    sequence, model_id, subject = row["sequence"], row["model_id"], row["subject"]
    if sequence != expected:
        return f"row {expected} is missing: the next there is row {sequence}"
    told = f"row {sequence} ({model_id} {subject or row['version'] or ''} {row['action']} at {row['event_time_ms']} ms)"
    if row["previous_sha256"] != previous:
        return f"{told} does not follow the row before it: one of them was replaced, moved or put in"
    if row_sha256(previous, row) != row["row_sha256"]:
        return f"{told} was changed, moved or put in: its SHA-256 is not that of its content"
    if row["version_sha256"] is not None and versions.get((model_id, subject)) != row["version_sha256"]:
        gone = "is gone" if (model_id, subject) not in versions else "was changed"
        return f"{told} is about a version that {gone} since: its row in model_versions is not the one registered"
    return None


def _problem_beside(
    connection: Connection,
    named: Mapping[tuple[str, str], str | None],
    versions: Mapping[tuple[str, str], str],
) -> str | None:
    """Aliases and reference profiles that are not what the history says."""
    wanted = {key: version for key, version in named.items() if version is not None}
    statement = select(aliases.c.model_id, aliases.c.alias, aliases.c.version)
    found = {(row.model_id, row.alias): row.version for row in connection.execute(statement)}
    for model_id, alias in sorted(wanted.keys() | found.keys()):
        told, is_now = wanted.get((model_id, alias)), found.get((model_id, alias))
        if told != is_now:
            return (
                f"the {alias} of {model_id} is {is_now or 'nothing'}, and by the history it is {told or 'nothing'}: "
                "the alias was changed past the registry"
            )
    for model_id, version in sorted(versions):
        row = connection.execute(
            select(model_versions.c.profile, model_versions.c.profile_sha256).where(
                model_versions.c.model_id == model_id, model_versions.c.version == version
            )
        ).one()
        if hashlib.sha256(row.profile or b"").hexdigest() != row.profile_sha256:
            return f"the reference profile of {model_id} {version} was changed: its SHA-256 is not the one registered"
    return None
