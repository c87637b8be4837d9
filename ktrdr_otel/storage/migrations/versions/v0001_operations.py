"""Operations, their checkpoints, learned durations and requests to cancel."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_RISING = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """The first four tables exist."""
    op.create_table(
        "operations",
        sa.Column("key", _RISING, primary_key=True, autoincrement=True),
        sa.Column("operation_id", sa.Text, nullable=False, unique=True),
        sa.Column("operation_type", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("phase", sa.Text),
        sa.Column("percentage", sa.Double, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("context", sa.JSON, nullable=False),
        sa.Column("started_ns", sa.BigInteger, nullable=False),
        sa.Column("ended_ns", sa.BigInteger),
        sa.Column("last_progress_ns", sa.BigInteger),
        sa.Column("estimated_remaining_seconds", sa.Double),
        sa.Column("items_completed", sa.BigInteger, nullable=False),
        sa.Column("items_planned", sa.BigInteger),
        sa.Column("trace_id", sa.Text),
        sa.Column("span_id", sa.Text),
        sa.Column("error_type", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("error_step", sa.Text),
        sa.Column("cancel_reason", sa.Text),
        sa.Column("lost_reason", sa.Text),
        sa.Column("lease_seconds", sa.Double, nullable=False),
        sa.Column("heartbeat_ns", sa.BigInteger, nullable=False),
        sa.Column("heartbeat_monotonic_ns", sa.BigInteger, nullable=False),
        sa.Column("worker_host", sa.Text, nullable=False),
        sa.Column("worker_boot_id", sa.Text, nullable=False),
        sa.Column("worker_pid", sa.BigInteger, nullable=False),
        sa.Column("worker_pid_started_ticks", sa.BigInteger, nullable=False),
        sa.Column("worker_pid_namespace", sa.Text, nullable=False),
        sa.Index("operations_by_status", "status", "key"),
        sa.Index("operations_by_type", "operation_type", "key"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "checkpoints",
        sa.Column("sequence", _RISING, primary_key=True, autoincrement=True),
        sa.Column(
            "operation_key", _RISING, sa.ForeignKey("operations.key", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("progress_type", sa.Text),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("step", sa.Text),
        sa.Column("symbol", sa.Text),
        sa.Column("timeframe", sa.Text),
        sa.Column("item_name", sa.Text),
        sa.Column("item_index", sa.BigInteger),
        sa.Column("item_total", sa.BigInteger),
        sa.Column("started_ns", sa.BigInteger, nullable=False),
        sa.Column("ended_ns", sa.BigInteger),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("trace_id", sa.Text, nullable=False),
        sa.Column("span_id", sa.Text, nullable=False),
        sa.Column("parent_span_id", sa.Text),
        sa.Column("metrics", sa.JSON(none_as_null=True)),
        sa.Column("error_type", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Index("checkpoints_of_operation", "operation_key", "sequence"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "durations",
        sa.Column("progress_type", sa.Text, primary_key=True),
        sa.Column("item", sa.Text, primary_key=True),
        sa.Column("timeframe", sa.Text, primary_key=True),
        sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("units", sa.BigInteger, nullable=False),
        sa.Column("total_ns", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "cancel_requests",
        sa.Column(
            "operation_key", _RISING, sa.ForeignKey("operations.key", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("requested_ns", sa.BigInteger, nullable=False),
    )
