"""Reading a downloaded board: its name, its header, its bytes, and every ZIP that is none."""

from __future__ import annotations

import io
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pgleaderboard.errors import NeedsPerson, PgleaderboardError, Transient
from pgleaderboard.simulator.boards import zip_board
from pgleaderboard.sync import board

TODAY = ("Rank", "TeamId", "TeamName", "LastSubmissionDate", "Score", "SubmissionCount", "TeamMemberUserNames")
OLDER = ("TeamId", "TeamName", "SubmissionDate", "Score")
STAGED = {
    "Rank": "rank",
    "TeamId": "team_id",
    "TeamName": "team_name",
    "LastSubmissionDate": "last_submission_at",
    "SubmissionDate": "last_submission_at",
    "Score": "score",
    "SubmissionCount": "submission_count",
    "TeamMemberUserNames": "members",
}
ROW = '1,42,"The Otters","2026-05-05 15:36:33",0.98765,7,somebody'
CSV = f"\ufeff{','.join(TODAY)}\n{ROW}\n".encode()
NAME = "titanic-publicleaderboard-2026-05-05T15:36:33.csv"
LIMIT = 2**24
LONG = settings(max_examples=60, deadline=None)  # no deadline: the machine is shared


def packed(csv: bytes = CSV, name: str = NAME) -> io.BytesIO:
    """A download with this CSV."""
    return io.BytesIO(zip_board(csv, name))


def examined(csv: bytes = CSV, name: str = NAME, limit: int = LIMIT) -> board.Board:
    """What the worker reads off a download."""
    return board.read_zip(packed(csv, name), limit)


def outcome(read: Callable[[], board.Board]) -> board.Board | str:
    """The board, or the words for the user why there is none; any other error is raised."""
    try:
        return read()
    except PgleaderboardError as error:
        return str(error)


