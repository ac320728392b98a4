"""Whether the champion is still the one that a version was judged against, inside a transaction that has locked the
model: only then what its gates or its comparison said speaks for a promotion."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UNSET, UnsetType
from sqlalchemy import Connection, select

from driftloop.registry._aliases import aliases_of
from driftloop.registry._decisions import ask_for_approval, refuse
from driftloop.registry._versions import read_version
from driftloop.registry.errors import RegistryError
from driftloop.registry.rows import CHAMPION, VersionRow, VersionStatus
from driftloop.registry.tables import shadows

__all__ = ["Outdated", "check_approval", "outdated", "put_back"]


@dataclass(frozen=True)
class Outdated:
    """Another champion is there by now. ``newer``: it was registered after the version."""

    sentence: str
    newer: bool


def outdated(connection: Connection, row: VersionRow, against: str | UnsetType | None) -> Outdated | None:
    """What has changed since the version was judged ``against`` a champion (None: there was none; UNSET: nobody knows).

    None: it is still the champion, or there is no champion to do worse than.
    """
    name = aliases_of(connection, row.model_id).get(CHAMPION)
    champion = None if name is None else read_version(connection, row.model_id, name)
    if champion is None or against in (champion.version, UNSET):
        return None
    judged = "without a champion" if against is None else f"against {against!r}"
    return Outdated(
        f"{row.version!r} was judged {judged}, and {champion.version!r} is the champion of {row.model_id!r} by now: "
        "nothing has compared these two",
        newer=champion.sequence > row.sequence,
    )


def put_back(
    connection: Connection,
    row: VersionRow,
    found: Outdated,
    reason: str,
    *,
    actor: str,
    event_time_ms: int,
    command_id: str | None,
) -> tuple[VersionStatus, str]:
    """Instead of a promotion: the version is rejected if it is older than the champion, else a person decides. Returns
    its status and why; ``reason`` is what spoke for it."""
    sentence = found.sentence if found.newer else f"{found.sentence}; {reason}"
    decide = refuse if found.newer else ask_for_approval
    decide(connection, row, reason=sentence, actor=actor, event_time_ms=event_time_ms, command_id=command_id)
    return "rejected" if found.newer else "awaiting_approval", sentence


def check_approval(connection: Connection, row: VersionRow) -> None:
    """Raises :class:`RegistryError` with what to do if what was judged is no longer what an approval would replace."""
    name = aliases_of(connection, row.model_id).get(CHAMPION)
    champion = None if name is None else read_version(connection, row.model_id, name)
    if champion is not None and champion.sequence > row.sequence:
        raise RegistryError(
            f"{champion.version!r}, registered after {row.version!r}, is the champion of {row.model_id!r} by now; "
            f"reject {row.version!r}, or approve it with --force all the same"
        )
    found = outdated(connection, row, _judged_against(connection, row))
    if found is not None:
        raise RegistryError(f"{found.sentence}; reject {row.version!r}, or approve it with --force all the same")


def _judged_against(connection: Connection, row: VersionRow) -> str | UnsetType | None:
    """The champion of the comparison that the version has passed, else that of its gates, as its lineage has it."""
    passed = (
        select(shadows.c.champion)
        .where(shadows.c.model_id == row.model_id, shadows.c.version == row.version, shadows.c.status == "passed")
        .order_by(shadows.c.attempt.desc())
    )
    champion = connection.execute(passed.limit(1)).scalar()
    if champion is not None:
        return str(champion)
    against = row.lineage.get("compared_with", UNSET)
    return against if against is None or isinstance(against, str) else UNSET
