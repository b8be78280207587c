"""The daily quota of crops, as a WeChat account has it."""

from __future__ import annotations

import threading
from collections.abc import Callable

_DAY = 86400
_CHINA = 8 * 3600  # seconds that China is ahead of UTC


class Quota:
    """Today's crops; thread-safe. The day ends at midnight in China."""

    def __init__(self, limit: int | None, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._first = limit
        self.set(limit)

    def set(self, limit: int | None) -> None:
        """Set another limit, None for no limit, and start counting anew."""
        with self._lock:
            self.limit, self.used, self._day = limit, 0, self._today()

    def reset(self) -> None:
        """Restore the first limit."""
        self.set(self._first)

    def take(self) -> bool:
        """Use up one crop; return False when none is left."""
        with self._lock:
            if self._day != self._today():
                self.used, self._day = 0, self._today()
            if self.limit is not None and self.used >= self.limit:
                return False
            self.used += 1
            return True

    def _today(self) -> int:
        return int((self._clock() + _CHINA) // _DAY)
