"""The simulator's boards from a folder of files."""

from __future__ import annotations

from pathlib import Path

from pgleaderboard.simulator.boards import HEADER, zip_board
from tests.support.faults import Simulator, Status
from tests.support.simulators import ask


class TestFolder:
    """Real downloads, served from a folder."""

    def test_the_newest_file_untouched(self, tmp_path: Path) -> None:
        """The newest by the time in the name wins, public or private, `:` or `_`; bytes stay."""
        (tmp_path / "My-Contest-publicleaderboard-2026-05-05T15_36_33.zip").write_bytes(b"first")
        (tmp_path / "My-Contest-privateleaderboard-2026-06-07T06:21:22.zip").write_bytes(b"not even a ZIP")
        (tmp_path / "My-Contest-publicleaderboard.zip").write_bytes(b"undated")
        (tmp_path / "notes.txt").write_text("no board")
        with Simulator(boards_dir=tmp_path) as simulator:
            assert ask(simulator, "my-contest").content == b"not even a ZIP"
            assert ask(simulator, "titanic").status_code == 404

    def test_slugs_with_the_word_in_them_and_the_old_form(self, tmp_path: Path) -> None:
        """The slug is what stands before the last such word; `_public_leaderboard` is one too."""
        board = zip_board(f"{HEADER}\n1,2,a,,1,1,b\n".encode(), "x.csv")
        (tmp_path / "a-publicleaderboard-b-publicleaderboard-2026-01-01T00_00_00 (1).zip").write_bytes(board)
        (tmp_path / "old-one_public_leaderboard.zip").write_bytes(b"old")
        with Simulator(boards_dir=tmp_path) as simulator:
            assert ask(simulator, "a-publicleaderboard-b").content == board
            assert ask(simulator, "old-one").content == b"old"

    def test_the_folder_is_read_again(self, tmp_path: Path) -> None:
        """A file that comes or goes counts at the next request."""
        with Simulator(boards_dir=tmp_path) as simulator:
            assert ask(simulator, "new").status_code == 404
            file = tmp_path / "new-publicleaderboard-2026-01-01T00_00_00.zip"
            file.write_bytes(b"1")
            assert ask(simulator, "new").content == b"1"
            file.unlink()
            assert ask(simulator, "new").status_code == 404

    def test_replay(self, tmp_path: Path) -> None:
        """Oldest first, one further each download of that slug, staying at the last; only downloads count."""
        for slug, day in (("one", 3), ("one", 1), ("one", 2), ("two", 1)):
            name = f"{slug}-publicleaderboard-2026-01-0{day}T00_00_00.zip"
            (tmp_path / name).write_bytes(b"%s %d" % (slug.encode(), day))
        with Simulator(boards_dir=tmp_path, replay=True) as simulator:
            assert ask(simulator, "one").content == b"one 1"
            assert ask(simulator, "two").content == b"two 1"
            ask(simulator, "one", "GetCompetition")
            simulator.faults.put("one", Status(503))
            assert ask(simulator, "one").status_code == 503
            seen = [ask(simulator, "ONE").content for _ in range(3)]
            assert seen == [b"one 2", b"one 3", b"one 3"]
            (tmp_path / "one-publicleaderboard-2026-01-04T00_00_00.zip").write_bytes(b"one 4")
            assert ask(simulator, "one").content == b"one 4"
