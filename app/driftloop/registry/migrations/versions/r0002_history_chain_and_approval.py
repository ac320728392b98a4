"""Chain the history of aliases, and let versions wait for approval."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from driftloop.registry.history_chain import GENESIS, VERSION_COLUMNS, row_sha256, version_sha256

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_HISTORY = sa.table(
    "alias_history",
    *(
        sa.column(name)
        for name in (
            "id",
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
            "previous_sha256",
            "row_sha256",
        )
    ),
)
_VERSIONS = sa.table("model_versions", *(sa.column(name) for name in VERSION_COLUMNS))
_HEAD = sa.table("history_head", sa.column("id"), sa.column("rows"), sa.column("sha256"))


def upgrade() -> None:
    op.create_table(
        "history_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_history_head")),
    )
    with op.batch_alter_table("alias_history") as batch_op:
        batch_op.add_column(sa.Column("sequence", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("subject", sa.String(length=256), nullable=True))
        batch_op.add_column(sa.Column("version_sha256", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("previous_sha256", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("row_sha256", sa.String(length=64), nullable=True))
        batch_op.alter_column("action", existing_type=sa.String(16), type_=sa.String(32), existing_nullable=False)
        batch_op.drop_index(op.f("ix_alias_history_model_id_alias_id"))
    _chain_the_rows_that_are_there()
    with op.batch_alter_table("alias_history") as batch_op:
        batch_op.alter_column("sequence", existing_type=sa.BigInteger(), nullable=False)
        batch_op.alter_column("previous_sha256", existing_type=sa.String(64), nullable=False)
        batch_op.alter_column("row_sha256", existing_type=sa.String(64), nullable=False)
        batch_op.create_index(
            op.f("ix_alias_history_model_id_alias_sequence"), ["model_id", "alias", "sequence"], unique=False
        )
        batch_op.create_unique_constraint(op.f("uq_alias_history_sequence"), ["sequence"])
    with op.batch_alter_table("model_versions") as batch_op:
        batch_op.alter_column("status", existing_type=sa.String(16), type_=sa.String(32), existing_nullable=False)


def _chain_the_rows_that_are_there() -> None:
    """In the order of their ids: what was written so far is vouched for as it is now."""
    connection = op.get_bind()
    versions = {
        (row.model_id, row.version): version_sha256(row._asdict()) for row in connection.execute(sa.select(_VERSIONS))
    }
    digest, count = GENESIS, 0
    for row in connection.execute(sa.select(_HISTORY).order_by(_HISTORY.c.id)).all():
        count += 1
        # A row of a command that led to no version is about none.
        subject = None if row.action == "failed" else row.version or row.previous_version
        new = {
            **row._asdict(),
            "sequence": count,
            "subject": subject,
            "version_sha256": None if subject is None else versions.get((row.model_id, subject)),
        }
        previous, digest = digest, row_sha256(digest, new)
        connection.execute(
            sa.update(_HISTORY)
            .where(_HISTORY.c.id == row.id)
            .values(
                sequence=count,
                subject=subject,
                version_sha256=new["version_sha256"],
                previous_sha256=previous,
                row_sha256=digest,
            )
        )
    connection.execute(sa.insert(_HEAD).values(id=1, rows=count, sha256=digest))
