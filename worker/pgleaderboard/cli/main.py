"""The command line. Exit status: 0 done, 1 a failure with one clear line on stderr, 2 wrong usage."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from psycopg.conninfo import make_conninfo
from rich.console import Console

from pgleaderboard import __version__, app, logs
from pgleaderboard.cli.archive import commands as archives
from pgleaderboard.cli.boards import commands as boards_
from pgleaderboard.cli.console import Verbose, fail, one_line, settings_for
from pgleaderboard.cli.doctor import commands as doctor
from pgleaderboard.database import cluster, migrate
from pgleaderboard.database.connect import parts_of
from pgleaderboard.demo import run_demo
from pgleaderboard.process.supervisor import run_until_signalled
from pgleaderboard.settings import Settings
from pgleaderboard.simulator import Simulator

cli = typer.Typer(
    name="pgleaderboard",
    help="Kaggle leaderboards that keep themselves in sync inside your Postgres.",
    epilog="pgleaderboard --install-completion teaches your shell to complete commands, options and slugs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cli.add_typer(boards_)
cli.add_typer(archives)
cli.add_typer(doctor)
_out = Console(highlight=False, soft_wrap=True)
log = logging.getLogger(__name__)

Simulate = Annotated[
    bool, typer.Option("--simulate", help="Play Kaggle with the built-in simulator: boards are invented.")
]


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a name shows its number
    try:
        cli()
    except OSError as error:
        if {"-v", "--verbose"} & set(sys.argv):
            raise
        typer.echo(f"pgleaderboard: {logs.harmless(error.strerror or str(error))}", err=True)
        sys.exit(1)
    except Exception as error:
        if {"-v", "--verbose"} & set(sys.argv):
            raise
        said = logs.harmless(" ".join(f"{type(error).__name__}: {error}".split()))
        typer.echo(
            f"pgleaderboard: pgleaderboard itself failed: {said}; please report it with what --verbose shows", err=True
        )
        sys.exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        _out.print(f"pgleaderboard {__version__}")
        raise typer.Exit


@cli.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Kaggle leaderboards that keep themselves in sync inside your Postgres."""


@cli.command()
def up(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Also listen on 127.0.0.1:PORT, with a password.")
    ] = None,
    simulate: Simulate = False,
    verbose: Verbose = False,
) -> None:
    """Migrate and sync until Ctrl-C: DATABASE_URL, else an embedded PostgreSQL.

    Example: pgleaderboard up --port 5433
    """
    with one_line(verbose=verbose):
        settings = settings_for(verbose)
        simulated = app.is_simulated(settings, simulate)
        metrics = app.counting(settings)
        with (
            app.database(settings, simulated=simulated, port=port) as found,
            app.kaggle(settings, simulated=simulated, metrics=metrics) as (client, which_kaggle),
        ):
            migrate.migrate(found.direct_url)
            _out.print(found.description, style="bold", markup=False)
            _out.print(which_kaggle, style="bold", markup=False)
            if found.server:
                _out.print(f"connect: {found.server.tcp_url(_name(found)) or found.url}", markup=False)
            _out.print("in another terminal: pgleaderboard psql     stop with Ctrl-C", markup=False)
            supervisor = app.supervisor(settings, found, client, simulated=simulated, metrics=metrics)
            with app.serving(settings, found, client, supervisor, metrics, simulated=simulated):
                asyncio.run(run_until_signalled(supervisor))


def _name(found: app.Database) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(found.url)["dbname"])


@cli.command()
def demo(verbose: Verbose = False) -> None:
    """Show the whole of it in a throwaway database, with invented boards.

    Example: pgleaderboard demo
    """
    with one_line(verbose=verbose):
        settings = settings_for(verbose)
        if not verbose:
            logs.quiet()
        if not run_demo(settings, _out):
            fail("a board is wrong; see above")


