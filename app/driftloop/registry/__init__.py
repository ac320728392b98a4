"""The registry: model versions and their aliases, artifacts, assessments, training runs, and the outbox."""

from driftloop.registry.artifacts import ArtifactRef, ArtifactStore
from driftloop.registry.assessments import AssessmentStore, Committed
from driftloop.registry.database import (
    create_schema,
    open_engine,
    require_schema,
    schema_problem,
    schema_state,
    shown_url,
    upgrade_schema,
)
from driftloop.registry.errors import ArtifactError, RegistryError, StaleStateError
from driftloop.registry.models import Registry
from driftloop.registry.outbox import OutboxRow, Relay, kafka_sender
from driftloop.registry.rows import HistoryRow, ModelRow, NewVersion, VersionRow
from driftloop.registry.run_log import RunEntry, RunLog
from driftloop.registry.runs import Run, RunStore
from driftloop.registry.shadows import ShadowRow, ShadowStore

__all__ = [
    "ArtifactError",
    "ArtifactRef",
    "ArtifactStore",
    "AssessmentStore",
    "Committed",
    "HistoryRow",
    "ModelRow",
    "NewVersion",
    "OutboxRow",
    "Registry",
    "RegistryError",
    "Relay",
    "Run",
    "RunEntry",
    "RunLog",
    "RunStore",
    "ShadowRow",
    "ShadowStore",
    "StaleStateError",
    "VersionRow",
    "create_schema",
    "kafka_sender",
    "open_engine",
    "require_schema",
    "schema_problem",
    "schema_state",
    "shown_url",
    "upgrade_schema",
]
