"""The tables of schema kaggle.

The SQL lies beside this file, under the same name.
"""

from pgleaderboard.database.migrate import run_sql_beside

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Forward only."""
    run_sql_beside(__file__)
