"""How far the reveals of a page have come, kept on disk: a restart under the same address resumes there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


@dataclass
class Reveals:
    """The presenter's key, and the position of each frozen event: how many were revealed since that freeze.

    file: None where nothing can be written; a restart would begin anew.
    """

    file: Path | None
    key: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    positions: dict[str, int] = field(default_factory=dict)

    @classmethod
    def kept(cls, home: Path, *where: str) -> Reveals:
        """Those of a page. home: the folder. where: what tells this page from others."""
        name = hashlib.blake2b("\n".join(where).encode(), digest_size=9).hexdigest()
        reveals = cls(home / f"page-{name}.json")
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            document: dict[str, Any] = json.loads((home / f"page-{name}.json").read_text())
            reveals.key = str(document["key"])
            reveals.positions = {str(event): int(at) for event, at in document["positions"].items()}
        reveals._write()
        return reveals

    def position(self, event_id: int, frozen_at: datetime) -> int:
        """How many were revealed; 0 after another freeze."""
        return self.positions.get(_name(event_id, frozen_at), 0)

    def move(self, event_id: int, frozen_at: datetime, position: int) -> None:
        """Keep a position."""
        others = {name: at for name, at in self.positions.items() if not name.startswith(f"{event_id} ")}
        self.positions = others | {_name(event_id, frozen_at): position}
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
                json.dump({"key": self.key, "positions": self.positions}, file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.file)
        except OSError as error:
            log.warning("a reveal would begin anew after a restart: %s: %s", self.file.parent, error.strerror)
            self.file = None


def _name(event_id: int, frozen_at: datetime) -> str:
    return f"{event_id} {frozen_at.isoformat()}"
