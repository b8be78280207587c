"""The store in this process's own memory."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cloudfn import forks
from cloudfn.call.media import Bytes


class Memory:
    """This process's own memory: at most `largest` bytes, the least recently used are dropped."""

    name = "memory"

    def __init__(self, *, largest: int = 32 * 1024 * 1024, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._largest = largest
        self.after_fork()
        forks.watch(self)

    def after_fork(self) -> None:
        """Start afresh; in a child the lock may be held by a thread that does not exist there."""
        self._guard = threading.Lock()
        self._kept: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._locks: dict[str, tuple[str, float]] = {}
        self._size = 0

    def get(self, key: str) -> bytes | None:
        with self._guard:
            return self._living(key)

    def set(self, key: str, value: Bytes, seconds: float) -> None:
        with self._guard:
            self._put(key, bytes(value), self._clock() + seconds)

    def delete(self, key: str, value: Bytes) -> None:
        with self._guard:
            if self._living(key) == value:
                self._drop(key)

    def add(self, key: str, amount: int, seconds: float) -> int:
        with self._guard:
            value = self._living(key)
            until = self._kept[key][1] if value is not None else self._clock() + seconds
            count = int(value or 0) + amount
            self._put(key, str(count).encode(), until)
            return count

    @contextmanager
    def lock(self, key: str, lease: float) -> Iterator[bool]:
        owner = secrets.token_hex(8)
        with self._guard:
            held = self._locks.get(key)
            free = held is None or held[1] <= self._clock()
            if free:
                self._locks[key] = owner, self._clock() + lease
        try:
            yield free
        finally:
            with self._guard:
                if self._locks.get(key, ("", 0))[0] == owner:
                    del self._locks[key]

    def _living(self, key: str) -> bytes | None:
        value, until = self._kept.get(key, (b"", 0.0))
        if key not in self._kept or until <= self._clock():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return value

    def _put(self, key: str, value: bytes, until: float) -> None:
        self._drop(key)
        self._kept[key] = value, until
        self._size += len(key) + len(value)
        while self._size > self._largest:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        dropped = self._kept.pop(key, None)
        if dropped:
            self._size -= len(key) + len(dropped[0])