def stored(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    """A ZIP of any members."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as made:
        for name, content in members:
            made.writestr(name, content)
    return bytearray(archive.getvalue())


# The header


@LONG
@given(
    order=st.permutations(TODAY),
    extras=st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["Medal", "Country", "", "x y"])), max_size=12),
)
def test_columns_may_come_in_any_order_with_others_between(order: list[str], extras: list[tuple[int, str]]) -> None:
    """Each column of the file is mapped by its name; up to twelve unknown ones are ignored, same names too."""
    header: list[str] = list(order)
    for place, extra in extras:
        header.insert(place, extra)
    numbers = iter(range(1, 13))
    expected = tuple(STAGED[name] if name in STAGED else f"extra_{next(numbers)}" for name in header)

    layout = board.layout_of(",".join(header))

    unknown = tuple(name for name in header if name not in STAGED)
    assert layout == board.Layout(expected, ranked=True, unknown=unknown)


@LONG
@given(order=st.permutations(OLDER))
def test_the_older_header_has_no_ranks(order: list[str]) -> None:
    """Files from before 2023-07 are read too, in any order of columns; a team's last row counts there."""
    assert board.layout_of(",".join(order)) == board.Layout(tuple(STAGED[name] for name in order), ranked=False)


@pytest.mark.parametrize("header", ["rank,TEAMID,teamName,score", ' Rank , TeamId,"TeamName","Score" '])
def test_case_spaces_and_quotes_in_a_header_do_not_matter(header: str) -> None:
    """A header is understood however its names are dressed."""
    assert board.layout_of(header) == board.Layout(("rank", "team_id", "team_name", "score"), ranked=True)


@LONG
@given(header=st.sampled_from([TODAY, OLDER]), missing=st.sampled_from(["TeamId", "TeamName", "Score"]))
def test_a_missing_column_is_named(header: tuple[str, ...], missing: str) -> None:
    """A board without TeamId, TeamName or Score cannot be read; the message names the column and shows the header."""
    given_header = ",".join(name for name in header if name != missing)

    with pytest.raises(NeedsPerson) as caught:
        board.layout_of(given_header)

    assert f"lacks the column {missing}" in str(caught.value)
    assert given_header in str(caught.value)


@LONG
@given(header=st.permutations(TODAY), doubled=st.sampled_from(TODAY))
def test_a_doubled_column_is_named(header: list[str], doubled: str) -> None:
    """Nobody can tell which of two columns of one name is right."""
    with pytest.raises(NeedsPerson, match=f"has the column '{doubled}' twice"):
        board.layout_of(",".join([*header, doubled]))


def test_both_names_of_the_date_are_one_column_twice() -> None:
    """LastSubmissionDate and SubmissionDate mean the same."""
    with pytest.raises(NeedsPerson, match="twice"):
        board.layout_of(",".join([*TODAY, "SubmissionDate"]))


def test_more_unknown_columns_than_there_is_room_for_are_refused() -> None:
    """Thirteen unknown columns are one too many, and the message says how many there were."""
    with pytest.raises(NeedsPerson, match="13 unknown columns; at most 12"):
        board.layout_of(",".join([*TODAY, *(f"New{n}" for n in range(13))]))


@LONG
@given(header=st.text())
def test_any_header_is_a_layout_or_a_person_s_problem(header: str) -> None:
    """Whatever stands in the first line, the answer is a layout or one line without control characters."""
    read = outcome(lambda: examined(header.encode("utf-8", "surrogatepass") + b"\n"))
    assert isinstance(read, board.Board) or read.isprintable()


def test_a_long_header_is_cut_in_the_message() -> None:
    """A message stays one readable line."""
    with pytest.raises(NeedsPerson) as caught:
        board.layout_of("x" * 5000 + "\x1b[31m")
    assert len(str(caught.value)) < 400


# The name


@pytest.mark.parametrize(
    ("name", "kind", "moment"),
    [
        (NAME, "public", datetime(2026, 5, 5, 15, 36, 33, tzinfo=UTC)),
        ("titanic-publicleaderboard-2026-05-05T15_36_33.csv", "public", datetime(2026, 5, 5, 15, 36, 33, tzinfo=UTC)),
        ("titanic-publicleaderboard.csv", "public", None),
        ("titanic_public_leaderboard.csv", "public", None),
        ("titanic-privateleaderboard-2026-01-02T03:04:05.csv", "private", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("titanic_private_leaderboard.csv", "private", None),
        ("MLSP2023-volunteers-01-publicleaderboard.csv", "public", None),
        ("Stat380-2-Spring2020-PrivateLeaderboard.csv", "private", None),
        ("private-equity-publicleaderboard.csv", "public", None),
        ("my-private-leaderboard-publicleaderboard-2026-05-05T15:36:33.csv", "public", "any"),
        ("a-private-leaderboard-game_public_leaderboard.csv", "public", None),
        ("public-leaderboard-probing-privateleaderboard.csv", "private", None),
        ("titanic-publicleaderboard-2026-13-45T99:99:99.csv", "public", None),
    ],
)
def test_the_member_s_name_tells_public_from_private_and_when(name: str, kind: str, moment: Any) -> None:
    """Every form of name that Kaggle used is understood, also where the slug itself has such words in it."""
    assert board.kind_of(name) == kind
    if moment != "any":
        assert board.time_of(name) == moment


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("_T_16_26_26", "16:26:26"),
        ("T223756 (1)", "22:37:56"),
        ("T11-33-51", "11:33:51"),
        ("_T06-21-22", "06:21:22"),
        ("T15%3A36%3A33", "15:36:33"),
        ("T15%3a36%3a33", "15:36:33"),
        ("T15.27.41", "15:27:41"),
        ("T15\ua78927\ua78941", "15:27:41"),
        ("T15\uf03a27\uf03a41", "15:27:41"),
        ("T15_36_33+02_00", "13:36:33"),
        ("T15:36:33-05:00", "20:36:33"),
        ("T15%3A36%3A33+0530", "10:06:33"),
        ("T15_36_33-0700", "22:36:33"),
        ("T15_36_33+02", "13:36:33"),
        ("T15_36_33%2B02%3A00", "13:36:33"),
        ("T15_36_33_+02_00", "13:36:33"),
        ("T15_36_33 +0200", "13:36:33"),
        ("T11-33-51-12", "11:33:51"),
        ("T15_36_33+25_00", None),
        ("T15_36_33-00_99", None),
        ("T15_36_33-2026", None),
        ("", None),
        ("T25_00_00", None),
        ("T1536331", None),
    ],
)
def test_the_time_in_a_name_as_programs_write_it(written: str, time: str | None) -> None:
    """Colons are replaced in many ways, and an offset counts; a date alone is no time."""
    moment = datetime.fromisoformat(f"2026-05-05T{time}+00:00") if time else None
    assert board.time_of(f"titanic-publicleaderboard-2026-05-05{written}.csv") == moment


