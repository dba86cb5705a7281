"""A proxy before the server, whose connections can be made to say nothing more."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path


class Proxy:
    """Stands before the server's Unix socket.

    `freeze` has what is connected hear nothing more, and stay connected; `freeze_what_comes` has each new connection
    do so. met: a connection came.
    """

    def __init__(self, server: Path, path: Path) -> None:
        self._server = server
        self._age = 0
        self._is_deaf = False
        self.met = threading.Event()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._open = [self._listening]
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """From now on nothing passes on the connections that there are."""
        self._age += 1

    def freeze_what_comes(self) -> None:
        """From now on nothing passes on any connection."""
        self._is_deaf = True

    def close(self) -> None:
        """End all of them."""
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self.met.set()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._server))
                self._open += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(*pair, self._age), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, age: int) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if age == self._age and not self._is_deaf:
                    target.sendall(data)
            target.shutdown(socket.SHUT_WR)
