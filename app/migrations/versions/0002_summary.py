"""The summaries of finished reports."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "summary",
        sa.Column("report", sa.Text, sa.ForeignKey("report.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
    )