@LONG
@given(
    slug=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,30}", fullmatch=True),
    kind=st.sampled_from(["public", "private"]),
    moment=st.datetimes(datetime(1000, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)),
)
def test_a_file_s_name_is_read_back(slug: str, kind: Any, moment: datetime) -> None:
    """Slug, kind and moment to the microsecond, from the member's name and from the ZIP's; whole seconds as Kaggle."""
    name = board.name_of(slug, kind, moment)
    for form in (name, name.replace(":", "_").replace(".csv", ".zip")):
        assert (board.slug_of(form), board.kind_of(form), board.time_of(form)) == (slug, kind, moment)
    whole = board.name_of(slug, kind, moment.replace(microsecond=0))
    assert whole.endswith(f"-{kind}leaderboard-{moment:%Y-%m-%dT%H:%M:%S}.csv")


@LONG
@given(
    slug=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{0,30}", fullmatch=True),
    word=st.sampled_from(["", "-private-leaderboard", "-publicleaderboard", "-private"]),
    kind=st.sampled_from(["public", "private"]),
    form=st.sampled_from(["-{}leaderboard.csv", "_{}_leaderboard.csv", "-{}leaderboard-2026-05-05T15:36:33.csv"]),
)
def test_a_slug_never_decides_the_kind(slug: str, word: str, kind: str, form: str) -> None:
    """What stands last decides, whatever the slug is made of."""
    assert board.kind_of(slug + word + form.format(kind)) == kind


@pytest.mark.parametrize("name", ["titanic.csv", "leaderboard.csv", "publicleaderboard.csv", "", "x\x1b[31m.csv"])
def test_a_name_that_tells_nothing_is_refused(name: str) -> None:
    """A file that is neither board is never taken for one; its name is shown without its control characters."""
    with pytest.raises(NeedsPerson) as caught:
        board.kind_of(name)
    assert "whether this is the public or the private board" in str(caught.value)
    assert "\x1b" not in str(caught.value)


# The bytes


def test_a_board_of_today_is_read() -> None:
    """Kind, time, columns and the count of NUL characters come from one look at the file."""
    read = examined()

    assert (read.kind, read.taken_at) == ("public", datetime(2026, 5, 5, 15, 36, 33, tzinfo=UTC))
    assert read.layout == board.Layout(tuple(STAGED[name] for name in TODAY), ranked=True)
    assert (len(read.digest), read.nul_characters) == (32, 0)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_byte_order_mark_is_no_part_of_the_header(mark: bytes, end: bytes) -> None:
    """With or without it, with LF or CRLF, the rows are the same; a mark inside the file stays."""
    csv = CSV.removeprefix(b"\xef\xbb\xbf").replace(b"Otters", b"\xef\xbb\xbfOtters").replace(b"\n", end)

    assert examined(mark + csv).layout.ranked
    assert b"".join(board.zip_chunks(packed(mark + csv), LIMIT)) == csv


@LONG
@given(
    around=st.lists(st.tuples(st.sampled_from([-2, -1, 0, 1, 2]), st.integers(1, 3)), max_size=6),
    repeat=st.integers(0, 40),
)
@example(around=[(-1, 2)], repeat=0)
def test_nul_characters_are_counted_and_replaced_wherever_they_stand(
    around: list[tuple[int, int]], repeat: int
) -> None:
    """Each NUL becomes U+FFFD, also on both sides of a border between two chunks; nothing else changes."""
    text = bytearray(CSV + b"x" * (2 * board.CHUNK + 100) + b"\0" * repeat + b"\n")
    for offset, chunk in around:
        text[min(chunk * board.CHUNK + offset, len(text) - 1)] = 0
    csv = bytes(text)

    assert examined(csv).nul_characters == csv.count(0)
    replaced = csv.removeprefix(b"\xef\xbb\xbf").replace(b"\0", "\ufffd".encode())
    assert b"".join(board.zip_chunks(packed(csv), LIMIT)) == replaced


@LONG
@given(csv=st.binary(max_size=300), mark=st.booleans())
def test_rows_are_the_file_s_bytes(csv: bytes, mark: bool) -> None:
    """No byte of the CSV is lost or added but the mark and NUL; a line before the header has a test of its own."""
    assume(b"Next Page Token" not in csv)
    whole = (b"\xef\xbb\xbf" if mark else b"") + csv
    expected = whole.removeprefix(b"\xef\xbb\xbf").replace(b"\0", "\ufffd".encode())
    assert b"".join(board.zip_chunks(packed(whole), LIMIT)) == expected


