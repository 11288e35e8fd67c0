"""Many machines: hosts with their capacity, what builds claim of it, and the state of jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the three tables."""
    op.create_table(
        "hosts",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("vcpus", sa.Integer, nullable=False),
        sa.Column("memory_mib", sa.Integer, nullable=False),
        sa.Column("disk_gib", sa.Integer, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("seen_at", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
    )
    op.create_table(
        "claims",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("build", sa.Text, _build(), nullable=False),
        sa.Column("host", sa.Text, sa.ForeignKey("hosts.name"), nullable=False),
        sa.Column("vcpus", sa.Integer, nullable=False),
        sa.Column("memory_mib", sa.Integer, nullable=False),
        sa.Column("disk_gib", sa.Integer, nullable=False),
        sa.Column("affinity_group", sa.Text),
        sa.Column("anti_affinity_group", sa.Text),
    )
    op.create_index("ix_claims_host", "claims", ["host"])
    op.create_index("ix_claims_build", "claims", ["build"])
    op.create_table(
        "jobs",
        sa.Column("build", sa.Text, _build(), primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("not_before", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("posted_at", sa.Text, nullable=False),
    )
    op.create_index("ix_jobs_state", "jobs", ["state"])
    op.create_index("ix_jobs_posted_at", "jobs", ["posted_at"])


def _build() -> sa.ForeignKey:
    return sa.ForeignKey("builds.id", ondelete="CASCADE")
