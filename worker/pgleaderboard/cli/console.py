"""What all commands share: options, settings, sessions, errors in one line, and progress."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from pgleaderboard import logs
from pgleaderboard.errors import PgleaderboardError

# A command imports what it needs when it runs: `--help` and completion answer at once.
if TYPE_CHECKING:
    from psycopg.errors import Diagnostic
    from rich.console import Console

    from pgleaderboard.database.connect import Connection
    from pgleaderboard.reading.standby import Server
    from pgleaderboard.settings import Settings


def _complete(listing: str) -> Callable[[str], list[str]]:
    """Completion by a function of reading.names; nothing where the database does not answer at once."""

    def words(incomplete: str) -> list[str]:
        from pgleaderboard import app
        from pgleaderboard.database.connect import DatabaseError, connect
        from pgleaderboard.reading import names
        from pgleaderboard.settings import Settings

        with contextlib.suppress(DatabaseError, PgleaderboardError, OSError):
            settings = Settings.load()
            url = settings.read_url.get_secret_value() if settings.read_url else app.reachable_url(settings)
            if url is not None:
                with connect(url, connect_timeout=2, reads=True) as connection:
                    known = getattr(names, listing)(connection)
                    return [word for word in known if word.lower().startswith(incomplete.lower())]
        return []

    return words


complete_slug, complete_event, complete_person = _complete("slugs"), _complete("event_slugs"), _complete("usernames")


def without_blanks(words: list[str] | None) -> list[str] | None:
    """The arguments that say something: `$(cat FILE)` makes one of each line end that Windows writes."""
    from pgleaderboard.reading.names import trimmed

    said = [word for word in words or () if trimmed(word)]
    if words and not said:
        raise typer.BadParameter("only blanks were given")
    return said


Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log more, and show tracebacks.")]
Slug = Annotated[str, typer.Argument(help="The competition's slug, as in its URL.", autocompletion=complete_slug)]
Slugs = Annotated[
    list[str], typer.Argument(help="Slugs of competitions.", autocompletion=complete_slug, callback=without_blanks)
]


def settings_for(verbose: bool) -> Settings:
    """The settings, and logging by them and --verbose."""
    from pgleaderboard.settings import Settings

    settings = Settings.load()
    logs.configure(settings.log_format, verbose=verbose)
    return settings


@contextmanager
def session(verbose: bool, *, direct: bool = False, check: bool = False) -> Iterator[Connection]:
    """A connection to the right database.

    direct: past a pooler, for long statements and sessions. check: refuse a database of another version.
    """
    from pgleaderboard import app
    from pgleaderboard.database.connect import connect
    from pgleaderboard.reading.asking import in_words

    with (
        app.database(settings_for(verbose)) as database,
        connect(database.direct_url if direct else database.url) as connection,
        in_words(connection),
    ):
        if check:
            from pgleaderboard.database import release

            release.check(connection)
        yield connection


@contextmanager
def reading(verbose: bool, *, direct: bool = False) -> Iterator[Server]:
    """The server that readers ask: that of PGLEADERBOARD_READ_URL, else of DATABASE_URL. direct: past its pooler."""
    from pgleaderboard import app
    from pgleaderboard.database.connect import connect
    from pgleaderboard.reading.standby import Server, either

    with app.database(settings_for(verbose)) as database:
        url = database.direct_url if direct else database.url
        read_url = database.read_url
        server = Server(lambda: connect(read_url, reads=True) if read_url else either(url))
        with contextlib.closing(server):
            yield server


def is_verbose() -> bool:
    """Whether an error is shown with its traceback."""
    return logging.getLogger("pgleaderboard").isEnabledFor(logging.DEBUG)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn an error that a user can cause into one line on stderr and exit status 1, unless --verbose is given."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except typer.Exit:
        raise
    except Exception as error:
        message = _explained(error)
        if message is None or is_verbose():
            raise
        fail(message)


def _explained(error: Exception) -> str | None:
    """The line for a user; None for a fault of ours."""
    if isinstance(error, PgleaderboardError):
        return str(error)
    from pgleaderboard.database.connect import DatabaseError, explained

    if not isinstance(error, DatabaseError):
        return None
    return str(explained(error))


def show_notices(connection: Connection) -> None:
    """Show the database's notices on stderr, e.g. that no worker is running; the same one once."""
    shown: set[str] = set()

    def show(notice: Diagnostic) -> None:
        line = f"{notice.severity}: {notice.message_primary}"
        if line not in shown:
            typer.echo(line, err=True)
        shown.add(line)

    connection.add_notice_handler(show)


def fail(message: str) -> NoReturn:
    """Print one line on stderr and exit with status 1."""
    typer.echo(f"pgleaderboard: {logs.harmless(message)}", err=True)
    raise typer.Exit(1)


def say(line: str) -> None:
    """Print one line on stdout, with control characters escaped."""
    print(logs.harmless(line), flush=True)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr, where that is a terminal. Yields a function that adds steps to come and steps done."""
    if not sys.stderr.isatty():
        yield lambda more, done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Lines on stdout go above the bar; those into a file stay there.
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task(what, total=0)
        yield lambda more, done: bar.update(task, total=(bar.tasks[0].total or 0) + more, advance=done)


def screen() -> Console:
    """Stdout, with colours only on a terminal and without NO_COLOR."""
    from rich.console import Console

    console = Console(highlight=False, emoji=False, markup=False)
    return Console(highlight=False, emoji=False, markup=False, color_system=None) if console.no_color else console
