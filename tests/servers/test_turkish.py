"""A database in which the capital of i is another letter."""

from __future__ import annotations

import os

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgleaderboard.database import migrate
from tests.support.aliases import Connection
from tests.support.asking import insert, rows, value


def test_a_turkish_database(server_url: str) -> None:
    """Its capital of i is another letter; slugs and names are the same in capitals all the same."""
    name = f"turkish_{os.getpid()}"
    with Connection.connect(server_url, autocommit=True) as admin:
        try:
            admin.execute(
                f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR' "
                "LOCALE 'C'"
            )
        except psycopg.errors.FeatureNotSupported as error:
            pytest.skip(f"this server has no ICU: {error.diag.message_primary}")
        try:
            url = make_conninfo(server_url, dbname=name)
            migrate.migrate(url)
            with Connection.connect(url, autocommit=True) as db:
                assert value(db, "SELECT lower('TITANIC') <> 'titanic'")
                insert(db, "titanic")
                with pytest.raises(psycopg.errors.UniqueViolation):
                    insert(db, "TITANIC")
                assert value(db, "SELECT kaggle.slug_of('HTTPS://KAGGLE.COM/COMPETITIONS/titanic')") == "titanic"
                assert value(db, "SELECT kaggle.find_competition('TITANIC')") == 1
                db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night')")
                assert rows(db, "SELECT outcome FROM kaggle.import_competitions(ARRAY['TITANIC'], 'NIGHT')") == [
                    ("linked",)
                ]
                assert value(db, "SELECT kaggle.username_of('KAGGLE.COM/IRIS')") == "IRIS"
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