@LONG
@given(one=st.binary(max_size=50), two=st.binary(max_size=50))
def test_equal_digests_are_equal_boards(one: bytes, two: bytes) -> None:
    """The digest is of the CSV alone: other packing and another name change nothing, another byte does."""
    first = examined(CSV + one)
    second = board.read_zip(
        io.BytesIO(stored(("titanic_public_leaderboard.csv", CSV + two), method=zipfile.ZIP_STORED)), LIMIT
    )
    assert (first.digest == second.digest) == (one == two)


@pytest.mark.parametrize("at", [-1, -board.CHUNK, 200, board.CHUNK - 1, board.CHUNK, 2 * board.CHUNK + 7])
def test_the_digest_is_of_every_byte(at: int) -> None:
    """One byte more or less anywhere in a file of several chunks is another board."""
    csv = CSV + b"x" * 3 * board.CHUNK
    other = bytearray(csv)
    other[at] ^= 1
    assert examined(csv).digest == examined(csv).digest
    assert len({examined(csv).digest, examined(bytes(other)).digest, examined(csv[:-1]).digest}) == 3


@pytest.mark.parametrize(("csv", "words"), [(b"", "empty"), (b"\xef\xbb\xbf", "empty"), (b"\n\n", "empty")])
def test_an_empty_file_is_a_broken_download(csv: bytes, words: str) -> None:
    """Kaggle always sends a header: a file without one passes by itself."""
    with pytest.raises(Transient, match=words):
        examined(csv)


def test_a_header_alone_is_an_empty_board() -> None:
    """Nobody has submitted yet."""
    assert examined(f"\ufeff{','.join(TODAY)}\n".encode()).layout.ranked


def test_what_kaggles_command_prints_before_a_csv_is_left_out() -> None:
    """The token of the next page, in a line of its own, which counts as one, and blank lines below it."""
    for blank, header_line in ((b"", 2), (b"\n", 3), (b"\r\n \r\n", 4)):
        page = b"Next Page Token = CfDJ8x\n" + blank + CSV
        assert examined(page).layout == replace(examined(CSV).layout, header_line=header_line)
        assert b"".join(board.cleaned([page])) == b"".join(board.cleaned([CSV]))


def test_a_header_may_have_breaks_within_quotes() -> None:
    """It ends where PostgreSQL ends it; a name with a break stays on one line of a message."""
    layout = examined(b'"a\r\nlong\nname",TeamId,TeamName,Score\n,1,x,0.5\n').layout
    assert layout == board.Layout(("extra_1", "team_id", "team_name", "score"), False, ("a long name",))


@given(st.text('x,"\r\n', max_size=30), st.integers(1, 30), st.integers(1, 5), st.booleans())
def test_a_line_is_the_same_however_the_file_is_cut(text: str, number: int, size: int, of_copy: bool) -> None:
    """A break of two bytes may stand on both sides of a border between two chunks."""
    csv = f"{text}x".encode()
    chunks = [csv[at : at + size] for at in range(0, len(csv), size)]
    assert board.line_of(chunks, number, of_copy=of_copy) == board.line_of([csv], number, of_copy=of_copy)


# The ZIP


@LONG
@given(over=st.integers(-3, 3))
def test_the_limit_is_exact(over: int) -> None:
    """As many bytes as the limit allows are read, not one more."""
    limit = len(CSV) - over
    if over > 0:
        with pytest.raises(NeedsPerson, match="unpacks to more than"):
            examined(limit=limit)
    else:
        assert examined(limit=limit) == examined()


def test_a_zip_bomb_ends_at_the_limit() -> None:
    """A small file that unpacks to 64 MB is given up, and the message names the setting that allows more."""
    bomb = packed(CSV + b"0" * 2**26)
    assert len(bomb.getvalue()) < 2**19

    for read in (lambda: board.read_zip(bomb, 2**20), lambda: b"".join(board.zip_chunks(bomb, 2**20))):
        with pytest.raises(NeedsPerson, match=r"more than 1 MB; PGLEADERBOARD_MAX_DOWNLOAD_MB allows more"):
            read()


