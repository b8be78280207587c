"""The pace of calls to WeChat: a rate, and a quota for each of its days."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

_CHINA = timezone(timedelta(hours=8))  # WeChat's quotas begin anew at midnight there
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:/\s*([smhd])?)?")


def rate(text: str) -> float:
    """Return the calls a second of "5/s", "100/m" or "5"; ValueError for anything else."""
    match = _RATE.fullmatch(text.strip())
    if not match or not float(match[1]) > 0:
        raise ValueError("a number of calls a second, minute, hour or day, such as 5/s or 100/h")
    return float(match[1]) / _UNITS[match[2] or "s"]


class Pace:
    """A rate limit that spreads calls evenly; `pause()` is called before each."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._between = 1 / per_second
        self._clock = clock
        self._next = clock()

    def pause(self) -> float:
        """Return the seconds until the next call may start; 0 lets it start, and counts it."""
        now = self._clock()
        if now < self._next:
            return self._next - now
        self._next = max(self._next, now) + self._between
        return 0.0


def today(stamp: object, now: float | None = None) -> bool:
    """Return whether a line's time lies in WeChat's current day, which begins at midnight in China."""
    try:
        then = datetime.fromisoformat(str(stamp).replace("Z", "+00:00"))
    except ValueError:
        return False
    present = datetime.fromtimestamp(time.time() if now is None else now, _CHINA)
    return then.tzinfo is not None and then.astimezone(_CHINA).date() == present.date()
