"""The three requests to Kaggle: a competition's board, its description, and a search."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from typing import IO

import requests

from pgleaderboard.errors import NeedsPerson, Transient
from pgleaderboard.kaggle.credential import Credential
from pgleaderboard.kaggle.errors import FAILURES, explain, no_board, status_of
from pgleaderboard.kaggle.session import Session

_CHUNK = 256 * 1024


@dataclass(frozen=True)
class Description:
    """A competition's facts other than its board. Dates are UTC. is_simulated: whether the simulator invents them."""

    title: str | None
    description: str | None
    enabled_date: datetime | None
    deadline: datetime | None
    evaluation_metric: str | None
    max_daily_submissions: int | None
    category: str | None
    is_simulated: bool


@dataclass(frozen=True)
class Hit:
    """A competition in the result of a search. The deadline is UTC. teams: None if Kaggle does not say."""

    slug: str
    title: str
    deadline: datetime | None
    teams: int | None


@dataclass(eq=False)
class Kaggle:
    """Requests to Kaggle, from any number of threads at once.

    url: base URL. timeout: seconds without a byte after which a request is given up. deadline: seconds for a whole
    request with connecting, TLS, headers, redirects and body. limit: the largest download, in bytes.
    answered: called with the status of each answer, "none" if there was no answer.
    """

    url: str
    credential: Credential | None
    _: KW_ONLY
    timeout: float
    deadline: float
    limit: int
    answered: Callable[[str], object] | None = None
    _idle: list[Session] = field(default_factory=list, init=False)

    @property
    def fingerprint(self) -> str:
        """The credential's fingerprint, empty without a credential."""
        return self.credential.fingerprint if self.credential else ""

    def download_leaderboard(self, slug: str, into: IO[bytes]) -> bool:
        """Write the ZIP of a competition's whole board into an open file. Returns whether the simulator has sent it.

        Raises Transient for what passes by itself, NeedsPerson otherwise; the message says what to do.
        """
        from kagglesdk.competitions.types.competition_api_service import ApiDownloadLeaderboardRequest

        request = ApiDownloadLeaderboardRequest.from_dict({"competitionName": slug})
        with self._session(slug) as session:
            try:
                response: requests.Response = session.call(lambda api: api.download_leaderboard(request))
            except requests.HTTPError as error:
                if error.response is not None and status_of(error.response) == 404 and _exists(session, slug):
                    raise no_board(error.response, slug, session.redact) from error
                raise
            received = 0
            with response:
                for chunk in response.iter_content(_CHUNK):
                    received += len(chunk)
                    if received > self.limit:
                        raise NeedsPerson(
                            f"Kaggle's download for {slug} exceeds {self.limit // 2**20} MB; "
                            "PGLEADERBOARD_MAX_DOWNLOAD_MB allows more"
                        )
                    into.write(chunk)
            if received == 0:
                raise Transient("Kaggle's answer is empty")
            if response.headers.get("Content-Type", "").startswith("text/html"):
                raise Transient("Kaggle answered with a web page instead of a leaderboard; it may be under maintenance")
            return session.is_simulated

    def describe(self, slug: str) -> Description:
        """Request a competition's title, dates and the like. Raises as `download_leaderboard` does."""
        from kagglesdk.competitions.types.competition_api_service import ApiGetCompetitionRequest

        request = ApiGetCompetitionRequest.from_dict({"competitionName": slug})
        with self._session(slug) as session:
            answer = session.call(lambda api: api.get_competition(request))
            return Description(
                title=_text(answer.title),
                description=_text(answer.description),
                enabled_date=_utc(answer.enabled_date),
                deadline=_utc(answer.deadline),
                evaluation_metric=_text(answer.evaluation_metric),
                max_daily_submissions=answer.max_daily_submissions or None,
                category=_text(answer.category),
                is_simulated=session.is_simulated,
            )

    def search(self, text: str) -> tuple[list[Hit], bool]:
        """Request the first page of the competitions that match, in Kaggle's order, those of the community included.

        text: words, or the URL of a competition. Returns them, and whether there are more. Raises as
        `download_leaderboard` does.
        """
        from kagglesdk.competitions.types.competition_api_service import ApiListCompetitionsRequest
        from kagglesdk.competitions.types.competition_enums import CompetitionListTab

        if url := re.search(r"kaggle\.com/(?:competitions|c)/([^/?#\s]+)", text, re.IGNORECASE):
            text = url[1]
        request = ApiListCompetitionsRequest.from_dict({"search": text})
        request.group = CompetitionListTab.COMPETITION_LIST_TAB_EVERYTHING
        with self._session(None) as session:
            answer = session.call(lambda api: api.list_competitions(request))
            hits = [
                Hit(
                    # Kaggle names a competition by its URL here.
                    slug=str(competition.ref or competition.url).rstrip("/").rsplit("/", 1)[-1],
                    title=_text(competition.title) or "",
                    deadline=_utc(competition.deadline),
                    teams=competition.team_count,
                )
                for competition in answer.competitions or ()
            ]
            return hits, bool(answer.next_page_token)

    @contextmanager
    def _session(self, slug: str | None) -> Iterator[Session]:
        """Lend a session for one request under the deadline, and turn its failures into errors for the user.

        slug: the request's competition, None without one.
        """
        if self.credential is None:
            raise NeedsPerson(
                "no Kaggle credential found: set KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, "
                "or put kaggle.json into ~/.kaggle (https://www.kaggle.com/settings, API)"
            )
        try:
            session = self._idle.pop()
        except IndexError:
            session = Session(self.url, self.credential, self.timeout, self.answered)
        try:
            with session.sockets.deadline(self.deadline):
                try:
                    session.sign_in()
                    yield session
                except FAILURES as error:
                    raise explain(error, slug, self.timeout, session.redact, self.credential.about) from error
        except BaseException:
            session.close()
            raise
        self._idle.append(session)


def _exists(session: Session, slug: str) -> bool:
    from kagglesdk.competitions.types.competition_api_service import ApiGetCompetitionRequest

    request = ApiGetCompetitionRequest.from_dict({"competitionName": slug})
    try:
        session.call(lambda api: api.get_competition(request))
    except requests.HTTPError as error:
        if error.response is None or status_of(error.response) != 404:
            raise
        return False
    return True


def _text(value: str | None) -> str | None:
    return value.replace("\0", "\ufffd") if value else None


def _utc(value: datetime | None) -> datetime | None:
    return value.replace(tzinfo=UTC) if value else None
