"""Which workers are alive, as kaggle.workers says."""

from __future__ import annotations

import pytest

from tests.support.aliases import Connect, Connection
from tests.support.asking import eventually, rows, value

REGISTER = "SELECT kaggle_internal.register_worker('test', 'credential')"


@pytest.mark.parametrize(
    ("heartbeat", "is_connected", "is_alive"),
    [("0 s", True, True), ("31 s", True, False), ("0 s", False, False), ("1 day", False, False)],
)
def test_a_worker_is_alive_while_it_is_connected_and_says_so(
    db: Connection, connect: Connect, heartbeat: str, is_connected: bool, is_alive: bool
) -> None:
    """A frozen one is connected and silent; one that was killed is gone at once. Another one proves nothing for it."""
    session = connect()
    worker_id = value(session, REGISTER)
    session.commit()
    other = value(db, REGISTER)
    age = "UPDATE kaggle_internal.worker_processes SET seen_at = now() - %s::interval WHERE id = %s"
    db.execute(age, (heartbeat, worker_id))
    if not is_connected:
        session.close()
        sessions = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        eventually(db, 0, sessions + " AND backend_type = 'client backend'")
    alive = [worker_id, other] if is_alive else [other]
    assert rows(db, "SELECT worker_id FROM kaggle.workers ORDER BY 1") == [(each,) for each in alive]
