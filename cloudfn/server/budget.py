"""A limit on the bytes that a worker holds for its clients: bodies, and pictures fetched from URLs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """A number of bytes that all requests of a worker share; thread-safe."""

    def __init__(self, most: int) -> None:
        self._lock = threading.Lock()
        self._left = most

    @contextmanager
    def account(self) -> Iterator[Account]:
        """Open one request's account; its bytes are released at the end of the block."""
        account = Account(self)
        try:
            yield account
        finally:
            account.give_back()

    def take(self, count: int) -> bool:
        """Take bytes; return False, and take none, where fewer are left."""
        with self._lock:
            if count > self._left:
                return False
            self._left -= count
            return True


class Account:
    """The bytes that one request holds."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._held = 0

    def take(self, count: int) -> bool:
        """Hold this many more bytes; return False where the budget has fewer left."""
        if not self._budget.take(count):
            return False
        self._held += count
        return True

    def give_back(self) -> None:
        """Release all bytes."""
        self._budget.take(-self._held)
        self._held = 0
