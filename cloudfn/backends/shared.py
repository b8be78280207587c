"""Tokens that processes and machines share through a store: one of them asks WeChat, all of them use the answer.

The store's lock says who asks. Its holder may die: nobody waits longer than the lease, or than the call's own time. A
store that is down costs a request for a token, never a call.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from typing import Any

from cloudfn.backends.stores.store import Store, StoreError
from cloudfn.backends.tokens import Ask, Issue, Token, kept_for, life_of
from cloudfn.call.values import Deadline
from cloudfn.secret import Secret, unshown_json

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

    def __call__(self, api: str, deadline: Deadline) -> Issue:
        """Return a token that is stored or, under the lock, a new one; raise what asking WeChat raises."""
        # Whoever waits for another's request keeps time for one of its own: the other may have died.
        end = time.monotonic() + min(_LEASE, deadline.left / 2)
        while True:
            try:
                issue = self._stored()
                if issue is None:
                    with self._store.lock(self._key, _LEASE) as is_mine:
                        if is_mine or time.monotonic() >= end:
                            # Between the look and the lock another holder may have stored one.
                            issue = self._stored() or self._new(api, deadline)
            except StoreError:
                return self._ask(api, deadline)
            if issue is not None:
                return issue
            self._sleep(min(_POLL, deadline.remaining()))

    def forget(self, refused: Token) -> None:
        """Drop a token that WeChat refused, unless another process has put a new one in its place."""
        with contextlib.suppress(StoreError):
            content = memoryview(self._store.get(self._key) or b"")  # whose repr shows nothing
            if _read(content)[0] == refused.value:
                self._store.delete(self._key, content)

    def _stored(self) -> Issue | None:
        value, until, life = _read(self._store.get(self._key) or b"")
        # Another machine's clock may be wrong: what is left is never more than the whole life.
        left = min(until - self._clock(), life)
        return Issue(value, left) if value and left > 0 else None

    def _new(self, api: str, deadline: Deadline) -> Issue:
        issue = self._ask(api, deadline)
        life = life_of(issue.life)
        kept = {"access_token": issue.value, "until": self._clock() + life, "life": life}
        with contextlib.suppress(StoreError):
            self._store.set(self._key, unshown_json(kept), kept_for(life))
        return issue


def _read(content: bytes | memoryview) -> tuple[Secret, float, float]:
    """Return the token, its end by the clock of whoever stored it, and its whole life; empty for invalid content."""
    try:
        kept: dict[str, Any] = json.loads(bytes(content))
        return Secret(str(kept["access_token"])), float(kept["until"]), float(kept["life"])
    except (ValueError, KeyError, TypeError):
        return Secret(""), 0.0, 0.0
