"""Tokens that processes and machines share through a store: one of them asks WeChat, all of them use the answer.

The store's lock says who asks. Its holder may die: nobody waits longer than the lease, or than the call's own time. A
store that is down costs a request for a token, never a call.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from cloudfn.backends.stores import Store, StoreError
from cloudfn.backends.tokens import Ask, Issue, Token, kept_for
from cloudfn.net.deadline import Deadline
from cloudfn.secret import Secret

_log = logging.getLogger("cloudfn")

_LEASE = 10.0  # seconds that a request for a token may take, as CLOUDFN_TIMEOUT by default
_POLL = 0.02  # seconds between two looks at the lock


class SharedAsk:
    """A request for a token that tries the store before WeChat; it stands in for the latter in `tokens.Issued`."""

    def __init__(
        self,
        ask: Ask,
        store: Store,
        key: str,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`key` holds the appid and no secret."""
        self._ask = ask
        self._store = store
        self._key = key
        self._clock = clock
        self._sleep = sleep
        self._is_down = threading.Event()

    def __call__(self, api: str, deadline: Deadline) -> Issue:
        """Return a token that is stored or, under the lock, a new one; raise what asking WeChat raises."""
        end = time.monotonic() + _LEASE
        while True:
            try:
                issue = self._stored()
                if issue is None:
                    with self._store.lock(self._key, _LEASE) as is_mine:
                        if is_mine or time.monotonic() >= end:
                            # Between the look and the lock another holder may have stored one.
                            issue = self._stored() or self._new(api, deadline)
            except StoreError as error:
                if not self._is_down.is_set():
                    _log.warning("the store of CLOUDFN_STORE cannot be used, so this process asks itself: %s", error)
                self._is_down.set()
                return self._ask(api, deadline)
            self._is_down.clear()
            if issue is not None:
                return issue
            self._sleep(min(_POLL, deadline.remaining()))

    def forget(self, refused: Token) -> None:
        """Drop a token that WeChat refused, unless another process has put a new one in its place."""
        try:
            content = self._store.get(self._key)
            if content and _read(content)[0] == refused.value:
                self._store.delete(self._key, content)
        except StoreError:
            pass  # the next call says so

    def _stored(self) -> Issue | None:
        content = self._store.get(self._key)
        if not content:
            return None
        value, until, life = _read(content)
        # Another machine's clock may be wrong: what is left is never more than the whole life.
        left = min(until - self._clock(), life)
        return Issue(value, left) if value and left > 0 else None

    def _new(self, api: str, deadline: Deadline) -> Issue:
        issue = self._ask(api, deadline)
        kept = kept_for(issue.life)
        life = kept_life(issue.life)
        content = json.dumps({"access_token": issue.value.reveal(), "until": self._clock() + life, "life": life})
        try:
            self._store.set(self._key, content.encode(), kept)
        except StoreError as error:
            _log.warning("the new token is not shared: %s", error)
        return issue


def kept_life(life: object) -> float:
    """Return a token's life, as WeChat states it, as a number; a token without one is taken for short-lived."""
    return float(life) if isinstance(life, (int, float)) and not isinstance(life, bool) and life > 0 else 60.0


def _read(content: bytes) -> tuple[Secret, float, float]:
    """Return the token, its end by the clock of whoever stored it, and its whole life; empty for invalid content."""
    try:
        kept: dict[str, Any] = json.loads(content)
        return Secret(str(kept["access_token"])), float(kept["until"]), float(kept["life"])
    except (ValueError, KeyError, TypeError):
        return Secret(""), 0.0, 0.0
