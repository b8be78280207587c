"""The connections of one worker: an address has a share of them, and those that send nothing make room for others.

granian closes a connection whose request head does not come within seconds, but does not limit how many one address
has open. So the worker looks at its own sockets now and then, and closes those that wait: the sockets without a
request in progress, the oldest first, of an address that has more than its share, and of all when there are too many.

A client that does not take its answer is cut off too: granian holds the answer in memory and waits for ever.
"""

from __future__ import annotations

import os
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_FOLDERS = (Path("/proc/self/fd"), Path("/dev/fd"))  # where Linux, and others, list a process' descriptors
_TCP_INFO = slice(120, 128)  # where tcpi_bytes_acked stands in Linux' struct tcp_info
_CROWDED = 0.75  # of all connections: beyond this share, waiting ones of any address are closed


class Connections:
    """The open connections, and those with a request in progress. For the event loop's thread only."""

    def __init__(self, port: int, most: int, per_address: int, patience: float = 30) -> None:
        """Watch the worker's `port`.

        `most` is how many connections it accepts, `per_address` those of one address. `patience` is how many looks find
        a client that takes nothing of its answer before it is cut off.
        """
        self._port = port
        self._patience = patience
        self._untaken: dict[str, tuple[bytes, int]] = {}  # a peer -> its progress, and the looks that found the same
        self._most = int(most * _CROWDED)
        self._per_address = per_address
        # Requests in progress by peer, address and port, and by address. A client that sends the next request without
        # waiting has two: the next one begins while the last one's body is still read to its end.
        self._busy: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()
        self._seen: dict[str, None] = {}  # the peers of the last look, the oldest first

    def begin(self, peer: str) -> bool:
        """Note that a request of `peer` is in progress; return False where its address has its share already."""
        address = peer.rpartition(":")[0]
        if self._requests[address] >= self._per_address:
            return False
        self._busy[peer] += 1
        self._requests[address] += 1
        return True

    def end(self, peer: str) -> None:
        """Note that the request is over."""
        for counter, name in ((self._busy, peer), (self._requests, peer.rpartition(":")[0])):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]

    def thin_out(self) -> int:
        """Close what waits beyond a share, and cut off whoever takes no answer; return how many."""
        looked = list(_accepted(self._port))
        open_now = {peer: descriptor for peer, descriptor, _ in looked}
        self._untaken = {peer: (now, self._looks(peer, now) + 1) for peer, _, now in looked if now}
        stuck = [peer for peer, (_, looks) in self._untaken.items() if looks > self._patience]
        cut = sum(_close(open_now[peer], peer) for peer in stuck)
        self._seen = {peer: None for peer in self._seen if peer in open_now} | dict.fromkeys(open_now)
        by_address = Counter(peer.rpartition(":")[0] for peer in open_now)
        too_many = len(open_now) - self._most
        closed = 0
        for peer in list(self._seen):
            address = peer.rpartition(":")[0]
            if peer in self._busy or (by_address[address] <= self._per_address and closed >= too_many):
                continue
            by_address[address] -= 1
            closed += _close(open_now[peer], peer)
        return closed + cut

    def _looks(self, peer: str, now: bytes) -> int:
        """Return how many looks in a row have found this progress of a peer."""
        before, looks = self._untaken.get(peer, (b"", 0))
        return looks if before == now else 0


def _accepted(port: int) -> Iterator[tuple[str, int, bytes]]:
    """Yield of each connection that was accepted on the port the peer, the descriptor and the `_progress`."""
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    for name in os.listdir(folder) if folder else ():  # noqa: PTH208 - names alone: thousands of them
        descriptor = int(name)
        with suppress(OSError), _socket(descriptor) as own:
            if own.family in (socket.AF_INET, socket.AF_INET6) and own.getsockname()[1] == port:
                yield _peer(own), descriptor, _progress(own)


def _progress(own: socket.socket) -> bytes:
    """Return a value that changes as long as the peer takes its answer.

    It is b"" where the kernel holds nothing for the peer, or is not Linux', which tells.
    """
    if sys.platform != "linux":
        return b""
    import fcntl
    import termios

    held: bytes = fcntl.ioctl(own.fileno(), termios.TIOCOUTQ, bytes(4))
    acknowledged = own.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.stop)[_TCP_INFO]
    return held + acknowledged if any(held) else b""


def _socket(descriptor: int) -> socket.socket:
    """Return a separate socket object for a descriptor; raises OSError where it is no socket, or closed by now."""
    copy = os.dup(descriptor)
    try:
        return socket.socket(fileno=copy)
    except OSError:  # which leaves the copy open
        os.close(copy)
        raise


def _peer(own: socket.socket) -> str:
    host, port = own.getpeername()[:2]
    return f"[{host}]:{port}" if own.family == socket.AF_INET6 else f"{host}:{port}"


def _close(descriptor: int, peer: str) -> bool:
    """Shut a connection down; granian, which owns it, sees its end."""
    with suppress(OSError), _socket(descriptor) as own:
        if _peer(own) == peer:  # the number may be another connection's by now
            own.shutdown(socket.SHUT_RDWR)
            return True
    return False
