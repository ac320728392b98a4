"""Tables of the registry database. Times are event times in milliseconds unless the name says ``wall``.

A change here needs a migration, which ``scripts/migration "What it does"`` drafts: databases are made and brought up to
date by these (:mod:`driftloop.registry.migrations`), never from here.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

__all__ = [
    "alert_events",
    "alias_history",
    "aliases",
    "commands",
    "handovers",
    "history_head",
    "metadata",
    "mlflow_positions",
    "model_states",
    "model_versions",
    "models",
    "outbox",
    "partition_progress",
    "policy_decisions",
    "relay_lease",
    "run_log",
    "runs",
    "schema_version",
    "shadow_looks",
    "shadows",
    "window_reports",
]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_NAME = String(256)
_DIGEST = String(64)
#: SQLite numbers rows by itself only in an INTEGER primary key, which there has 64 bits anyway.
_ROW_ID = BigInteger().with_variant(Integer(), "sqlite")

#: The number of the last migration, for the first release, which knew no migrations: it reads only this, and refuses a
#: database whose number isn't 1. The migrations' own is in ``driftloop_revision``.
schema_version = Table(
    "schema_version",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", Integer, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("model_id", _NAME, primary_key=True),
    Column("task", String(32), nullable=False),
    Column("spec_digest", _DIGEST, nullable=False),
    # Counts events and versions of the model; its row is what writers of one model lock.
    Column("event_sequence", BigInteger, nullable=False),
    Column("version_sequence", Integer, nullable=False),
)

model_versions = Table(
    "model_versions",
    metadata,
    Column("model_id", _NAME, ForeignKey(models.c.model_id), primary_key=True),
    Column("version", _NAME, primary_key=True),
    Column("sequence", Integer, nullable=False),
    Column("status", String(32), nullable=False),
    Column("artifact_uri", Text),
    Column("artifact_sha256", _DIGEST),
    Column("artifact_size", BigInteger),
    Column("profile", LargeBinary),
    Column("profile_sha256", _DIGEST, nullable=False),
    Column("lineage", Text, nullable=False),
    Column("metrics", Text, nullable=False),
    Column("gates", Text, nullable=False),
    Column("command_id", _DIGEST, unique=True),
    Column("trained_from_ms", BigInteger),
    Column("trained_to_ms", BigInteger),
    Column("event_time_ms", BigInteger, nullable=False),
    UniqueConstraint("model_id", "sequence"),
)

aliases = Table(
    "aliases",
    metadata,
    Column("model_id", _NAME, primary_key=True),
    Column("alias", String(32), primary_key=True),
    Column("version", _NAME, nullable=False),
    ForeignKeyConstraint(["model_id", "version"], [model_versions.c.model_id, model_versions.c.version]),
)

#: Append-only: see history_chain.py for what the digests cover.
alias_history = Table(
    "alias_history",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    # Counts the rows from 1 without a gap; it is their order.
    Column("sequence", BigInteger, nullable=False, unique=True),
    Column("model_id", _NAME, ForeignKey(models.c.model_id), nullable=False),
    Column("alias", String(32), nullable=False),
    Column("action", String(32), nullable=False),
    # The version that the action is about, whatever the alias names.
    Column("subject", _NAME),
    Column("version", _NAME),
    Column("previous_version", _NAME),
    Column("version_sha256", _DIGEST),
    Column("command_id", _DIGEST),
    Column("reason", Text, nullable=False),
    Column("actor", _NAME, nullable=False),
    Column("event_time_ms", BigInteger, nullable=False),
    Column("previous_sha256", _DIGEST, nullable=False),
    Column("row_sha256", _DIGEST, nullable=False),
    Index(None, "model_id", "alias", "sequence"),
)

#: One row: how long the history's chain is, and its last digest. Writers lock it.
history_head = Table(
    "history_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("rows", BigInteger, nullable=False),
    Column("sha256", _DIGEST, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("event_key", String(512), nullable=False, unique=True),
    Column("topic", String(64), nullable=False),
    Column("key", _NAME, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("published", Boolean, nullable=False, server_default=false()),
    Index(None, "published", "id"),
)

relay_lease = Table(
    "relay_lease",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("owner", _NAME, nullable=False),
    Column("until_wall_ms", BigInteger, nullable=False),
)

model_states = Table(
    "model_states",
    metadata,
    Column("model_id", _NAME, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("state", LargeBinary, nullable=False),
)

partition_progress = Table(
    "partition_progress",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("restart_offset", BigInteger, nullable=False),
)

window_reports = Table(
    "window_reports",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("report_id", _NAME, nullable=False),
    Column("status", String(16), nullable=False),
    Column("content_digest", _DIGEST, nullable=False),
    Column("model_id", _NAME, nullable=False),
    Column("model_version", _NAME, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("segment", Text, nullable=False),
    Column("window_start_ms", BigInteger, nullable=False),
    Column("window_end_ms", BigInteger, nullable=False),
    Column("decision", String(16), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("stats", LargeBinary, nullable=False),
    UniqueConstraint("report_id", "status", "content_digest"),
    Index(None, "model_id", "kind", "window_end_ms"),
)

alert_events = Table(
    "alert_events",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("event_id", _NAME, nullable=False, unique=True),
    Column("alert_id", _NAME, nullable=False, index=True),
    Column("model_id", _NAME, nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("window_end_ms", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

policy_decisions = Table(
    "policy_decisions",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("model_id", _NAME, nullable=False),
    Column("window_end_ms", BigInteger, nullable=False),
    Column("trigger", _NAME, nullable=False),
    Column("body", LargeBinary, nullable=False),
    # The digest keeps two different things said about one window (another kind of report) apart.
    Column("body_sha256", _DIGEST, nullable=False),
    UniqueConstraint("model_id", "window_end_ms", "trigger", "body_sha256"),
)

commands = Table(
    "commands",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("command_id", _DIGEST, nullable=False, unique=True),
    Column("model_id", _NAME, nullable=False, index=True),
    Column("window_end_ms", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("command_id", _DIGEST, primary_key=True),
    Column("model_id", _NAME, nullable=False, index=True),
    Column("command", LargeBinary, nullable=False),
    Column("owner", _NAME, nullable=False),
    Column("lease_until_wall_ms", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("started_wall_ms", BigInteger, nullable=False),
    Column("outcome", String(16)),
    Column("version", _NAME),
    Column("reason", Text, nullable=False),
    Column("ended_wall_ms", BigInteger),
    # JSON: what the run has put into the artifact store, by its role.
    Column("files", Text),
    # What it waits for, as a sentence: a training elsewhere, or its next try.
    Column("waiting", Text),
    # When what goes on with it must be over.
    Column("limit_wall_ms", BigInteger),
    # How often its files could not be read or written, and when it is tried again: see training/file_trouble.py.
    Column("tries", Integer),
    Column("next_try_wall_ms", BigInteger),
)

#: Runs whose training is done elsewhere: see handovers.py.
handovers = Table(
    "handovers",
    metadata,
    Column("command_id", _DIGEST, primary_key=True),
    Column("state", String(16), nullable=False, index=True),
    # JSON: where to, and what is needed when the result comes.
    Column("request", Text, nullable=False),
    # The very bytes that are sent, so that a second time says the same.
    Column("body", LargeBinary, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_try_wall_ms", BigInteger, nullable=False),
    Column("give_up_wall_ms", BigInteger, nullable=False),
    Column("timeout_ms", BigInteger, nullable=False),
    Column("deadline_wall_ms", BigInteger),
    # JSON: how it ended, and what came after that.
    Column("result", Text),
    Column("late", Text),
)

#: What running trainings say, so that other processes can follow them. Bounded: see run_log.py.
run_log = Table(
    "run_log",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("command_id", _DIGEST, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("at_wall_ms", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
    Index(None, "command_id", "id"),
)

#: A version that is compared with the champion. ``attempt`` counts its comparisons: another champion, or other
#: settings, begin a new one. ``state`` None: nothing was looked at yet.
shadows = Table(
    "shadows",
    metadata,
    Column("model_id", _NAME, primary_key=True),
    Column("version", _NAME, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("mode", String(16), nullable=False),
    Column("champion", _NAME, nullable=False),
    Column("status", String(16), nullable=False, index=True),
    Column("reason", Text, nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("command_id", _DIGEST),
    # Counts what was committed: of two processes that looked at the same windows one finds it changed.
    Column("revision", BigInteger, nullable=False),
    Column("state", LargeBinary),
    Column("owner", _NAME, nullable=False),
    Column("lease_until_wall_ms", BigInteger, nullable=False),
    ForeignKeyConstraint(["model_id", "version"], [model_versions.c.model_id, model_versions.c.version]),
)

shadow_looks = Table(
    "shadow_looks",
    metadata,
    Column("model_id", _NAME, primary_key=True),
    Column("version", _NAME, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("window_end_ms", BigInteger, nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("body", LargeBinary, nullable=False),
    ForeignKeyConstraint(
        ["model_id", "version", "attempt"], [shadows.c.model_id, shadows.c.version, shadows.c.attempt]
    ),
)

#: Which row of a model's history an MLflow server was told last; ``target`` is a digest of the server and names in it.
mlflow_positions = Table(
    "mlflow_positions",
    metadata,
    Column("target", _DIGEST, primary_key=True),
    Column("model_id", _NAME, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
)
