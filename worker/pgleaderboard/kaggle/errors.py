"""What a failed request to Kaggle means, in words for the user: does it pass by itself, or must a person act?

No message repeats an error's own text, because URLs in it may be signed; only Kaggle's short message, redacted.
"""

from __future__ import annotations

import email.utils
import errno
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError as TransportError

from pgleaderboard.errors import NeedsPerson, PgleaderboardError, Transient

# What a request can raise. ValueError and those after it: the SDK cannot read Kaggle's answer.
FAILURES = (requests.RequestException, TransportError, OSError, ValueError, TypeError, AttributeError, LookupError)

DEFAULT_RETRY_AFTER = timedelta(minutes=1)
MAX_RETRY_AFTER = timedelta(hours=24)  # more is taken for a mistake

Redact = Callable[[str], str]


def explain(error: Exception, slug: str | None, timeout: float, redact: Redact, about: str = "") -> PgleaderboardError:
    """Turn what a request raised into an error for the user.

    slug: the competition, None if the request was not about one. timeout: seconds, as set for the request. about: which
    credential was used.
    """
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Transient("this machine has no space left for the download")
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _explain_status(error.response, slug, redact, about)
    text = str(error)
    no_answer = Transient(f"Kaggle did not answer for {timeout:g} s")
    match error:
        case requests.exceptions.SSLError():
            return Transient(
                "no secure connection to Kaggle: its certificate was not accepted, or TLS broke off; "
                "if this persists, check this machine's clock, proxy and CA certificates"
            )
        case requests.exceptions.Timeout():
            return no_answer
        case requests.exceptions.ChunkedEncodingError() | requests.exceptions.ContentDecodingError():
            return Transient("Kaggle's answer broke off half-way")
        case requests.ConnectionError():
            if "Name or service not known" in text or "NameResolutionError" in text or "getaddrinfo" in text:
                return Transient(
                    f"the name of Kaggle's host cannot be resolved ({_host(error)}); check DNS and network"
                )
            if "refused" in text:
                return Transient(f"the connection to Kaggle was refused ({_host(error)})")
            return no_answer if "timed out" in text else Transient("the connection to Kaggle broke off")
        case requests.TooManyRedirects():
            return Transient("Kaggle redirected too often")
        case requests.RequestException() | TransportError() | OSError():
            return Transient(f"the request to Kaggle failed ({type(error).__name__})")
    return Transient("Kaggle's answer cannot be understood; Kaggle may be under maintenance")


def _explain_status(response: requests.Response, slug: str | None, redact: Redact, about: str) -> PgleaderboardError:
    status = status_of(response)
    message = _message(response, redact)
    pause = retry_after(response.headers.get("Retry-After"))
    if status == 429:
        return Transient(
            "Kaggle asks to slow down (429, too many requests)",
            retry_after=pause or DEFAULT_RETRY_AFTER,  # 0 after a 429 is a mistake, too
            throttled=True,
        )
    if status in (408, 425) or status >= 500:
        return Transient(f"Kaggle failed with status {status}{message}", retry_after=pause)
    if status == 401:
        return NeedsPerson(
            "Kaggle does not accept the credential (401): it may have expired; make a new one"
            + (f" ({about})" if about else "")
        )
    if slug is None:
        return NeedsPerson(f"Kaggle refused the request (status {status}){message}")
    says = f"; Kaggle says{message}" if message else ""
    if status == 403:
        return NeedsPerson(
            f"Kaggle denies access to {slug} (403): check the slug, and accept the rules in a browser at "
            f"https://www.kaggle.com/competitions/{slug}/rules{says}"
        )
    if status == 404:
        return NeedsPerson(f"Kaggle knows no competition {slug} (404): check the slug in its URL{says}")
    return NeedsPerson(f"Kaggle refused the request for {slug} (status {status}){message}")


def no_board(response: requests.Response, slug: str, redact: Redact) -> NeedsPerson:
    """The error where Kaggle answers 404 for the board of a competition that it knows."""
    message = _message(response, redact)
    says = f"; Kaggle says{message}" if message else ""
    return NeedsPerson(f"the competition {slug} exists and has no leaderboard (yet){says}")


def status_of(response: requests.Response) -> int:
    """The HTTP status of an error; Kaggle may send it in the body of a 200."""
    if response.status_code >= 400:
        return response.status_code
    try:
        return int(response.json()["code"])
    except (ValueError, KeyError, TypeError):
        return 500


def retry_after(header: str | None) -> timedelta | None:
    """Read a Retry-After header (RFC 9110, 10.2.3): seconds or a date. None if it is missing or cannot be right."""
    text = (header or "").strip()
    try:
        if text.isdecimal():
            pause = timedelta(seconds=int(text))
        else:
            pause = max(email.utils.parsedate_to_datetime(text) - datetime.now(UTC), timedelta(0))
    except (ValueError, TypeError, OverflowError):
        return None
    return pause if pause <= MAX_RETRY_AFTER else None


def _message(response: requests.Response, redact: Redact) -> str:
    """Kaggle's message, if any, as the end of ours. Redacted before it is cut: half a secret is not recognised."""
    try:
        message = response.json().get("message")
    except (ValueError, AttributeError, requests.RequestException):
        return ""
    return f": {' '.join(redact(str(message)).split())[:200]}" if message else ""


def _host(error: requests.RequestException) -> str:
    url = error.request.url if error.request else None
    return urlsplit(str(url or "")).hostname or "unknown host"
