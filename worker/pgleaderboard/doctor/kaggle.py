"""The check of Kaggle and its credential."""

from __future__ import annotations

from datetime import datetime

from pgleaderboard.database.connect import Connection, value
from pgleaderboard.doctor.finding import Findings, Target, ok, problem, warning
from pgleaderboard.errors import PgleaderboardError, Transient
from pgleaderboard.sync.store import take_grant


def kaggle(target: Target, connection: Connection | None) -> Findings:
    """Which credential, from where, and whether Kaggle accepts it, by one small request of the budget.

    connection: None where no database keeps a budget.
    """
    remedy = "create one at https://www.kaggle.com/settings (API) and set KAGGLE_API_TOKEN"
    if target.credential_problem or target.kaggle is None:
        yield problem("credential", target.credential_problem or "no Kaggle credential found", remedy)
        return
    if connection is not None:
        wake_at = take_grant(connection, target.fingerprint, target.requests_per_minute)
        until: datetime | None = value(
            connection,
            "SELECT blocked_until FROM kaggle_internal.kaggle_budget "
            "WHERE credential = %s AND blocked_until > clock_timestamp()",
            target.fingerprint,
        )
        if until:
            message = f"Kaggle asked for a pause of all requests until {until:%Y-%m-%d %H:%M:%S %Z}"
            remedy = "nothing, it passes; if it comes again, lower PGLEADERBOARD_REQUESTS_PER_MINUTE"
            yield warning("kaggle", message, remedy)
            return
        if wake_at is not None:  # a busy worker has the grants, and so knows whether the credential is valid
            yield ok("kaggle", f"{target.which_kaggle}; no request was made, the worker uses the budget")
            return
    try:
        target.kaggle.search("titanic")
    except Transient as error:
        finding = warning if error.throttled else problem
        message = f"{target.which_kaggle}: {error}"
        yield finding("kaggle", message, "wait, it may pass; or check PGLEADERBOARD_KAGGLE_URL")
    except PgleaderboardError as error:
        yield problem("credential", f"{target.which_kaggle}: {error}", remedy)
    else:
        yield ok("kaggle", f"{target.which_kaggle}; it answers")
