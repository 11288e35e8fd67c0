"""The first schema. Written out: a migration never follows later changes of engine/schema.py."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "builds",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text),
        sa.Column("live_name", sa.Text, unique=True),
        sa.Column("request_id", sa.Text, unique=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("flow", sa.Text, nullable=False),
        sa.Column("inputs", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("stop", sa.Text),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("host", sa.Text),
        sa.Column("fault", sa.Text),
        sa.Column("errors", sa.Text),
        sa.Column("results", sa.Text),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("finished_at", sa.Text),
        sa.Column("deadline_at", sa.Text),
    )
    op.create_index("ix_builds_created_at", "builds", ["created_at"])
    op.create_index("ix_builds_name", "builds", ["name"])
    unfinished = sa.text("status NOT IN ('complete', 'rolled_back')")
    op.create_index(
        "ix_builds_unfinished",
        "builds",
        ["status"],
        sqlite_where=unfinished,
        postgresql_where=unfinished,
    )
    op.create_table(
        "instances",
        sa.Column("uuid", sa.Text, _build(), primary_key=True),
        sa.Column("vm_state", sa.Text, nullable=False),
        sa.Column("task_state", sa.Text),
        sa.Column("power_state", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("network_info", sa.Text),
        sa.Column("block_device_info", sa.Text),
    )
    op.create_table(
        "history",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("build", sa.Text, _build(), nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("step", sa.Text),
        sa.Column("vm_state", sa.Text, nullable=False),
        sa.Column("task_state", sa.Text),
        sa.Column("power_state", sa.Integer, nullable=False),
    )
    op.create_index("ix_history_build", "history", ["build"])
    op.create_table(
        "effects",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("build", sa.Text, _build(), nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("external_id", sa.Text),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("made_at", sa.Text, nullable=False),
        sa.Column("changed_at", sa.Text, nullable=False),
    )
    op.create_index("ix_effects_build", "effects", ["build"])
    op.create_table(
        "flow_details",
        sa.Column("uuid", sa.Text, primary_key=True),
        sa.Column("build", sa.Text, _build(), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("state", sa.Text),
        sa.Column("meta", sa.Text),
    )
    op.create_index("ix_flow_details_build", "flow_details", ["build"])
    op.create_table(
        "atoms",
        sa.Column(
            "flow",
            sa.Text,
            sa.ForeignKey("flow_details.uuid", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("uuid", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text),
        sa.Column("intention", sa.Text),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("started_at", sa.Text),
        sa.Column("finished_at", sa.Text),
        sa.Column("revert_started_at", sa.Text),
        sa.Column("revert_finished_at", sa.Text),
    )
    op.create_table(
        "owners",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("boot_id", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("pid_started", sa.Text, nullable=False),
        sa.Column("heartbeat_at", sa.Text, nullable=False),
        sa.Column("expiry_s", sa.Integer, nullable=False),
    )


def _build() -> sa.ForeignKey:
    return sa.ForeignKey("builds.id", ondelete="CASCADE")
