"""The catalogue as a reader of \\d+ sees it: comments, names of constraints, search paths, rights."""

from __future__ import annotations

from tests.support.aliases import Connection


def found(db: Connection, query: str) -> list[str]:
    """The one column of a query."""
    return [name for (name,) in db.execute(query)]


def test_every_relation_has_a_comment(db: Connection) -> None:
    """Tables, views and sequences; those that belong to an identity column are described by it."""
    assert (
        found(
            db,
            """
        SELECT c.relname FROM pg_class c
        WHERE c.relnamespace::regnamespace::text LIKE 'kaggle%' AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
          AND obj_description(c.oid, 'pg_class') IS NULL
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'i')
        ORDER BY 1
        """,
        )
        == []
    )


def test_every_column_has_a_comment(db: Connection) -> None:
    """Of tables and of views."""
    assert (
        found(
            db,
            """
        SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace::regnamespace::text LIKE 'kaggle%' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
          AND a.attnum > 0 AND NOT a.attisdropped AND col_description(c.oid, a.attnum) IS NULL
        ORDER BY 1
        """,
        )
        == []
    )


def test_every_function_has_a_comment(db: Connection) -> None:
    """Trigger functions, aggregates and procedures included."""
    assert (
        found(
            db,
            """
        SELECT p.oid::regprocedure::text FROM pg_proc p
        WHERE p.pronamespace::regnamespace::text LIKE 'kaggle%' AND obj_description(p.oid, 'pg_proc') IS NULL ORDER BY 1
        """,
        )
        == []
    )


def test_every_trigger_has_a_comment(db: Connection) -> None:
    """Those of foreign keys are PostgreSQL's own."""
    assert (
        found(
            db,
            """
        SELECT t.tgrelid::regclass || ': ' || t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE c.relnamespace::regnamespace::text LIKE 'kaggle%' AND NOT t.tgisinternal
          AND obj_description(t.oid, 'pg_trigger') IS NULL
        ORDER BY 1
        """,
        )
        == []
    )


def test_the_schema_and_its_types_have_comments(db: Connection) -> None:
    """Row types are described by their tables."""
    assert (
        found(
            db,
            """
        SELECT n.nspname FROM pg_namespace n
        WHERE n.nspname IN ('kaggle', 'kaggle_internal') AND obj_description(n.oid, 'pg_namespace') IS NULL
        UNION ALL
        SELECT t.typname FROM pg_type t
        WHERE t.typnamespace::regnamespace::text LIKE 'kaggle%' AND t.typrelid = 0 AND t.typcategory <> 'A'
          AND obj_description(t.oid, 'pg_type') IS NULL
        """,
        )
        == []
    )


def test_every_constraint_states_its_rule(db: Connection) -> None:
    """No name but a primary key's has the form that PostgreSQL would give; NOT NULL needs none."""
    assert (
        found(
            db,
            """
        SELECT c.conrelid::regclass || ': ' || c.conname FROM pg_constraint c
        WHERE c.connamespace::regnamespace::text LIKE 'kaggle%' AND c.contype NOT IN ('p', 'n')
          AND c.conname ~ '_(check|key|fkey|excl)[0-9]*$'
        ORDER BY 1
        """,
        )
        == []
    )


def test_every_function_pins_its_search_path(db: Connection) -> None:
    """Ending in pg_temp, so that nobody's temporary table stands before ours; SECURITY DEFINER above all.

    A function whose body was parsed when it was created looks up no names later.
    """
    assert (
        found(
            db,
            """
        SELECT p.oid::regprocedure || CASE WHEN p.prosecdef THEN ' SECURITY DEFINER' ELSE '' END FROM pg_proc p
        WHERE p.pronamespace::regnamespace::text LIKE 'kaggle%' AND p.prosqlbody IS NULL
          AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS setting
                          WHERE setting ~ '^search_path=([a-z_]+, )+pg_temp$')
        ORDER BY 1
        """,
        )
        == []
    )


def test_no_search_path_holds_a_schema_that_others_may_write_to(db: Connection) -> None:
    """Neither public nor "$user", and pg_temp only at the end."""
    assert (
        found(
            db,
            r"""
        SELECT p.oid::regprocedure::text FROM pg_proc p, unnest(p.proconfig) AS setting
        WHERE p.pronamespace::regnamespace::text LIKE 'kaggle%' AND setting ~ '^search_path='
          AND (setting ~ '\m(public|user)\M' OR setting ~ 'pg_temp.')
        ORDER BY 1
        """,
        )
        == []
    )


def test_public_is_granted_nothing_in_the_schema(db: Connection) -> None:
    """No table, view, sequence or column, nor the schemas themselves; the queue's neither."""
    assert (
        found(
            db,
            """
        SELECT what || ' ' || privilege_type FROM (
            SELECT c.oid::regclass::text AS what,
                   coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))
            FROM pg_class c
            WHERE c.relnamespace::regnamespace::text IN ('kaggle', 'kaggle_internal', 'procrastinate')
              AND c.relkind IN ('r', 'v', 'm', 'S')
            UNION ALL
            SELECT a.attrelid::regclass || '.' || a.attname, a.attacl FROM pg_attribute a
            JOIN pg_class c ON c.oid = a.attrelid
            WHERE c.relnamespace::regnamespace::text LIKE 'kaggle%' AND a.attacl IS NOT NULL
            UNION ALL
            SELECT n.nspname::text, coalesce(n.nspacl, acldefault('n', n.nspowner)) FROM pg_namespace n
            WHERE n.nspname IN ('kaggle', 'kaggle_internal', 'procrastinate')
        ) AS rights (what, acl), aclexplode(acl) WHERE grantee = 0
        ORDER BY 1
        """,
        )
        == []
    )


def test_public_may_call_no_function_of_the_schema(db: Connection) -> None:
    """PostgreSQL lets PUBLIC execute every new function: that is taken back."""
    assert (
        found(
            db,
            """
        SELECT p.oid::regprocedure::text
        FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner)))
        WHERE p.pronamespace::regnamespace::text LIKE 'kaggle%' AND grantee = 0
        ORDER BY 1
        """,
        )
        == []
    )
