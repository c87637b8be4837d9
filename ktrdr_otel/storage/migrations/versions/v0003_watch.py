"""How a running operation stands, what its steps may take, and what its process used."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_RISING = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Operations know when they moved last, what is allowed, and their newest stall; samples have a table."""
    for column in (
        sa.Column("moved_ns", sa.BigInteger),
        sa.Column("moved_monotonic_ns", sa.BigInteger),
        sa.Column("allowance_seconds", sa.Double),
        sa.Column("slow_after_seconds", sa.Double),
        sa.Column("stalled", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("suspended", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("stall", sa.JSON(none_as_null=True)),
    ):
        op.add_column("operations", column)
    op.create_table(
        "samples",
        sa.Column("sample", _RISING, primary_key=True, autoincrement=True),
        sa.Column(
            "operation_key", _RISING, sa.ForeignKey("operations.key", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("cpu_share", sa.Double, nullable=False),
        sa.Column("rss_bytes", sa.BigInteger, nullable=False),
        sa.Column("limit_bytes", sa.BigInteger),
        sa.Index("samples_of_operation", "operation_key", "sample"),
        sqlite_autoincrement=True,
    )