def test_a_bomb_is_not_believed_when_it_lies_about_its_size() -> None:
    """What counts is what is unpacked, not what the ZIP says of itself."""
    made = bytes(stored((NAME, CSV + b"0" * 2**22)))
    lying = made.replace(struct.pack("<L", len(CSV) + 2**22), struct.pack("<L", 10))
    assert lying != made
    with pytest.raises(PgleaderboardError):
        board.read_zip(io.BytesIO(lying), 2**20)


@pytest.mark.parametrize("size", [0, 1, 21, 22, 100, 200])
def test_a_cut_download_passes_by_itself(size: int) -> None:
    """However much of it came: the next download may be whole."""
    whole = packed().getvalue()
    with pytest.raises(Transient, match="not a valid ZIP"):
        board.read_zip(io.BytesIO(whole[:size]), LIMIT)


@pytest.mark.parametrize("content", [b"<html><body>We will be back</body></html>", b"{}", CSV])
def test_what_is_no_zip_passes_by_itself(content: bytes) -> None:
    """A page or a bare CSV is not a valid ZIP."""
    with pytest.raises(Transient, match="not a valid ZIP"):
        board.read_zip(io.BytesIO(content), LIMIT)


@pytest.mark.parametrize("damage", [0x01, 0x02, 0x04, 0x08, 0x0C, 0x10, 0x20, 0x40, 0x80, 0xFF])
def test_a_damaged_zip_is_never_a_fault_of_ours(damage: int) -> None:
    """Whichever byte was changed on the way, the error is one for the user, or the board is what was sent."""
    whole = packed().getvalue()
    sent = examined().digest
    with tempfile.TemporaryFile() as archive:  # as the worker's downloads: a file fails otherwise than memory does
        for at, byte in enumerate(whole):
            archive.seek(0)
            archive.write(whole[:at] + bytes([byte ^ damage]) + whole[at + 1 :])
            read = outcome(lambda: board.read_zip(archive, LIMIT))
            assert read.isprintable() if isinstance(read, str) else read.digest == sent


def test_a_member_without_a_name_is_not_a_fault_of_ours() -> None:
    """Nor is one whose name is no UTF-8, though the ZIP says it is."""
    nameless = bytearray(stored(("x", CSV)))
    for signature, offset in ((b"PK\3\4", 26), (b"PK\1\2", 28)):
        at = nameless.index(signature) + offset
        nameless[at : at + 2] = b"\0\0"
    assert isinstance(outcome(lambda: board.read_zip(io.BytesIO(nameless), LIMIT)), str)
    foreign = flagged(stored((NAME, CSV)).replace(b"titanic", b"tit\xffnic"), 0x800)
    assert isinstance(outcome(lambda: board.read_zip(foreign, LIMIT)), str)


def flagged(archive: Iterable[int], flags: int, method: int | None = None) -> io.BytesIO:
    """The same ZIP with other flag bits, and perhaps another method, in both of its headers."""
    patched = bytearray(archive)
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = patched.index(signature) + offset
        patched[at : at + 2] = struct.pack("<H", flags)
        if method is not None:
            patched[at + 2 : at + 4] = struct.pack("<H", method)
    return io.BytesIO(patched)


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        (io.BytesIO(stored()), "holds 0 files"),
        (io.BytesIO(stored((NAME, CSV), ("readme.txt", b"hi"))), "holds 2 files"),
        (packed(name=f"../{NAME}"), "path in its name"),
        (packed(name=f"/etc/{NAME}"), "path in its name"),
        (packed(name=f"folder\\{NAME}"), "path in its name"),
        (packed(name="titanic-publicleaderboard/"), "path in its name"),
        (flagged(stored((NAME, CSV)), 0x1), "encrypted"),
        (flagged(stored((NAME, CSV)), 0x40), "cannot be unpacked"),
        (flagged(stored((NAME, CSV)), 0, method=97), "cannot be unpacked"),
        (packed(name="titanic.csv"), "cannot tell from the file name"),
    ],
    ids=["no member", "two", "parent", "absolute", "backslash", "folder", "encrypted", "strong", "method", "name"],
)
def test_a_sound_zip_that_is_no_board_needs_a_person(archive: io.BytesIO, words: str) -> None:
    """It will not be better next time; the message says what is wrong with it."""
    with pytest.raises(NeedsPerson, match=words) as caught:
        board.read_zip(archive, LIMIT)
    assert str(caught.value).isprintable()
