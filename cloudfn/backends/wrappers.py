"""Backends around a backend: a cache of results, a quota, smaller pictures for WeChat, the engine when WeChat cannot.

Each is a backend itself, so they are put around each other in any order; `backends.choose` does it in one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, NamedTuple

from cloudfn.backends.stores import Store, StoreError
from cloudfn.call.values import Backend, Call, Media, Ratios, Trace
from cloudfn.errors import CloudError, refusal

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
        """`account` separates the results of one account from another's: a hash, not a secret."""
        super().__init__(backend)
        self._store = store
        self._seconds = seconds
        self._account = account
        self._guard = threading.Lock()
        self._running: dict[str, Future[dict[str, Any]]] = {}

    def __call__(self, call: Call, trace: Trace) -> dict[str, Any]:
        key = self._key(call)
        kept = self._kept(key)
        if kept is not None:
            trace.answered_by = "cache"
            return kept
        with self._guard:
            running = self._running.get(key)
            mine: Future[dict[str, Any]] = Future()
            if running is None:
                self._running[key] = mine
        if running is not None:
            return self._shared(running, call, trace)
        try:
            answer = self._backend(call, trace)
        except BaseException as error:
            mine.set_exception(error)
            mine.exception()
            raise
        else:
            mine.set_result(answer)
        finally:
            with self._guard:
                del self._running[key]
        if not answer.get("errcode"):
            self._keep(key, answer, _URL_SECONDS if "imgUrl" in call.params else math.inf)
        return answer

    def _shared(self, running: Future[dict[str, Any]], call: Call, trace: Trace) -> dict[str, Any]:
        """Return the answer of an equal call under way; if that fails or takes too long, make the call."""
        try:
            answer = running.result(call.seconds)
        except BaseException:  # noqa: BLE001 - it was the other call's failure, and is raised there
            return self._backend(call, trace)
        trace.answered_by = "cache"
        return json.loads(json.dumps(answer))  # type: ignore[no-any-return]  # a copy: the caller may change it

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

    def _kept(self, key: str) -> dict[str, Any] | None:
        try:
            content = self._store.get(key)
            answer = json.loads(content) if content else None
        except (StoreError, ValueError) as error:
            _log.warning("the store of CLOUDFN_CACHE cannot be read, so the call is made: %s", error)
            return None
        return answer if isinstance(answer, dict) else None

    def _keep(self, key: str, answer: dict[str, Any], most: float) -> None:
        content = json.dumps(answer).encode()
        if len(content) > _LARGEST_RESULT:
            return
        try:
            self._store.set(key, content, min(self._seconds, most))
        except StoreError as error:
            _log.warning("the store of CLOUDFN_CACHE cannot be written to, so the result is not kept: %s", error)


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
        now = self._clock()
        key = f"quota:{self._account}:{call.api}:{self._quota.seconds}:{self._quota.period(now)}"
        try:
            used = self._store.add(key, 1, self._quota.seconds + 60)
        except StoreError as error:
            _log.warning("the store of CLOUDFN_QUOTA does not answer, so the call is not counted: %s", error)
            used = 0
        if used > self._quota.calls:
            minute = self._quota.seconds <= 60
            raise refusal(
                45011 if minute else 45009,
                f"CLOUDFN_QUOTA: {self._quota.calls} calls were made in this period of {self._quota.seconds} s",
                "wait for the next period, raise CLOUDFN_QUOTA, or let the engine answer with CLOUDFN_FALLBACK=on",
                api=call.api,
            )
        return self._backend(call, trace)


# The failures that are WeChat's, not the caller's: busy, out of quota, not to be reached, too slow.
_PASSES_ON = frozenset({-1, 45009, 45011, 101003, -501001, -501002, -501004, -601003, -601008, -604102, -604103})
_RESERVE = 2.0  # seconds reserved for the engine; two fifths of a short budget


class Fallback:
    """A backend whose second answers when its first is busy, out of quota or cannot be reached within the budget.

    Never on a permission or parameter error. The log record says who answered and why.
    """

    def __init__(
        self, first: Backend, second: Backend, seconds: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`seconds`: the budget of one call, as CLOUDFN_TIMEOUT sets it."""
        self.name = first.name
        self._first = first
        self._second = second
        self._seconds = seconds
        self._clock = clock

    def __call__(self, call: Call, trace: Trace) -> dict[str, Any]:
        budget = min(self._seconds, call.seconds or math.inf)
        end = self._clock() + budget
        failed: CloudError | None
        try:
            answer = self._first(replace(call, seconds=budget - min(_RESERVE, budget * 0.4)), trace)
            code = int(answer.get("errcode") or 0)
            if code not in _PASSES_ON:
                return answer
            failed = None
        except CloudError as error:
            if error.errCode not in _PASSES_ON:
                raise
            code, answer, failed = error.errCode, {}, error
        try:
            answer = self._second(replace(call, seconds=max(0.05, end - self._clock())), trace)
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
