"""What a server reads: units per phase, which symbol of how many, checkpoints by span, and those with metrics."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Operations have phases, checkpoints the symbol's number; they are found by span, and by having metrics."""
    op.add_column("operations", sa.Column("phases", sa.JSON(none_as_null=True)))
    op.add_column("checkpoints", sa.Column("symbol_index", sa.BigInteger))
    op.add_column("checkpoints", sa.Column("symbol_total", sa.BigInteger))
    op.create_index("checkpoints_by_span", "checkpoints", ["operation_key", "span_id"])
    measured = sa.text("metrics IS NOT NULL")
    op.create_index(
        "checkpoints_with_metrics",
        "checkpoints",
        ["operation_key", "sequence"],
        sqlite_where=measured,
        postgresql_where=measured,
    )
