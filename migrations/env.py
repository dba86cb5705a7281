"""What Alembic runs for `pgleaderboard migrate`, and only for that.

`pgleaderboard.database.migrate` holds the connection, the lock and the transaction, and hands over what is needed in
the attributes of Alembic's Config; the plain `alembic` command has none of it, and cannot upgrade.
"""

from alembic import context

given = context.config.attributes

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", output_buffer=given["output"], version_table_schema="kaggle_internal")
else:
    context.configure(connection=given["connection"], version_table_schema="kaggle_internal")

context.run_migrations()
