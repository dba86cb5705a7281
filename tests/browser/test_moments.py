"""The past on the page, and people, as whoever asks by HTTP meets them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache

import pytest
import requests

from tests.support.aliases import Connection
from tests.support.boards import Entry, teams, zip_of
from tests.support.page import serving
from tests.support.syncs import Syncs

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)
Get = Callable[..., requests.Response]


@pytest.fixture
def get(url: str) -> Iterator[Get]:
    """Asks the page of the test's database, which is served from the first question on; redirects are not followed."""
    with ExitStack() as stack, requests.Session() as session:

        @cache
        def address() -> str:
            return stack.enter_context(serving(url))

        yield lambda path, **headers: session.get(address() + path, allow_redirects=False, headers=headers, timeout=30)


def freeze(db: Connection, at: datetime | None) -> None:
    """An event of all competitions is frozen at a moment."""
    db.execute("INSERT INTO kaggle.events (slug, title, frozen_at) VALUES ('night', 'Night', %s)", (at,))
    db.execute("INSERT INTO kaggle.event_competitions SELECT e.id, c.id FROM kaggle.events e, kaggle.competitions c")


def order(html: str) -> list[str]:
    """The teams of the board that is shown."""
    return re.findall(r"<bdi>(team \d+)</bdi></a>\n", html)


def three(syncs: Syncs) -> list[int]:
    """Three boards, six, four and two hours ago. Returns the runs."""
    return [
        syncs.sync_at(NOW - 6 * HOUR, zip_of(teams(1, 2, 3))),
        syncs.sync_at(NOW - 4 * HOUR, zip_of(teams(2, 1, 3))),
        syncs.sync_at(NOW - 2 * HOUR, zip_of(teams(4, 2, 1))),
    ]


