"""Invented names of teams and users: no real person's, but every oddity that was seen on real boards."""

from __future__ import annotations

import uuid
from random import Random
from typing import Final

# Escapes where a character is invisible, reorders its line, or has a double in another normal form.
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


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_FIRST: Final = _words(
    "Quiet Greedy Sparse Lazy Stacked Pruned Humble Frozen Random Shallow Residual Robust Bagged Noisy "
    "Convex Boosted Latent Tiny Hidden Cosine Smooth Masked Gated Warm Biased Linear Folded Sigmoid"
)
_SECOND: Final = _words(
    "Otters Tensors Gradients Forests Pandas Kernels Owls Ensembles Learners Splines Badgers Outliers "
    "Leaves Neurons Embeddings Hedgehogs Baselines Quokkas Residuals Folds Walruses Priors Lemurs"
)

# Words of four syllables out of 10 x 5: each number below _WORDS has a word of its own.
_SYLLABLES: Final = tuple(consonant + vowel for consonant in "bdlmnrstvy" for vowel in "aeiou")
_WORDS: Final = len(_SYLLABLES) ** 4
# Small boards draw their users from one small crowd, so that the same people meet in several competitions.
_CROWD: Final = 5003
_CROWD_SERVES: Final = 2000


class Users:
    """The users of one board: `new()` never gives one twice, without regard to case either."""

    def __init__(self, seed: int, teams: int) -> None:
        # Both sizes share no factor with the stride, so stepping by it visits everybody once.
        self._size = _CROWD if teams <= _CROWD_SERVES else _WORDS
        self._stride = 1_299_709 + 5003 * 2 * (seed % 1000)
        while self._stride % 2 == 0 or self._stride % 5 == 0 or self._stride % _CROWD == 0:
            self._stride += 1
        self._at = seed % self._size
        self._given = 0

    def left(self) -> int:
        """How many are still to be had."""
        return self._size - self._given

    def new(self) -> str:
        """The next user's name."""
        if not self.left():
            raise RuntimeError("no users left")
        self._given += 1
        self._at = (self._at + self._stride) % self._size
        return _username(self._at)


def _username(number: int) -> str:
    # The number is scattered over all words: neighbours should not look alike.
    rest = number * 2_654_435_761 % _WORDS
    word = ""
    for _ in range(4):
        rest, syllable = divmod(rest, len(_SYLLABLES))
        word += _SYLLABLES[syllable]
    # Only digits and a capitalised tail are added, so different words stay different names.
    style = number % 16
    if style < 8:
        return word
    if style < 11:
        return word.capitalize()
    if style < 15:
        return f"{word}{number % 1000}"
    return f"{word}Learns{number:08d}"  # 22 characters, the longest that was seen


def deleted_user(rng: Random) -> str:
    """What Kaggle writes for an account that is gone."""
    return f"del={rng.getrandbits(64):016x}"


def deleted_team(rng: Random) -> str:
    """What Kaggle calls the team of an account that is gone, in its newer form."""
    return f"[Deleted] {uuid.UUID(int=rng.getrandbits(128), version=4)}"


def team_name(rng: Random, username: str) -> str:
    """An ordinary team name; often the user's own, sometimes one that somebody else has too."""
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
