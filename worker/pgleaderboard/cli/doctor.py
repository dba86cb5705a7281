"""`pgleaderboard doctor`: the findings of all checks, and what to do."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from pgleaderboard import logs
from pgleaderboard.cli.console import Verbose, settings_for
from pgleaderboard.errors import NeedsPerson

if TYPE_CHECKING:
    from rich.text import Text

    from pgleaderboard.doctor import Finding
    from pgleaderboard.settings import Settings

commands = typer.Typer()

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@commands.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: ok, and a list of findings.")] = False,
    verbose: Verbose = False,
) -> None:
    """Examine everything a sync rests on. Exit status 1 if there is a problem.

    Example: pgleaderboard doctor
    """
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    results = []
    for finding in _findings(settings_for(verbose)):
        results.append(finding)
        if not as_json:
            console.print(*_drawn(finding, console.width if console.is_terminal else None), sep="\n")
    is_well = all(finding.level != "problem" for finding in results)
    if as_json:
        # `said` is the name that scripts rely on.
        listed = [{"check": f.check, "level": f.level, "said": f.message, "remedy": f.remedy} for f in results]
        typer.echo(json.dumps({"ok": is_well, "findings": listed}, indent=2))
    if not is_well:
        raise typer.Exit(1)


def _findings(settings: Settings) -> Iterator[Finding]:
    from pgleaderboard import app
    from pgleaderboard.doctor import Target, findings
    from pgleaderboard.kaggle.credential import find_credential

    simulated, unreadable = False, None
    try:
        simulated = app.is_simulated(settings, False)
        find_credential(settings)
    except NeedsPerson as error:
        unreadable = str(error)
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(app.database(settings, simulated=simulated))
        client, which = None, ""
        if not unreadable:
            client, which = stack.enter_context(app.kaggle(settings, simulated=simulated))
        yield from findings(
            Target(
                url=database.url,
                direct_url=database.direct_url,
                has_direct_url=settings.direct_url is not None,
                kaggle=client,
                which_kaggle=which,
                credential_problem=which if which == app.NO_CREDENTIAL else unreadable,
                requests_per_minute=0 if simulated else settings.requests_per_minute,
                read_url=database.read_url,
            )
        )


def _drawn(finding: Finding, width: int | None) -> list[Text]:
    """A finding, wrapped beside its level and check; width: of the window in columns, None = not wrapped."""
    from pgleaderboard.screens.table import wrapped

    lead = f"{finding.level:8} {finding.check:11} "
    lines = wrapped(logs.harmless(finding.message), width, lead=lead)
    lines[0].stylize(_STYLES[finding.level], 0, len(finding.level))
    remedy = finding.remedy and wrapped(logs.harmless(finding.remedy), width, lead=f"{'':{len(lead)}}→ ")
    return lines + (remedy or [])
