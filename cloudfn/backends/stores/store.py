"""What a store is: bytes and counters by key, and locks with an owner and a lease, all kept for a while."""

from __future__ import annotations

import contextlib
from typing import Protocol

from cloudfn.call.media import Bytes


class StoreError(Exception):
    """A store that cannot be reached or written to; the text holds neither its address nor its password."""


class Store(Protocol):
    """Bytes by key, for a while; thread-safe, and safe after a fork. Each method raises `StoreError`."""

    name: str

    def get(self, key: str) -> bytes | None:
        """Return the value, None where there is none or its life is over."""

    def set(self, key: str, value: Bytes, seconds: float) -> None:
        """Keep a value for a number of seconds, in place of any other."""

    def delete(self, key: str, value: Bytes) -> None:
        """Forget a value, if it is still this one."""

    def add(self, key: str, amount: int, seconds: float) -> int:
        """Add to a counter and return it; it begins at 0, and lives for a number of seconds from its first use."""

    def lock(self, key: str, lease: float) -> contextlib.AbstractContextManager[bool]:
        """Enter a block with the lock or without it: True where it was free. It is never held longer than the lease."""