def written(at: datetime) -> str:
    """A moment as an address has it."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def test_a_moment_leads_to_the_board_that_held(syncs: Syncs, get: Get) -> None:
    """Times, with and without seconds, dates and steps lead to the run; unchanged boards in between do not count."""
    first, second, third = three(syncs)
    syncs.sync_at(NOW - HOUR, zip_of(teams(4, 2, 1)))
    here = "/c/a-board/at/"
    for asked, run in (
        (written(NOW - 5 * HOUR), first),
        (f"{NOW - 4 * HOUR + timedelta(minutes=1):%Y-%m-%dT%H:%M}", second),
        (written(NOW - timedelta(minutes=1)), third),
        ("?step=2", second),
        ("?step=99", third),
        ("?step=-1", first),
        ("", third),
    ):
        answer = get((here.removesuffix("/") if asked.startswith("?") or not asked else here) + asked)
        assert (answer.status_code, answer.headers["location"]) == (302, f"{here}{run}"), asked
    assert get(f"/c/a-board/at?moment={written(NOW - 5 * HOUR)}").status_code == 302
    answers = [get(f"{here}{run}") for run in (first, second, third)]
    assert [order(answer.text) for answer in answers] == [
        ["team 1", "team 2", "team 3"],
        ["team 2", "team 1", "team 3"],
        ["team 4", "team 2", "team 1"],
    ]
    assert 'aria-current="true"' in get(f"{here}{first}?team=3").text
    again = get(f"{here}{first}", **{"If-None-Match": answers[0].headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    ("asked", "status", "said", "instead"),
    [
        ("yesterday", 400, "yesterday is not a moment; write it like 2026-08-10T12:30:00Z.", 2),
        ("2026-02-30", 400, "2026-02-30 is not a moment; write it like 2026-08-10T12:30:00Z.", 2),
        ("2020-01-01", 404, "The known history begins at", 0),
        ("2999-01-01", 404, "2999-01-01 00:00 UTC lies ahead.", 2),
        ("987654", 404, "Run 987654 did not change the board, is not shown, or is not kept.", 2),
        ("9" * 40, 400, "is not a moment", 2),
    ],
)
def test_a_moment_that_is_not_there_offers_the_nearest(
    syncs: Syncs, get: Get, asked: str, status: int, said: str, instead: int
) -> None:
    """One sentence, and the nearest right address."""
    runs = three(syncs)
    answer = get(f"/c/a-board/at/{asked}")
    assert answer.status_code == status
    assert said in answer.text
    assert f'href="/c/a-board/at/{runs[instead]}"' in answer.text


def test_nothing_of_the_past_lies_behind_a_freeze(syncs: Syncs, db: Connection, get: Get) -> None:
    """Neither later runs and moments, nor teams, movers, charts and people tell what came after the freeze."""
    db.execute("INSERT INTO kaggle.participants VALUES ('user4', 'Late'), ('user1', 'Early')")
    first, second, third = three(syncs)
    freeze(db, NOW - 3 * HOUR)
    assert order(get("/c/a-board").text) == ["team 2", "team 1", "team 3"]
    assert get("/c/a-board/at").headers["location"] == f"/c/a-board/at/{second}"
    assert get(f"/c/a-board/at/{third}").status_code == 404
    later = get(f"/c/a-board/at/{written(NOW - HOUR)}")
    assert (later.status_code, "lies behind the freeze." in later.text) == (404, True)
    assert get("/c/a-board/teams/4").status_code == 404
    assert get("/c/a-board/chart?teams=4").status_code == 404
    for path in ("/c/a-board/chart", "/c/a-board/teams/3", "/c/a-board/movers?since=7d", f"/c/a-board/at/{first}"):
        answer = get(path)
        assert answer.status_code == 200, path
        assert "team 4" not in answer.text, path
        assert f"{NOW - 2 * HOUR:%Y-%m-%d %H:%M} UTC" not in answer.text, path
    assert "No longer on the board" not in get("/c/a-board/teams/3").text
    assert "2 teams moved" in get("/c/a-board/movers").text
    assert "On no board" in get("/people/user4").text
    assert "<small>of 3</small>" in get("/people/user1").text
    assert get("/c/a-board/movers?since=" + written(NOW - HOUR)).status_code == 404


def test_the_private_board_shakes_up(syncs: Syncs, get: Get) -> None:
    """From the public to the private rank; the slider ends in the private board."""
    three(syncs)
    private = syncs.sync_at(NOW - HOUR, zip_of(teams(1, 4, 2), kind="private"))
    assert re.findall(r'<td class="rank">(\S+)</td><td class="rank">(\S+)</td>', get("/c/a-board/shakeup").text) == [
        ("1", "3"),
        ("2", "1"),
        ("3", "2"),
    ]
    assert "Shake-up" in get("/c/a-board").text
    assert get("/c/a-board/at").headers["location"] == f"/c/a-board/at/{private}"


@pytest.mark.parametrize("minutes", [30, 90])
def test_a_frozen_shake_up_tells_nothing_newer(syncs: Syncs, db: Connection, get: Get, minutes: int) -> None:
    """Neither a private board of after the freeze, nor how one was scored anew."""
    three(syncs)
    syncs.sync_at(NOW - HOUR, zip_of(teams(1, 4, 2), kind="private"))
    syncs.sync_at(NOW - timedelta(minutes=20), zip_of(teams(4, 1, 2), kind="private"))
    freeze(db, NOW - timedelta(minutes=minutes))
    answer = get("/c/a-board/shakeup")
    if minutes == 30:
        assert re.findall(r"<bdi>(team \d+)", answer.text) == ["team 1", "team 4", "team 2"]
    else:
        assert (answer.status_code, "There is no private board yet." in answer.text) == (404, True)
        assert "Shake-up" not in get("/c/a-board").text


def test_what_was_pruned_is_said_to_be(syncs: Syncs, db: Connection, get: Get) -> None:
    """The history begins where it is kept from: with the board that held then."""
    first, second, third = three(syncs)
    db.execute("SELECT kaggle.prune_history(interval '3 hours')")
    assert get(f"/c/a-board/at/{first}").status_code == 404
    refused = get(f"/c/a-board/at/{written(NOW - 5 * HOUR)}")
    assert (refused.status_code, "The known history begins at" in refused.text) == (404, True)
    assert order(get(f"/c/a-board/at/{second}").text) == ["team 2", "team 1", "team 3"]
    assert order(get(f"/c/a-board/at/{third}").text) == ["team 4", "team 2", "team 1"]
    assert get("/c/a-board/movers?since=7d").status_code == 200
    assert get("/c/a-board/teams/2").status_code == 200


def test_a_kept_page_of_the_past_follows_what_it_is_compared_with(syncs: Syncs, db: Connection, url: str) -> None:
    """Movement is counted from the first board that is known: after pruning that is another one."""
    run = three(syncs)[2]
    with serving(url) as address, requests.Session() as session:
        past = f"{address}/c/a-board/at/{run}"
        assert "down</span> 2" in session.get(past, timeout=30).text
        watched = f"{address}/live/c/a-board"
        with session.get(watched, stream=True, headers={"Accept-Encoding": "identity"}, timeout=30) as stream:
            lines = stream.iter_lines(chunk_size=1, decode_unicode=True)
            next(line for line in lines if "team 4" in line)
            db.execute("SELECT kaggle.prune_history(interval '3 hours')")
            syncs.sync(zip_of(teams(9)))
            next(line for line in lines if "team 9" in line)
        later = session.get(past, timeout=30).text
    assert "down</span> 1" in later
    assert "down</span> 2" not in later


def test_a_team_has_a_page_if_it_was_ever_there(syncs: Syncs, get: Get) -> None:
    """Also one that is gone; no other."""
    three(syncs)
    gone = get("/c/a-board/teams/3")
    assert gone.status_code == 200
    assert "No longer on the board, since" in gone.text
    assert re.search(r"Last rank</dt><dd>3 <small>of 3", gone.text)
    for team in ("99", "x", "0", "9" * 40, "1.5"):
        answer = get(f"/c/a-board/teams/{team}")
        assert (answer.status_code, f"Team {team} was never on this board." in answer.text) == (404, True)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("teams=1,2", 200),
        ("teams=1,2&of=score", 200),
        ("teams=", 200),
        ("teams=1,x", 400),
        ("teams=" + ",".join(map(str, range(1, 12))), 400),
        ("of=colour", 400),
        ("teams=77", 404),
        ("add=nobody", 404),
        ("add=team+3", 302),
    ],
)
def test_a_chart_takes_up_to_ten_teams(syncs: Syncs, get: Get, query: str, status: int) -> None:
    """Anything else is refused in a sentence, with a right address."""
    syncs.sync(zip_of(teams(1, 2, 3)))
    answer = get("/c/a-board/chart?" + query)
    assert answer.status_code == status
    if status != 302:
        assert ("<svg" in answer.text) == (status == 200)
        assert "Traceback" not in answer.text
        assert 'href="/c/a-board/chart' in answer.text


def test_movers_come_in_pages_since_a_moment(syncs: Syncs, get: Get) -> None:
    """An interval or a time; pages keep it; what is neither is refused."""
    syncs.sync_at(NOW - 30 * HOUR, zip_of(teams(*range(1, 121))))
    syncs.sync_at(NOW - 26 * HOUR, zip_of(teams(2, 1, *range(3, 121))))
    syncs.sync_at(NOW - 2 * HOUR, zip_of(teams(*range(120, 0, -1))))
    day, week = get("/c/a-board/movers"), get("/c/a-board/movers?since=7d")
    assert "120 teams moved" in day.text
    assert re.findall(r"<bdi>(team \d+)", day.text)[0] == "team 120"
    assert len(re.findall(r"<bdi>team \d+", week.text)) == 50
    assert 'href="/c/a-board/movers?since=7d&amp;page=2"' in week.text
    assert get("/c/a-board/movers?since=7d&page=9").headers["location"] == "/c/a-board/movers?since=7d&page=3"
    assert "Nobody has moved" in get("/c/a-board/movers?since=1h").text
    assert get(f"/c/a-board/movers?since={written(NOW - 3 * HOUR)}").status_code == 200
    for wrong in ("lately", "-1h", "1e9d", "5 fortnights"):
        assert get(f"/c/a-board/movers?since={wrong}").status_code == 400


def test_a_person_stands_on_every_board(compete: Callable[..., Syncs], db: Connection, get: Get) -> None:
    """Rank, of how many, medal and team, in any spelling of the name; the nearest one for a mistyped one."""
    compete("one", title="The one").sync(zip_of(teams(5, 7, *range(8, 40)), slug="one"))
    compete("two", category="Playground").sync(
        zip_of([Entry(1, "A pair", Decimal(1), members=("somebody", "User7"))], slug="two")
    )
    db.execute("INSERT INTO kaggle.participants VALUES ('user7', 'Seven'), ('unseen', NULL)")
    answer = get("/people/user7")
    assert re.findall(r"<bdi>(.*?)</bdi>", answer.text) == ["Seven", "user7", "two", "A pair", "The one", "team 7"]
    assert re.findall(r'<td class="rank">(\d+) <small>of (\d+)', answer.text) == [("1", "1"), ("2", "34")]
    assert answer.text.count('class="tag') == 1
    for spelling in ("USER7", "@user7"):
        assert get(f"/people/{spelling}").headers["location"] == "/people/user7"
    assert "On no board" in get("/people/unseen").text
    unknown = get("/people/user77")
    assert unknown.status_code == 404
    assert "Nobody called user77 is registered here." in unknown.text
    assert 'href="/people/user7"' in unknown.text
    # Whoever stands on a board without being registered has no page.
    assert get("/people/user5").status_code == 404
    assert '<a href="/people/user7"><bdi>Seven</bdi></a>' in get("/c/one").text


def test_a_person_is_shown_only_where_the_page_is(compete: Callable[..., Syncs], db: Connection, url: str) -> None:
    """With --event a person's other competitions are not told."""
    compete("inside").sync(zip_of(teams(7), slug="inside"))
    freeze(db, None)
    compete("outside").sync(zip_of(teams(7), slug="outside"))
    db.execute("INSERT INTO kaggle.participants VALUES ('user7', 'Seven')")
    with serving(url, "--event", "night") as address:
        answer = requests.get(address + "/people/user7", timeout=30)
    assert "inside" in answer.text
    assert "outside" not in answer.text


def test_names_are_only_text(syncs: Syncs, db: Connection, get: Get) -> None:
    """Markup and what turns the direction of text around do no harm in any of the views."""
    name = "<script>x</script>\u202e\"'&" + "e\u0301" * 20
    db.execute("INSERT INTO kaggle.participants VALUES ('evil', %s)", ("<b>\u202e",))
    syncs.sync_at(NOW - 2 * HOUR, zip_of([*teams(1), Entry(2, name, members=("evil",))]))
    run = syncs.sync_at(NOW - HOUR, zip_of([Entry(2, name, members=("evil",)), *teams(1)]))
    for path in ("teams/2", "chart", "chart?of=score", f"at/{run}", "movers", "rows?teams=2"):
        text = get(f"/c/a-board/{path}").text
        assert "&lt;script&gt;" in text, path
        assert "<script>" not in text, path
        assert "\u202e" not in text, path
        assert "style=" not in text, path
    assert "<b>" not in get("/people/evil").text
