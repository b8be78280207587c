"""A store in whose place calls go on without one for a while, once it has failed."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cloudfn.backends.stores.store import Store, StoreError
from cloudfn.call.media import Bytes

_log = logging.getLogger("cloudfn")

_PAUSE = 5.0  # seconds for which a store that failed is left alone


class Resting:
    """A store that is left alone for a while after it failed: that costs calls no time, and the log one warning."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = store.name
        self._store = store
        self._clock = clock
        self._until = -math.inf
        self._failed = False

    def get(self, key: str) -> bytes | None:
        with self._watched():
            return self._store.get(key)

    def set(self, key: str, value: Bytes, seconds: float) -> None:
        with self._watched():
            self._store.set(key, value, seconds)

    def delete(self, key: str, value: Bytes) -> None:
        with self._watched():
            self._store.delete(key, value)

    def add(self, key: str, amount: int, seconds: float) -> int:
        with self._watched():
            return self._store.add(key, amount, seconds)

    @contextmanager
    def lock(self, key: str, lease: float) -> Iterator[bool]:
        with contextlib.ExitStack() as held:
            with self._watched():
                is_mine = held.enter_context(self._store.lock(key, lease))
            yield is_mine

    @contextmanager
    def _watched(self) -> Iterator[None]:
        if self._clock() < self._until:
            raise StoreError("it failed a moment ago")
        try:
            yield
        except StoreError as error:
            self._until = self._clock() + _PAUSE
            if not self._failed:
                effect = "each process fetches tokens itself, results are not kept, calls are not counted"
                _log.warning("CLOUDFN_STORE: %s; until it works again %s", error, effect)
            self._failed = True
            raise
        self._failed = False
