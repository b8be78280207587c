"""The retry policy: how often, and how soon, a call is repeated."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from cloudfn.call.values import Deadline


class Retries:
    """At most three attempts at one call, the pause between them doubled each time, give or take half.

    Whether an attempt may be repeated at all is the caller's to know. One object serves all calls.
    """

    ATTEMPTS = 3
    FIRST_PAUSE = 0.2  # seconds

    def __init__(
        self, *, sleep: Callable[[float], None] = time.sleep, jitter: Callable[[], float] = random.random
    ) -> None:
        """`jitter` gives a number from 0 to 1."""
        self._sleep = sleep
        self._jitter = jitter

    def pause(self, made: int, at_least: float, deadline: Deadline) -> bool:
        """Wait before the attempt that follows the ones `made`; return False, at once, where there is none.

        `at_least` is the number of seconds that the server asks to wait. There is no further attempt either where the
        pause would outlast the deadline.
        """
        if made >= self.ATTEMPTS:
            return False
        seconds = max(at_least, self.FIRST_PAUSE * 2 ** (made - 1) * (0.5 + self._jitter()))
        try:
            fits = bool(seconds < deadline.remaining())
        except TimeoutError:
            fits = False
        if fits:
            self._sleep(seconds)
        return fits
