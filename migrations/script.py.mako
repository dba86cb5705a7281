"""${message}.

The SQL lies beside this file, under the same name.
"""

from worker.migrate import run_sql_beside

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Forward only."""
    run_sql_beside(__file__)
