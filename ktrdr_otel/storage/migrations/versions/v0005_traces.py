"""What it takes to close the trace of a run whose process is gone."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_RISING = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Checkpoints know their place in the export queue; operations, where their trace goes and how far it got.

    What is open is found without a walk over all that an operation ever did.
    """
    op.add_column("checkpoints", sa.Column("export_place", sa.BigInteger))
    op.create_index(
        "checkpoints_open",
        "checkpoints",
        ["operation_key", "sequence"],
        sqlite_where=sa.text("ended_ns IS NULL"),
        postgresql_where=sa.text("ended_ns IS NULL"),
    )
    op.create_table(
        "trace_exports",
        _operation_key(primary_key=True),
        sa.Column("receivers", sa.JSON, nullable=False),
        sa.Column("live", sa.Text, nullable=False),
        sa.Column("resource", sa.JSON, nullable=False),
        sa.Column("scope_version", sa.Text, nullable=False),
        sa.Column("confirmed", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("owed", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("next_try_ns", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    )
    op.create_index("trace_exports_owed", "trace_exports", ["owed", "next_try_ns"])
    op.create_table(
        "trace_marks",
        _operation_key(primary_key=True),
        sa.Column("span_id", sa.Text, primary_key=True),
    )


def _operation_key(*, primary_key: bool) -> sa.Column[int]:
    return sa.Column(
        "operation_key",
        _RISING,
        sa.ForeignKey("operations.key", ondelete="CASCADE"),
        primary_key=primary_key,
        autoincrement=False,
    )
