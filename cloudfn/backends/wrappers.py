"""Backends around a backend: a cache of results, a quota, smaller pictures for WeChat, the engine when WeChat cannot.

Each is a backend itself, so they are put around each other in any order; `backends.choose` does it in one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace
from typing import Any, NamedTuple

from cloudfn import forks
from cloudfn.backends.stores.store import Store, StoreError
from cloudfn.call.reply import errcode
from cloudfn.call.values import Backend, Call, Media, Ratios, Trace
from cloudfn.errors import CloudError, refusal, too_late

_log = logging.getLogger("cloudfn")

_URL_SECONDS = 60.0  # the longest that a URL's result is kept: another picture may be there a moment later
_LARGEST_RESULT = 64 * 1024  # bytes of JSON; a result with five boxes has less than 1 KB


class Wrapper:
    """The common part of the backends around one other backend."""

    def __init__(self, backend: Backend) -> None:
        self.name = backend.name
        self._backend = backend

    def begin(self, api: str) -> None:
        """Do nothing: a wrapper may end the call before anything goes out."""

    def warm_up(self, *, network: bool = False) -> None:
        """Load what the backend inside needs."""
        self._backend.warm_up(network=network)

    def close(self) -> None:
        """Close the backend inside."""
        self._backend.close()


class Cached(Wrapper):
    """A cache of the results of calls that succeeded; equal calls at the same time are one call."""

    def __init__(self, backend: Backend, store: Store, seconds: float, account: str) -> None:
        """`account`, an appid, separates the results of one account from another's."""
        super().__init__(backend)
        self._store = store
        self._seconds = seconds
        self._account = account
        self.after_fork()
        forks.watch(self)

    def after_fork(self) -> None:
        """Forget the calls under way: a child has none of the threads that make them."""
        self._guard = threading.Lock()
        self._running: dict[str, Future[bytes | None]] = {}

    def __call__(self, call: Call, trace: Trace) -> dict[str, Any]:
        key = self._key(call)
        mine: Future[bytes | None] = Future()
        with self._guard:
            running = self._running.setdefault(key, mine)
        if running is not mine:
            return self._shared(running, call, trace)
        content = None
        try:
            # Only now, so that a call that has just ended is either still running or in the store.
            content = self._kept(key)
            if content is not None:
                trace.answered_by = "cache"
                return _answer(content)
            answer = self._backend(call, trace)
            content = json.dumps(answer).encode()
            # An answer in WeChat's place is not WeChat's, which may be back a moment later.
            if not errcode(call.api, answer) and not trace.answered_by:
                self._keep(key, content, _URL_SECONDS if "imgUrl" in call.params else math.inf)
            return answer
        finally:
            with self._guard:
                self._running.pop(key, None)
            mine.set_result(content)

    def _shared(self, running: Future[bytes | None], call: Call, trace: Trace) -> dict[str, Any]:
        """Return the answer of an equal call under way; if that failed, which is raised there, make the call."""
        try:
            content = running.result(call.deadline.left)
        except FutureTimeout:
            raise too_late(call.api, call.deadline.seconds) from None
        if content is None:
            return self._backend(call, trace)
        trace.answered_by = "cache"
        return _answer(content)

    def _key(self, call: Call) -> str:
        digest = hashlib.sha256(f"{call.api}\n{self.name}\n{self._account}\n".encode())
        for name, value in sorted(call.params.items()):
            digest.update(f"{name}\n".encode())
            if isinstance(value, Media):
                digest.update(hashlib.sha256(value.value).digest())
            else:
                digest.update((value.text if isinstance(value, Ratios) else str(value)).encode())
            digest.update(b"\n")
        return f"result:{digest.hexdigest()}"

    def _kept(self, key: str) -> bytes | None:
        try:
            content = self._store.get(key)
            return content if content and isinstance(json.loads(content), dict) else None
        except (StoreError, ValueError):  # the store says so itself
            return None

    def _keep(self, key: str, content: bytes, most: float) -> None:
        if len(content) <= _LARGEST_RESULT:
            with contextlib.suppress(StoreError):
                self._store.set(key, content, min(self._seconds, most))


def _answer(content: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(content)
    return answer


class Quota(NamedTuple):
    """A number of calls allowed in each period of seconds; days begin at midnight in China, as WeChat's do."""

    calls: int
    seconds: int

    def period(self, now: float) -> int:
        """Return the number of the period that `now`, a Unix time, is in."""
        return int((now + 8 * 3600) // self.seconds)


class Counted(Wrapper):
    """A backend that fails a call over the quota with 45009, or 45011 for a minute's quota, before any network."""

    def __init__(
        self, backend: Backend, store: Store, quota: Quota, account: str, *, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(backend)
        self._store = store
        self._quota = quota
        self._account = account
        self._clock = clock

    def __call__(self, call: Call, trace: Trace) -> dict[str, Any]:
        key = f"quota:{self._account}:{call.api}:{self._quota.seconds}:{self._quota.period(self._clock())}"
        try:
            if self._add(key, 1) > self._quota.calls:
                raise refusal(
                    45011 if self._quota.seconds <= 60 else 45009,
                    f"CLOUDFN_QUOTA: {self._quota.calls} calls were made in this period of {self._quota.seconds} s",
                    "wait for the next period, raise CLOUDFN_QUOTA, or let the engine answer with CLOUDFN_FALLBACK=on",
                    api=call.api,
                )
            return self._backend(call, trace)
        except BaseException:
            if not trace.attempts:  # it did not get as far as WeChat
                self._add(key, -1)
            raise

    def _add(self, key: str, amount: int) -> int:
        """Count, and return the calls so far; 0 while the store is down."""
        try:
            return self._store.add(key, amount, self._quota.seconds + 60)
        except StoreError:
            return 0


# The failures that are WeChat's, not the caller's: busy (a gateway's HTTP 502 is -601001), out of quota, not to be
# reached, too slow.
_PASSES_ON = frozenset(
    {-1, 45009, 45011, 101003, -501001, -501002, -501003, -501004, -601001, -601003, -601008, -604102, -604103}
)
_RESERVE = 2.0  # seconds reserved for the engine; two fifths of a short budget


class Fallback:
    """A backend whose second answers when its first is busy, out of quota or cannot be reached within the budget.

    Never on a permission or parameter error. The log record says who answered and why.
    """

    def __init__(self, first: Backend, second: Backend) -> None:
        self.name = first.name
        self._first = first
        self._second = second

    def __call__(self, call: Call, trace: Trace) -> dict[str, Any]:
        reserve = min(_RESERVE, call.deadline.left * 0.4)
        failed: CloudError | None
        try:
            answer = self._first(replace(call, deadline=call.deadline.earlier(reserve)), trace)
            code = int(answer.get("errcode") or 0)
            if code not in _PASSES_ON:
                return answer
            failed = None
        except CloudError as error:
            if error.errCode not in _PASSES_ON:
                raise
            code, answer, failed = error.errCode, {}, error
        try:
            answer = self._second(call, trace)
        except CloudError as error:
            _log.warning("the engine cannot answer in WeChat's place: %s (errCode %d)", error.errMsg, error.errCode)
            if failed:
                raise failed from error
            return answer
        trace.answered_by = self._second.name
        trace.because = str(code)
        return answer

    def begin(self, api: str) -> None:
        self._first.begin(api)

    def warm_up(self, *, network: bool = False) -> None:
        self._first.warm_up(network=network)  # the second is loaded when it is needed

    def close(self) -> None:
        self._first.close()
        self._second.close()
