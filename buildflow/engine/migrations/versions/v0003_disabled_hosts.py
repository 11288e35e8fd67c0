"""Whether a host is disabled is a person's word, and apart from how it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, and take the old state apart."""
    op.add_column(
        "hosts", sa.Column("disabled", sa.Boolean, nullable=False, server_default=sa.false())
    )
    hosts = sa.table(
        "hosts", sa.column("state", sa.Text), sa.column("disabled", sa.Boolean),
        sa.column("reason", sa.Text),
    )  # fmt: skip
    op.execute(
        hosts.update()
        .where(hosts.c.state == "disabled")
        # its conductor says within seconds if it is down
        .values(state="up", disabled=True, reason=None)
    )
