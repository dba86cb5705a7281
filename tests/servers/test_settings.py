"""What an administrator may set for a database, a setting at a time: the job is done, and every command answers."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.aliases import Connection, MakeWorker
from tests.support.faults import Simulator
from tests.support.settings import check_job

SETTINGS = [
    ("IntervalStyle", "iso_8601"),
    ("IntervalStyle", "sql_standard"),
    ("DateStyle", "German"),
    ("DateStyle", "SQL, DMY"),
    ("TimeZone", "Asia/Kathmandu"),
    ("client_encoding", "LATIN1"),
    ("client_encoding", "SQL_ASCII"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_isolation", "repeatable read"),
    ("default_transaction_read_only", "on"),
    ("default_transaction_deferrable", "on"),
    ("transaction_timeout", "150ms"),
    ("statement_timeout", "150ms"),
    ("lock_timeout", "1ms"),
    ("idle_in_transaction_session_timeout", "50ms"),
    ("idle_session_timeout", "2s"),
    ("row_security", "off"),
    ("search_path", "pg_temp"),
    ("search_path", "nowhere"),
    ("lc_messages", "de_DE.UTF-8"),
    ("standard_conforming_strings", "off"),
    ("bytea_output", "escape"),
    ("extra_float_digits", "-15"),
    ("array_nulls", "off"),
    ("transform_null_equals", "on"),
    ("quote_all_identifiers", "on"),
    ("enable_indexscan", "off"),
    ("plan_cache_mode", "force_generic_plan"),
]


@pytest.mark.parametrize(("name", "chosen"), SETTINGS, ids=[f"{name} = {chosen}" for name, chosen in SETTINGS])
def test_a_setting(url: str, name: str, chosen: str, db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """It is set for the database, beside a session of the user's from before."""
    try:
        db.execute(f"SET {name} = '{chosen}'; RESET {name}")
    except psycopg.Error as error:
        pytest.skip(f"this server refuses it: {error.diag.message_primary}")
    check_job(url, {name: chosen}, db, worker, simulator)
