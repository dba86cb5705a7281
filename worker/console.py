"""What all commands share: how a failure is told, and the option that tells more of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, NoReturn

import psycopg
import typer

from worker import logs
from worker.errors import PgleaderboardError

Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log more, and show tracebacks.")]


@contextmanager
def one_line(*, verbose: bool = False) -> Iterator[None]:
    """Turn an error that is for the user into one line on stderr and exit status 1."""
    try:
        yield
    except PgleaderboardError as error:
        if verbose:
            raise
        fail(str(error))
    except psycopg.OperationalError as error:
        if verbose:
            raise
        fail(f"the database is out of reach: {' '.join(str(error).split())}")
    except psycopg.errors.InsufficientPrivilege as error:
        if verbose:
            raise
        fail(f"the database does not allow it to this role: {error.diag.message_primary}")
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def fail(message: str) -> NoReturn:
    """Say one line on stderr and exit with status 1."""
    typer.echo(f"pgleaderboard: {logs.harmless(message)}", err=True)
    raise typer.Exit(1)
