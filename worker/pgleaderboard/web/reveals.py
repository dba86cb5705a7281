"""Whom the reveals of a page have revealed, kept on disk: a restart under the same address resumes there."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

log = logging.getLogger(__name__)

_KEY = re.compile(r"[\w-]{16,}", re.ASCII)


@dataclass
class Reveals:
    """The presenter's key, and whom each frozen event has revealed since that freeze, in order, in lower case.

    file: None where nothing can be written; a restart would begin anew.
    """

    file: Path | None
    key: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    revealed: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def kept(cls, home: Path, *where: str) -> Reveals:
        """Those of a page. home: the folder. where: what tells this page from others."""
        name = hashlib.blake2b("\n".join(where).encode(), digest_size=9).hexdigest()
        reveals = cls(home / f"page-{name}.json")
        try:
            document = json.loads((home / f"page-{name}.json").read_text())
            key, revealed = document["key"], document["revealed"]
            if _KEY.fullmatch(key) and all(isinstance(who, str) for names in revealed.values() for who in names):
                reveals.key, reveals.revealed = key, {event: list(names) for event, names in revealed.items()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            log.debug("no reveal is resumed: %s", error)
        reveals._write()
        return reveals

    def of(self, event_id: int, frozen_at: datetime) -> Sequence[str]:
        """Who was revealed; nobody after another freeze."""
        return self.revealed.get(_name(event_id, frozen_at), [])

    def keep(self, event_id: int, frozen_at: datetime, revealed: Sequence[str]) -> None:
        """Keep who was revealed."""
        others = {name: names for name, names in self.revealed.items() if not name.startswith(f"{event_id} ")}
        self.revealed = others | {_name(event_id, frozen_at): list(revealed)}
        self._write()

    def is_key(self, text: str) -> bool:
        """Whether this is the presenter's key."""
        return secrets.compare_digest(text.encode(), self.key.encode())

    def _write(self) -> None:
        if self.file is None:
            return
        new = self.file.with_suffix(f".{os.getpid()}")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump({"key": self.key, "revealed": self.revealed}, file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.file)
        except OSError as error:
            log.warning("a reveal would begin anew after a restart: %s: %s", self.file.parent, error.strerror)
            self.file = None


def _name(event_id: int, frozen_at: datetime) -> str:
    return f"{event_id} {frozen_at.isoformat()}"
