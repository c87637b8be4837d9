"""What is kept of a run that went wrong: its last log records, and the traceback of its exception."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_RISING = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Log records have a table, failed operations their traceback."""
    op.add_column("operations", sa.Column("error_traceback", sa.Text))
    op.create_table(
        "logs",
        sa.Column("sequence", _RISING, primary_key=True, autoincrement=True),
        sa.Column(
            "operation_key", _RISING, sa.ForeignKey("operations.key", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("level", sa.Text, nullable=False),
        sa.Column("logger", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("trace_id", sa.Text),
        sa.Column("span_id", sa.Text),
        sa.Column("step", sa.Text),
        sa.Index("logs_of_operation", "operation_key", "sequence"),
        sqlite_autoincrement=True,
    )