@cli.command(name="migrate")
def migrate_(
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL for psql instead.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Apply functions, views and grants anew, though none has changed.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Bring the database to this version. Safe to run twice, and by several at once.

    Example: DATABASE_URL=postgresql://localhost/mine pgleaderboard migrate
    """
    with one_line(verbose=verbose):
        if sql:
            typer.echo(migrate.script(), nl=False)
            return
        settings = settings_for(verbose)
        with app.database(settings, simulated=app.is_simulated(settings, False)) as found:
            changed = migrate.migrate(found.direct_url, report=lambda line: _out.print(line, markup=False), again=again)
            _out.print("migrated" if changed else "nothing to do", markup=False)


@cli.command()
def work(
    once: Annotated[
        bool, typer.Option("--once", help="Sync what is due or wanted, then exit; 1 if any failed.")
    ] = False,
    simulate: Simulate = False,
    verbose: Verbose = False,
) -> None:
    """Sync until SIGTERM or SIGINT: the worker process.

    Example: pgleaderboard work --once
    """
    with one_line(verbose=verbose):
        settings = settings_for(verbose)
        simulated = app.is_simulated(settings, simulate)
        metrics = app.counting(settings)
        with (
            app.database(settings, simulated=simulated) as found,
            app.kaggle(settings, simulated=simulated, metrics=metrics) as (client, which_kaggle),
        ):
            log.info("%s; %s", found.description, which_kaggle)
            supervisor = app.supervisor(settings, found, client, simulated=simulated, metrics=metrics)
            if once:
                asyncio.run(run_until_signalled(supervisor, once=True))
            else:
                with app.serving(settings, found, client, supervisor, metrics, simulated=simulated):
                    asyncio.run(run_until_signalled(supervisor))
        if once and supervisor.failed:
            fail(f"{supervisor.failed} of the syncs failed; see kaggle.sync_status")


@cli.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": ["--help"]}
)
def psql(context: typer.Context) -> None:
    """Open psql on the right database; arguments go to psql, which has a help of its own: -?

    Example: pgleaderboard psql -c 'SELECT * FROM kaggle.sync_status'
    """
    with one_line():
        settings = Settings.load()
        with app.database(settings, simulated=app.is_simulated(settings, False)) as found:
            program = cluster.psql(settings.postgres_bin)
            parts = parts_of(found.direct_url)
            # The password goes by the environment: other users can read a command line.
            environment = os.environ | {"PGPASSWORD": str(parts.pop("password", os.environ.get("PGPASSWORD", "")))}
            # psql answers Ctrl-C itself; its exit status is ours.
            status = subprocess.call([str(program), make_conninfo(**parts), *context.args], env=environment)
    raise typer.Exit(status)


@cli.command()
def url() -> None:
    """Print the URL of the database.

    Example: psql "$(pgleaderboard url)"
    """
    with one_line():
        settings = Settings.load()
        with app.database(settings, simulated=app.is_simulated(settings, False)) as found:
            typer.echo(found.direct_url)


@cli.command()
def simulate(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 = any that is free.")] = 7777,
    boards: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Serve the ZIPs of this folder instead of invented boards."),
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="With --boards: oldest first, one further at each request.")
    ] = False,
    unknown: Annotated[list[str] | None, typer.Option(help="A slug to answer with 404; may be repeated.")] = None,
) -> None:
    """Play Kaggle alone, until Ctrl-C.

    Example: pgleaderboard simulate --boards ./zips & PGLEADERBOARD_KAGGLE_URL=http://127.0.0.1:7777 pgleaderboard work
    """
    with one_line():
        simulator = Simulator(
            host=host,
            port=port,
            boards_dir=boards,
            replay=replay,
            unknown=frozenset(unknown or ()),
            **({} if boards else {"epoch": app.today()}),  # type: ignore[arg-type]
        )
        try:
            simulator.start()
        except OSError as error:
            fail(f"cannot listen on {host}:{port}: {error.strerror}")
        typer.echo(f"PGLEADERBOARD_KAGGLE_URL={simulator.url}")
        sys.stdout.flush()
        stop = threading.Event()
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda *_: stop.set())
        stop.wait()
        simulator.stop()
