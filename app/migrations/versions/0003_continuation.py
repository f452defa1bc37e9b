"""Reports that continue others, what keeps a report waiting, and a time to expire for those that had none."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_SECONDS = 30 * 86_400  # the retention that was documented when these reports were made, from now on
_NOW = {
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "extract(epoch from clock_timestamp())",
}


def upgrade() -> None:
    op.add_column("report", sa.Column("continues", sa.Text))
    op.add_column("report", sa.Column("trouble", sa.Text))
    op.execute(f"UPDATE report SET expires_at = {_NOW[op.get_context().dialect.name]} + {_SECONDS}")
