"""Participants, their registration for events, and the indexes that find them on the boards.

The SQL lies beside this file, under the same name.
"""

from worker.migrate import run_sql_beside

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Forward only."""
    run_sql_beside(__file__)
