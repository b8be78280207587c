"""Access tokens with the lifetimes that WeChat documents; the two ways to get one are independent of each other.

Source: WeChat's pages getAccessToken and getStableAccessToken.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

_Value = TypeVar("_Value")

LIFE = 7200  # seconds
OVERLAP = 300  # the older of two tokens lives on for so long; and a stable token has at least so long to live
_FORCED_APART = 30  # seconds between two forced refreshes
_FORCED_A_DAY = 20
_DAY = 86400
_KEPT = 10_000  # tokens, and appids, that are remembered: strangers may send any number of them


@dataclass
class _Token:
    value: str
    until: float
    afterwards: int = 42001  # the errcode once its life is over


class Issuer:
    """The issuer of access tokens, which remembers every one of them; thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget every token; all are invalid from now on."""
        with self._lock:
            self._known: dict[str, _Token] = {}
            self._latest: dict[str, _Token] = {}
            self._stable: dict[str, _Token] = {}
            self._forced: dict[str, list[float]] = {}

    def expire(self) -> None:
        """End the life of every token now, as if two hours had passed."""
        with self._lock:
            for token in self._known.values():
                token.until = min(token.until, self._clock())

    @property
    def living(self) -> int:
        """Return how many tokens are valid."""
        with self._lock:
            return sum(token.until > self._clock() for token in self._known.values())

    def issue(self, appid: str) -> tuple[str, int]:
        """Issue a new token, as GET /cgi-bin/token does; the previous one stays valid for five minutes."""
        with self._lock:
            before = self._latest.get(appid)
            if before:
                before.until, before.afterwards = min(before.until, self._clock() + OVERLAP), 40001
            token = _remember(self._latest, appid, self._new())
            return token.value, LIFE

    def stable(self, appid: str, *, force: bool = False) -> tuple[str, int]:
        """Return the stable token and the rest of its life, as POST /cgi-bin/stable_token does.

        It stays the same until five minutes before its end. `force` invalidates it at once and issues a new one, at
        most every 30 seconds and 20 times a day; more often nothing is refreshed.
        """
        with self._lock:
            now = self._clock()
            kept = self._stable.get(appid)
            if force and self._may_force(appid, now):
                if kept:
                    kept.until, kept.afterwards = now, 40001
                kept = None
            if kept is None or kept.until - now < OVERLAP:
                kept = _remember(self._stable, appid, self._new())
            return kept.value, int(kept.until - now)

    def problem(self, token: str) -> int:
        """Return the code that refuses a token: 40001 unknown or replaced, 42001 too old, 0 for a valid one."""
        with self._lock:
            life = self._known.get(token)
            if life is None:
                return 40001
            return 0 if self._clock() < life.until else life.afterwards

    def _may_force(self, appid: str, now: float) -> bool:
        forced = _remember(self._forced, appid, [at for at in self._forced.get(appid, ()) if at > now - _DAY])
        if len(forced) >= _FORCED_A_DAY or (forced and now - forced[-1] < _FORCED_APART):
            return False
        forced.append(now)
        return True

    def _new(self) -> _Token:
        value = f"{secrets.randbelow(90) + 10}_{secrets.token_urlsafe(96)}"
        return _remember(self._known, value, _Token(value, self._clock() + LIFE))


def _remember(table: dict[str, _Value], name: str, value: _Value) -> _Value:
    """Put a value into a table, from which the oldest ones drop out, and return it."""
    table[name] = value
    while len(table) > _KEPT:
        del table[next(iter(table))]
    return value
