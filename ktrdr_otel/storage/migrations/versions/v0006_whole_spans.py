"""What it takes to tell a span again as its process would have."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Checkpoints have the attributes for which there is no column; log records know where they were logged."""
    op.add_column("checkpoints", sa.Column("attributes", sa.JSON))
    op.add_column("logs", sa.Column("file", sa.Text))
    op.add_column("logs", sa.Column("line", sa.BigInteger))
    op.add_column("logs", sa.Column("function", sa.Text))
