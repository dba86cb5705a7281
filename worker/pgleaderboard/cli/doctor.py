"""`pgleaderboard doctor`: what is well, what is not, and what to do."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import textwrap
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pgleaderboard import app, logs
from pgleaderboard.cli.console import Verbose, one_line, settings_for
from pgleaderboard.doctor.checks import Finding, Patient, examine
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.kaggle.credential import find_credential
from pgleaderboard.settings import Settings

commands = typer.Typer()

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}
_MARGIN = 21  # columns before what was found


@commands.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: ok, and a list of findings.")] = False,
    verbose: Verbose = False,
) -> None:
    """Examine everything a sync rests on; exit status 1 if there is a problem.

    Example: pgleaderboard doctor
    """
    with one_line(verbose=verbose):
        settings = settings_for(verbose)
        console = Console(highlight=False, soft_wrap=True)
        found = []
        for finding in _findings(settings):
            found.append(finding)
            if not as_json:
                console.print(_shown(finding, console.width if console.is_terminal else None))
        is_well = all(finding.level != "problem" for finding in found)
        if as_json:
            typer.echo(json.dumps({"ok": is_well, "findings": [dataclasses.asdict(each) for each in found]}, indent=2))
    if not is_well:
        raise typer.Exit(1)


def _findings(settings: Settings) -> Iterator[Finding]:
    credential, unreadable = None, None
    try:
        credential = find_credential(settings)
        simulated = app.is_simulated(settings, False)
    except NeedsPerson as error:
        unreadable, simulated = str(error), False
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(app.database(settings, simulated=simulated))
        client, which = None, ""
        if not unreadable:
            client, which = stack.enter_context(app.kaggle(settings, simulated=simulated))
        yield from examine(
            Patient(
                url=found.url,
                direct_url=found.direct_url,
                has_direct_url=settings.direct_url is not None,
                kaggle=client,
                which_kaggle=which,
                credential=credential,
                credential_error=unreadable,
                needs_credential=not simulated and which == app.NO_CREDENTIAL,
                requests_per_minute=0 if simulated else settings.requests_per_minute,
            )
        )


def _shown(finding: Finding, width: int | None) -> Text:
    """One finding, wrapped to so many columns beside its level and check; None = not wrapped."""
    lines = [finding.said, *([f"→ {finding.remedy}"] if finding.remedy else [])]
    if width:
        lines = [
            part for line in lines for part in textwrap.wrap(line, max(30, width - _MARGIN), subsequent_indent="  ")
        ]
    text = Text(f"{finding.level:8} {finding.check:11} ", style="")
    text.stylize(_STYLES[finding.level], 0, len(finding.level))
    return text.append(("\n" + " " * _MARGIN).join(logs.harmless(line) for line in lines))
