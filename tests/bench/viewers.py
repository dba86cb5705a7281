"""`python -m tests.bench.viewers HOST PORT PATH N`: so many viewers of a stream.

Prints "watching" once each has had the first bytes, then for each event the time (Unix, seconds) at which the last
viewer had the last byte of it, and its size. An event ends where no viewer has received anything for QUIET seconds.
"""

from __future__ import annotations

import resource
import select
import socket
import sys
import time

QUIET = 0.15


def main() -> None:
    """Watch until killed."""
    host, port, path, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    poll = select.epoll()
    sockets = {}
    for _ in range(count):
        viewer = socket.create_connection((host, port))
        viewer.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: gzip\r\n\r\n".encode())
        viewer.setblocking(False)
        sockets[viewer.fileno()] = viewer
        poll.register(viewer.fileno(), select.EPOLLIN)
    silent = set(sockets)
    while silent:
        for number, _ in poll.poll():
            if not sockets[number].recv(2**16):
                raise SystemExit("the server closed a stream")
            silent.discard(number)
    while poll.poll(1):  # what belongs to the first bytes
        for number, _ in poll.poll(0):
            sockets[number].recv(2**16)
    print("watching", flush=True)
    had: dict[int, int] = {}
    last = 0.0
    while True:
        ready = poll.poll(QUIET if had else None)
        if not ready:
            print(last, len(had), max(had.values()), flush=True)
            had = {}
            continue
        for number, _ in ready:
            received = sockets[number].recv(2**16)
            if not received:
                raise SystemExit("the server closed a stream")
            had[number] = had.get(number, 0) + len(received)
        last = time.time()


if __name__ == "__main__":
    main()
