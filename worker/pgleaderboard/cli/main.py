"""The command line. Exit status: 0 done, 1 a failure with one clear line on stderr, 2 wrong usage.

A command imports what it needs when it runs, so that `--help` and completion answer at once.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pgleaderboard import __version__, logs
from pgleaderboard.cli import archive, boards, doctor, events, page, participants, plot, seasons, syncs
from pgleaderboard.cli.console import Verbose, errors_in_one_line, fail, is_verbose, say, settings_for


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        with errors_in_one_line():
            return super().invoke(ctx)


cli = typer.Typer(
    rich_markup_mode=None,  # rich would take a third of a second to be imported
    name="pgleaderboard",
    cls=_Commands,
    help="Kaggle leaderboards that keep themselves in sync inside your Postgres.",
    epilog="pgleaderboard --install-completion teaches your shell to complete commands, options and slugs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (boards, plot, seasons, syncs, archive, participants, events, page, doctor):
    cli.add_typer(module.commands)
log = logging.getLogger(__name__)

Simulate = Annotated[
    bool, typer.Option("--simulate", help="Use the built-in simulator of Kaggle: boards are invented.")
]


def main() -> None:
    """Run the command line."""
    if sys.platform == "win32":
        sys.exit("pgleaderboard: Windows is not supported; run it in WSL (https://aka.ms/wsl)")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a name shows its number
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "true")  # it would search all installed packages for them
    try:
        cli()
    except Exception as error:
        if is_verbose():
            raise
        message = " ".join(f"pgleaderboard itself failed: {type(error).__name__}: {error}".split())
        if isinstance(error, OSError):
            message = error.strerror or str(error)
        else:
            message += "; please report it with the output of --verbose"
        typer.echo(f"pgleaderboard: {logs.harmless(message)}", err=True)
        sys.exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"pgleaderboard {__version__}")
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
    no_page: Annotated[bool, typer.Option("--no-page", help="Without the live page.")] = False,
    verbose: Verbose = False,
) -> None:
    """Migrate and sync until Ctrl-C. DATABASE_URL, else an embedded PostgreSQL.

    Example: pgleaderboard up --port 5433
    """
    from pgleaderboard import app
    from pgleaderboard.database.migrate import applies, migrate
    from pgleaderboard.screens.table import counted

    settings = settings_for(verbose)
    with app.worker(settings, simulate=simulate, port=port) as worker:
        files: list[str] = []
        if migrate(worker.database.direct_url, report=lambda line: (files.append if applies(line) else say)(line)):
            say(f"migrated to {__version__} ({counted(len(files), 'file')})")
        for line in (worker.database.description, worker.which_kaggle):
            typer.secho(logs.harmless(line), bold=True)
        if worker.database.server:
            say(f"connect: {worker.database.tcp_url or worker.database.url}")
        psql = f"{_program()} psql"
        if worker.database.url != app.reachable_url(settings):  # --simulate, though there is a credential
            psql = f"DATABASE_URL={shlex.quote(worker.database.url)} {psql}"
        say(f"in another terminal: {psql}     Ctrl-C to quit")
        with nullcontext() if no_page else page.beside(worker.database):
            worker.run()


def _program() -> str:
    """What a user types to run this program: its name where PATH has it, else the path from here."""
    name = Path(sys.argv[0])
    if name.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m pgleaderboard"
    on_path = shutil.which(name.name)
    if on_path and Path(on_path).resolve() == name.resolve():
        return name.name
    return shlex.quote(os.path.relpath(name) if name.is_relative_to(Path.cwd()) else str(name))


@cli.command()
def demo(verbose: Verbose = False) -> None:
    """Show all of it in a throwaway database, with invented boards.

    Example: pgleaderboard demo
    """
    from rich.console import Console

    from pgleaderboard.demo import run_demo

    settings = settings_for(verbose)
    if not verbose:
        logs.quiet()
    if not run_demo(settings, Console(highlight=False, soft_wrap=True)):
        fail("a board is wrong; see above")


@cli.command(name="migrate")
def migrate_(
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL for psql instead.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Apply all functions, views and grants, changed or not.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Bring the database to this version. Safe to run twice, and by several at once.

    Example: DATABASE_URL=postgresql://localhost/mine pgleaderboard migrate
    """
    from pgleaderboard.database import migrate

    if sql:
        typer.echo(migrate.script(), nl=False)
        return
    from pgleaderboard import app

    with app.database(settings_for(verbose)) as database:
        changed = migrate.migrate(database.direct_url, report=say, again=again)
        say("migrated" if changed else "nothing to do")


@cli.command()
def work(
    once: Annotated[
        bool, typer.Option("--once", help="Sync what is due or requested, then exit; 1 if a sync failed.")
    ] = False,
    simulate: Simulate = False,
    verbose: Verbose = False,
) -> None:
    """Sync until SIGTERM or SIGINT: the worker process.

    Example: pgleaderboard work --once
    """
    from pgleaderboard import app

    with app.worker(settings_for(verbose), simulate=simulate, once=once) as worker:
        log.info("%s; %s", worker.database.description, worker.which_kaggle)
        worker.run(once=once)
    if once and worker.supervisor.failed:
        fail(f"{worker.supervisor.failed} of the syncs failed; see kaggle.sync_status")


@cli.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": ["--help"]}
)
def psql(context: typer.Context) -> None:
    """Open psql on the right database. Arguments go to psql, whose own help is -?

    Example: pgleaderboard psql -c 'SELECT * FROM kaggle.sync_status'
    """
    from pgleaderboard import app
    from pgleaderboard.database import cluster
    from pgleaderboard.database.connect import without_password

    settings = settings_for(False)
    with app.database(settings) as database:
        program = cluster.psql(settings.postgres_bin, own=database.server is not None)
        dsn, password = without_password(database.direct_url)
        # The password goes by the environment: other users can read a command line.
        environment = os.environ | ({"PGPASSWORD": password} if password else {})
        command = [str(program), dsn, *context.args]
        if database.server is None:
            os.execve(program, command, environment)  # noqa: S606 - psql is the program
        # Afterwards the embedded server is stopped. psql answers Ctrl-C itself; its exit status is ours.
        signal.signal(signal.SIGINT, lambda *_: None)
        status = subprocess.call(command, env=environment)
    raise typer.Exit(status)


@cli.command()
def url() -> None:
    """Print the URL of the database.

    Example: psql "$(pgleaderboard url)"
    """
    from pgleaderboard import app

    with app.database(settings_for(False)) as database:
        typer.echo(database.direct_url)


@cli.command()
def simulate(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 = any free one.")] = 7777,
) -> None:
    """Run only the simulator, until Ctrl-C.

    Example: pgleaderboard simulate & PGLEADERBOARD_KAGGLE_URL=http://127.0.0.1:7777 pgleaderboard work
    """
    from pgleaderboard.simulator.server import Simulator

    simulator = Simulator(host=host, port=port)
    signals = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # in the simulator's threads, too
    try:
        simulator.start()
    except OSError as error:
        fail(f"cannot listen on {host}:{port}: {error.strerror}")
    print(f"PGLEADERBOARD_KAGGLE_URL={simulator.url}", flush=True)
    signal.sigwait(signals)
    simulator.stop()
