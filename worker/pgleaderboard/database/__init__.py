"""PostgreSQL: how it is reached, migrated, embedded and left again."""
