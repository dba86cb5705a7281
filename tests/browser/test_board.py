"""A board: live, without JavaScript, and found in."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.support.aliases import Connection
from tests.support.boards import teams, zip_of
from tests.support.dom import has_glided, note_glides, tag, wait_for_other, wait_until_equal
from tests.support.evening import ranked
from tests.support.syncs import Syncs


def test_a_competition_appears_and_moves_without_a_touch(visit: Open, syncs: Syncs, db: Connection) -> None:
    """From the INSERT on, nobody reloads: the rows of the teams glide to their new places."""
    page = visit("/")
    expect(page.get_by_role("link", name="a-board")).to_be_visible()
    expect(page.locator("main")).to_contain_text("no board yet")
    syncs.sync(zip_of(ranked("Otters", "Badgers", "Cranes")))
    expect(page.locator("main")).to_contain_text("3 teams")
    page.get_by_role("link", name="a-board").click()
    expect(page.locator("tbody th a")).to_have_text(["Otters", "Badgers", "Cranes"])
    page.evaluate("document.querySelector('tbody tr').dataset.mine = 'kept'")
    note_glides(page)
    syncs.sync(zip_of(ranked("Cranes", "Otters", "Badgers", "Newts")))
    expect(page.locator("tbody th a")).to_have_text(["Cranes", "Otters", "Badgers", "Newts"])
    # The row of a team is the same one wherever it stands, and glides.
    assert has_glided(page, 1)
    expect(page.locator("[data-announce]")).to_have_text("The page has changed, rows that moved: 3; first is Cranes.")
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync) VALUES ('another', false)")
    page.get_by_role("link", name="Leaderboards").click()
    expect(page.get_by_role("link", name="another")).to_be_visible()


def test_rows_do_not_move_for_those_who_asked_for_stillness(visit: Open, syncs: Syncs) -> None:
    """Reduced motion is honoured."""
    syncs.sync(zip_of(ranked("Otters", "Badgers")))
    page = visit("/c/a-board", reduced_motion="reduce")
    before = tag(page)
    note_glides(page)
    syncs.sync(zip_of(ranked("Badgers", "Otters")))
    wait_for_other(page, before)
    assert not has_glided(page, 0)


def test_without_javascript_all_of_it_is_there(visit: Open, syncs: Syncs, db: Connection) -> None:
    """Pages, movement, participants and the search work by plain links and forms."""
    db.execute("INSERT INTO kaggle.participants VALUES ('badgers', 'Bo')")
    syncs.sync(zip_of(teams(*range(1, 120))))
    syncs.sync(zip_of([*ranked("Badgers"), *teams(*range(1, 120))]))
    page = visit("/c/a-board", java_script_enabled=False)
    expect(page.locator("tbody tr")).to_have_count(50)
    first = page.locator("tbody tr").first
    expect(first).to_contain_text("1")
    expect(first).to_contain_text("new")
    expect(first).to_contain_text("Bo")
    expect(page.locator("tbody tr").nth(1)).to_contain_text("down 1")
    expect(page.locator("main")).to_contain_text("less than a minute ago")
    page.get_by_role("link", name="Last").first.click()
    expect(page.locator("tbody tr")).to_have_count(20)
    page.get_by_label("Find a team or a username").fill("@user77")
    page.get_by_role("button", name="Find").click()
    page.get_by_role("link", name="team 77").first.click()
    expect(page.locator("tr[aria-current]")).to_contain_text("team 77")
    expect(page.locator("main")).to_contain_text("has rank 78 of 120")
    page.get_by_label("Find a team or a username").fill("99")
    page.get_by_role("button", name="Find").click()
    page.get_by_role("link", name="Go to rank 99").click()
    expect(page.locator("tr[aria-current] .rank")).to_have_text("99")


def test_a_long_list_has_pages(visit: Open, db: Connection) -> None:
    """A hundred events and competitions each; each page is followed."""
    db.execute("INSERT INTO kaggle.events (slug, title) SELECT 'e' || n, 'Event' FROM generate_series(1, 101) n")
    db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync)"
        " SELECT 'c' || lpad(n::text, 3, '0'), false FROM generate_series(1, 250) n"
    )
    page = visit("/")
    assert [page.locator(f'li[data-key^="{kind}"]').count() for kind in "ec"] == [100, 100]
    page.get_by_role("link", name="Next").click()
    assert [page.locator(f'li[data-key^="{kind}"]').count() for kind in "ec"] == [1, 100]
    page.get_by_role("link", name="Last").click()
    assert page.get_by_role("heading", name="Events").count() == 0
    assert page.locator("li[data-key^=c] a").last.text_content() == "c250"
    db.execute("UPDATE kaggle.competitions SET title = 'The last one' WHERE kaggle_competition_id = 'c250'")
    expect(page.get_by_role("link", name="The last one")).to_be_visible()


def test_a_pause_holds_the_page_still(visit: Open, syncs: Syncs) -> None:
    """Paused, the page stays as it is; it catches up afterwards."""
    syncs.sync(zip_of(ranked("Otters", "Badgers")))
    page = visit("/c/a-board")
    page.get_by_role("button", name="Pause").press("Enter")
    expect(page.locator("[data-stream-state]")).to_have_text("paused")
    witness = visit("/c/a-board")
    before = tag(witness)
    syncs.sync(zip_of(ranked("Badgers", "Otters")))
    wait_for_other(witness, before)
    expect(page.locator("tbody th a")).to_have_text(["Otters", "Badgers"])
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("tbody th a")).to_have_text(["Badgers", "Otters"])


def test_the_live_page_equals_a_fresh_one(visit: Open, syncs: Syncs, db: Connection) -> None:
    """After syncs and edits the page that was open equals one that is opened now."""
    names = ["Otters", "Badgers", "Cranes", "Newts", "Toads", "Voles"]
    syncs.sync(zip_of(ranked(*names)))
    page = visit("/c/a-board")
    steps = (
        lambda: syncs.sync(zip_of(ranked(*reversed(names)))),
        lambda: db.execute("INSERT INTO kaggle.participants VALUES ('newts', 'Nat')"),
        lambda: syncs.sync(zip_of(ranked("Asps", *names[2:]))),
        lambda: db.execute("UPDATE kaggle.participants SET display_name = 'Natalie'"),
        lambda: db.execute("UPDATE kaggle.competitions SET title = 'A new title'"),
        lambda: syncs.sync(zip_of(ranked(*names[:2]))),
        lambda: db.execute(
            "WITH e AS (INSERT INTO kaggle.events (slug, title, frozen_at) VALUES ('night', 'Night', now()) "
            "RETURNING id) INSERT INTO kaggle.event_competitions SELECT e.id, c.id FROM e, kaggle.competitions c"
        ),
        lambda: db.execute("UPDATE kaggle.events SET frozen_at = NULL"),
    )
    for step in steps:
        before = tag(page)
        step()
        wait_for_other(page, before)
        fresh = visit("/c/a-board")
        wait_until_equal(page, fresh)
