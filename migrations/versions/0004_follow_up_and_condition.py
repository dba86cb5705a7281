"""A completed competition is asked again for a while; a condition of one's own for automatic syncs.

The SQL lies beside this file, under the same name.
"""

from worker.migrate import run_sql_beside

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Forward only."""
    run_sql_beside(__file__)
