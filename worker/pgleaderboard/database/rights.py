"""The rights of a worker's role, and the role of those who only read."""

from __future__ import annotations

from pgleaderboard.database.connect import Connection, column, value
from pgleaderboard.errors import NeedsPerson

_TEMPORARY = "temporary tables"


def missing(connection: Connection) -> list[str]:
    """Name what the connection's role may not use though a worker needs it."""
    return column(
        connection,
        """
        SELECT format('%%s.%%s', relnamespace::regnamespace, relname) FROM pg_class
        WHERE relnamespace::regnamespace::text IN ('kaggle', 'kaggle_internal', 'procrastinate')
          AND relkind = 'r' AND relname NOT IN ('sync_condition', 'applied_files')
          AND NOT (has_schema_privilege(relnamespace, 'USAGE') AND has_table_privilege(oid, 'SELECT')
               AND has_table_privilege(oid, 'INSERT') AND has_table_privilege(oid, 'UPDATE')
               AND has_table_privilege(oid, 'DELETE'))
        UNION ALL
        SELECT %s WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
        UNION ALL
        SELECT 'the functions of kaggle'
        WHERE EXISTS (SELECT FROM pg_proc p WHERE p.proname = 'sweep' AND NOT has_function_privilege(p.oid, 'EXECUTE')
                         AND p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'kaggle_internal'))
        ORDER BY 1
        """,
        _TEMPORARY,
    )


def lacking(connection: Connection, names: list[str]) -> str:
    """The sentence that says which rights are missing."""
    more = f" and {len(names) - 3} more" if names[3:] else ""
    return f'role "{connection.info.user}" may not use {", ".join(names[:3])}{more}'


def remedy(connection: Connection, names: list[str]) -> str:
    """What the owner runs so that the role may."""
    role, database = connection.info.user, connection.info.dbname
    if names == [_TEMPORARY]:
        return f'have the owner run GRANT TEMPORARY ON DATABASE "{database}" TO "{role}"'
    return f'have the owner run GRANT pgleaderboard_worker TO "{role}"'


def check(connection: Connection) -> None:
    """Return if the connection's role has the rights of a worker. Raises NeedsPerson with what is missing."""
    if names := missing(connection):
        raise NeedsPerson(f"{lacking(connection, names)}: {remedy(connection, names)}")


def reader_role(connection: Connection) -> str | None:
    """The role that sees boards and nothing else, if the connection's role may become it."""
    # Since PostgreSQL 16 whoever made a role is its member, yet may not become it.
    right = "SET" if connection.info.server_version >= 160000 else "MEMBER"
    name: str | None = value(
        connection,
        "SELECT rolname FROM pg_roles WHERE rolname = 'pgleaderboard_reader' AND pg_has_role(oid, %s)",
        right,
    )
    return name
