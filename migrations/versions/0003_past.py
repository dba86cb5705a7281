"""Indexes that find the past: what held at a moment, a user's teams, the run a board was confirmed by.

The SQL lies beside this file, under the same name.
"""

from worker.migrate import run_sql_beside

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Forward only."""
    run_sql_beside(__file__)
