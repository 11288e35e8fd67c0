"""The store's tables: builds, instances, history, effects and TaskFlow's logbook in one database.

Rules: text, integer, boolean and JSON-as-text columns only, so that SQLite and PostgreSQL hold the
same rows; every change of this file comes with a migration (engine/migrations), and the migrations
alone make the database.

TaskFlow's words: a build is a logbook, each of its flows (`build`, `delete`) a flow detail, and
each step an atom detail. Rows of atoms are written when they first change, never as PENDING.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    false,
    text,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

builds: Final = Table(
    "builds",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text),
    # the name while the build holds it; NULL frees it for others
    Column("live_name", Text, unique=True),
    Column("request_id", Text, unique=True),
    Column("status", Text, nullable=False),
    Column("flow", Text, nullable=False),  # dotted name of the factory, module:function
    Column("inputs", Text, nullable=False),  # the factory's arguments, JSON
    Column("fingerprint", Text, nullable=False),  # JSON, see engine/fingerprint.py
    Column("owner", Text),
    Column("epoch", Integer, nullable=False),
    Column("seq", Integer, nullable=False),  # counts the owner's commits: settles a lost answer
    Column("stop", Text),  # cancelled, deleted, interrupted or deadline; set by anybody, once
    Column("attempt", Integer, nullable=False),
    Column("host", Text),
    Column("fault", Text),  # the first error, JSON
    Column("errors", Text),  # those of the rollback, JSON list
    Column("results", Text),  # what the flow provided, JSON; general flows only
    Column("created_at", Text, nullable=False),
    Column("finished_at", Text),
    Column("deadline_at", Text),
)
Index("ix_builds_created_at", builds.c.created_at)
Index("ix_builds_name", builds.c.name)
# what a start looks for: few rows, whatever the table's size
Index(
    "ix_builds_unfinished",
    builds.c.status,
    sqlite_where=text("status NOT IN ('complete', 'rolled_back')"),
    postgresql_where=text("status NOT IN ('complete', 'rolled_back')"),
)

instances: Final = Table(
    "instances",
    metadata,
    Column("uuid", Text, ForeignKey("builds.id", ondelete="CASCADE"), primary_key=True),
    Column("vm_state", Text, nullable=False),
    Column("task_state", Text),
    Column("power_state", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("network_info", Text),
    Column("block_device_info", Text),
)

history: Final = Table(
    "history",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("build", Text, ForeignKey("builds.id", ondelete="CASCADE"), nullable=False),
    Column("at", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("step", Text),
    Column("vm_state", Text, nullable=False),
    Column("task_state", Text),
    Column("power_state", Integer, nullable=False),
)
Index("ix_history_build", history.c.build)

effects: Final = Table(
    "effects",
    metadata,
    Column("key", Text, primary_key=True),
    Column("build", Text, ForeignKey("builds.id", ondelete="CASCADE"), nullable=False),
    Column("step", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("ordinal", Integer, nullable=False),  # the order in which intents were written
    Column("state", Text, nullable=False),  # intent, done, undone, residue
    Column("external_id", Text),
    Column("facts", Text, nullable=False),  # what an undo needs beside the key, JSON, no secrets
    Column("reason", Text),  # why it is residue
    Column("made_at", Text, nullable=False),
    Column("changed_at", Text, nullable=False),
)
Index("ix_effects_build", effects.c.build)

flow_details: Final = Table(
    "flow_details",
    metadata,
    Column("uuid", Text, primary_key=True),
    Column("build", Text, ForeignKey("builds.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text),
    Column("meta", Text),
)
Index("ix_flow_details_build", flow_details.c.build)

atoms: Final = Table(
    "atoms",
    metadata,
    Column("flow", Text, ForeignKey("flow_details.uuid", ondelete="CASCADE"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("uuid", Text, nullable=False),
    Column("kind", Text, nullable=False),  # TASK_DETAIL or RETRY_DETAIL
    Column("state", Text),
    Column("intention", Text),
    Column("detail", Text, nullable=False),  # TaskFlow's own dictionary of the rest, JSON
    Column("started_at", Text),
    Column("finished_at", Text),
    Column("revert_started_at", Text),
    Column("revert_finished_at", Text),
)

owners: Final = Table(
    "owners",
    metadata,
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("boot_id", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("pid_started", Text, nullable=False),
    Column("heartbeat_at", Text, nullable=False),
    Column("expiry_s", Integer, nullable=False),
)

hosts: Final = Table(
    "hosts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("uri", Text, nullable=False),  # without credentials
    Column("state", Text, nullable=False),  # how it is: up, down or standby
    Column("disabled", Boolean, nullable=False, server_default=false()),  # a person's word
    Column("vcpus", Integer, nullable=False),
    Column("memory_mib", Integer, nullable=False),
    Column("disk_gib", Integer, nullable=False),
    Column("seq", Integer, nullable=False),  # touched by each claim: one claim at a time
    Column("seen_at", Text, nullable=False),
    Column("reason", Text),  # why it is down
)

claims: Final = Table(
    "claims",
    metadata,
    Column("key", Text, primary_key=True),
    Column("build", Text, ForeignKey("builds.id", ondelete="CASCADE"), nullable=False),
    Column("host", Text, ForeignKey("hosts.name"), nullable=False),
    Column("vcpus", Integer, nullable=False),
    Column("memory_mib", Integer, nullable=False),
    Column("disk_gib", Integer, nullable=False),
    Column("affinity_group", Text),
    Column("anti_affinity_group", Text),
)
Index("ix_claims_host", claims.c.host)
Index("ix_claims_build", claims.c.build)

jobs: Final = Table(
    "jobs",
    metadata,
    Column("build", Text, ForeignKey("builds.id", ondelete="CASCADE"), primary_key=True),
    Column("state", Text, nullable=False),  # distributed/jobs.py has them
    Column("tries", Integer, nullable=False),
    Column("not_before", Text),
    Column("reason", Text),
    Column("posted_at", Text, nullable=False),
)
Index("ix_jobs_state", jobs.c.state)
Index("ix_jobs_posted_at", jobs.c.posted_at)
