"""What the registry takes and gives: models, versions and their history."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from driftloop.events.decisions import GateResult
from driftloop.registry.artifacts import ArtifactRef

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "UNDECIDED",
    "HistoryRow",
    "ModelRow",
    "NewVersion",
    "VersionRow",
    "VersionStatus",
]

CHAMPION = "champion"
CHALLENGER = "challenger"

#: ``registered``: neither promoted nor rejected yet; ``awaiting_approval``: passed its gates, a person decides.
VersionStatus = Literal["registered", "awaiting_approval", "promoted", "rejected", "rolled_back"]
#: Statuses of versions about which nothing is decided yet.
UNDECIDED: frozenset[VersionStatus] = frozenset({"registered", "awaiting_approval"})


@dataclass(frozen=True, kw_only=True)
class NewVersion:
    """A version to be registered. ``version`` None: the next of ``v1``, ``v2``, ... ``profile``: an encoded reference
    profile (b"" if there is none). ``lineage``: JSON-able. Times are event times; [trained_from_ms, trained_to_ms)."""

    model_id: str
    version: str | None = None
    artifact: ArtifactRef | None = None
    profile: bytes = b""
    lineage: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    gates: list[GateResult] = field(default_factory=list)
    command_id: str | None = None
    trained_from_ms: int | None = None
    trained_to_ms: int | None = None
    event_time_ms: int = 0
    reason: str = ""
    actor: str = "driftloop"


@dataclass(frozen=True, kw_only=True)
class VersionRow:
    """A registered version. ``aliases`` are those that it has now; ``sequence`` counts the model's versions from 1."""

    model_id: str
    version: str
    sequence: int
    status: VersionStatus
    artifact: ArtifactRef | None
    profile_sha256: str
    lineage: dict[str, Any]
    metrics: dict[str, float]
    gates: list[GateResult]
    command_id: str | None
    trained_from_ms: int | None
    trained_to_ms: int | None
    event_time_ms: int
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """A model with the versions that its aliases name."""

    model_id: str
    task: str
    spec_digest: str
    versions: int
    champion: str | None
    challenger: str | None


@dataclass(frozen=True, kw_only=True)
class HistoryRow:
    """One change of an alias: ``version`` is the one named from then on (None: none), ``previous_version`` before.

    ``subject`` is the version that the action is about (None: a command that led to none). ``sequence`` counts the rows
    of the whole registry, and ``row_sha256`` is the row's digest in their chain (:mod:`.history_chain`).
    """

    sequence: int
    alias: str
    action: str
    subject: str | None
    version: str | None
    previous_version: str | None
    command_id: str | None
    reason: str
    actor: str
    event_time_ms: int
    row_sha256: str
