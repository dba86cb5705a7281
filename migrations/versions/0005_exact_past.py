"""Ranks are counted in an index alone; a run knows the direction of its metric; revisions of links never repeat.

The SQL lies beside this file, under the same name.
"""

from worker.migrate import run_sql_beside

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Forward only."""
    run_sql_beside(__file__)
