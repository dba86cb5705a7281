"""Invented names of teams and users: of no real person, but with every oddity of real boards."""

from __future__ import annotations

from itertools import count
from math import gcd
from random import Random
from typing import Final

# Escapes for characters that are invisible, change the line's direction, or are not in normal form NFC.
ODD_TEAM_NAMES: Final = (
    " leading space",
    "trailing space ",
    "  both ends  ",
    "\U0001f980\U0001f680",
    "\U0001f469\u200d\U0001f680 crew",
    "\u0641\u0631\u064a\u0642 \u0627\u0644\u0628\u064a\u0627\u0646\u0627\u062a",
    "\u05e6\u05d5\u05d5\u05ea-\u05e0\u05ea\u05d5\u05e0\u05d9\u05dd",
    "\u6570\u636e\u732b",
    "wide\u3000space",
    "Cafe\u0301 Gradient",
    "nai\u0308ve_bayes",
    "\u0001start",
    "back\u0008space",
    "rub\u007fout",
    "NaN",
    "null",
    "None",
    "n/a",
    "=1+1",
    "<blank> #2",
    "==>(AL)<==",
    ",5579",
    'the "quoted" ones',
    '"',
    "one, two, three",
    "it's; -- fine",
    "back\\slash",
    "\\N",
    "0012",
    "A Very Long Name That Somebody Chose To See How Many Characters A Name Can Be",
)


_FIRST: Final = str.split(
    "Quiet Greedy Sparse Lazy Stacked Pruned Humble Frozen Random Shallow Residual Robust Bagged Noisy "
    "Convex Boosted Latent Tiny Hidden Cosine Smooth Masked Gated Warm Biased Linear Folded Sigmoid"
)
_SECOND: Final = str.split(
    "Otters Tensors Gradients Forests Pandas Kernels Owls Ensembles Learners Splines Badgers Outliers "
    "Leaves Neurons Embeddings Hedgehogs Baselines Quokkas Residuals Folds Walruses Priors Lemurs"
)

# Words of four syllables out of 50. Each number below _WORDS has a different word.
_SYLLABLES: Final = tuple(consonant + vowel for consonant in "bdlmnrstvy" for vowel in "aeiou")
_WORDS: Final = len(_SYLLABLES) ** 4
# Small boards share a small set of users, so that the same people enter several competitions.
_CROWD: Final = 5003
_CROWD_SERVES: Final = 2000


class Users:
    """The users of one board, by number. No two numbers below 5,000 have the same name, even if case is ignored.

    Nor have those below six millions, on a board of more than 2,000 teams.
    """

    def __init__(self, seed: int, teams: int) -> None:
        self._size = _CROWD if teams <= _CROWD_SERVES else _WORDS
        # The stride shares no factor with either size, so it visits every user once.
        self._stride = next(n for n in count(1_299_709 + 10_006 * (seed % 1000)) if gcd(n, _WORDS * _CROWD) == 1)
        self._start = seed % self._size

    def name(self, number: int) -> str:
        """The name of a user."""
        return _username((self._start + number * self._stride) % self._size)


def _username(number: int) -> str:
    # Scattered over all words: names of consecutive numbers should not look alike.
    rest = number * 2_654_435_761 % _WORDS
    word = ""
    for _ in range(4):
        rest, syllable = divmod(rest, len(_SYLLABLES))
        word += _SYLLABLES[syllable]
    # Only digits and a capitalised suffix are added, so different words stay different names.
    style = number % 16
    if style < 8:
        return word
    if style < 11:
        return word.capitalize()
    if style < 15:
        return f"{word}{number % 1000}"
    return f"{word}Learns{number:08d}"  # 22 characters, the longest on real boards


def deleted_user(rng: Random) -> str:
    """Kaggle's user name of a deleted account."""
    return f"del={rng.getrandbits(64):016x}"


def team_name(rng: Random, username: str) -> str:
    """An ordinary team name: often the user name, sometimes one that another team has, too."""
    dice = rng.random()
    if dice < 0.45:
        return username
    first = _FIRST[int(rng.random() * len(_FIRST))]
    second = _SECOND[int(rng.random() * len(_SECOND))]
    if dice < 0.75:
        return f"{first} {second}"
    if dice < 0.85:
        return f"{first}_{second}".lower()
    if dice < 0.95:
        return f"{first}{second}{int(rng.random() * 100)}"
    return f"{username} #{int(rng.random() * 20) + 2}"
