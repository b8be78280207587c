"""Access tokens: their sources, how long they are valid, and what to do when WeChat refuses one."""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import NamedTuple, Protocol

from cloudfn import files, forks
from cloudfn.call.values import Deadline
from cloudfn.errors import CloudError, refusal
from cloudfn.secret import Secret

# WeChat's words for a token that is not valid, or no longer.
REFUSED = frozenset({40001, 40014, 42001})

# WeChat hands out a new stable token from 300 s before the old one ends, and both work for that time.
_RENEWAL = 300
_LONGEST = 7200  # no WeChat token lives longer
_UNKNOWN_LIFE = 60  # of a token without a stated life: short, but no storm of requests


class Token(NamedTuple):
    """A query parameter's name and its secret value."""

    parameter: str
    value: Secret


class Issue(NamedTuple):
    """A token as WeChat issues it; `life` is what stands in expires_in, normally a number of seconds."""

    value: Secret
    life: object


Ask = Callable[[str, Deadline], Issue]
"""Asks WeChat for a token for a call of the API that is named; raises `CloudError`."""


class TokenSource(Protocol):
    """A source of access tokens."""

    def get(self, api: str, deadline: Deadline) -> Token | None:
        """Return a token, None where none is sent; raise `CloudError`, and TimeoutError at the deadline."""

    def renew(self, refused: Token) -> bool:
        """Drop the token that WeChat refused; return whether `get` may give another one now."""


class Fixed:
    """A token from outside, or none; there is no other."""

    def __init__(self, token: Token | None) -> None:
        self._token = token

    def get(self, api: str, deadline: Deadline) -> Token | None:  # noqa: ARG002 - other sources ask the network
        return self._token

    def renew(self, refused: Token) -> bool:  # noqa: ARG002
        return False


class TokenFile:
    """A cloudbase token in a file that CloudRun replaces every 10 minutes: read for each call."""

    def __init__(self, path: str) -> None:
        self._path = path

    def get(self, api: str, deadline: Deadline) -> Token:  # noqa: ARG002
        return self._read(api)

    def renew(self, refused: Token) -> bool:
        try:
            return self._read("") != refused
        except CloudError:
            return False

    def _read(self, api: str) -> Token:
        value = why = None
        try:
            value = Secret(files.read(self._path).decode().strip())
        except OSError as error:
            why = f"cannot be read ({error.strerror})"
        except UnicodeDecodeError:
            why = "cannot be read (it is no text)"
        if not value:
            cure = (
                'switch on the "cloud call token" for the CloudRun version, or correct WX_CLOUDBASE_ACCESS_TOKEN_FILE'
            )
            raise refusal(41001, f"access_token missing: {self._path} {why or 'is empty'}", cure, api=api)
        return Token("cloudbase_access_token", value)


class _AbandonedError(Exception):
    """The thread that requested a token gave up for a reason of its own."""


class Issued:
    """Tokens that WeChat issues for an appid and its secret, kept in memory until shortly before they end.

    However many threads ask at once, one request is made; all of them get its answer, or its error.
    """

    def __init__(
        self,
        ask: Ask,
        clock: Callable[[], float] = time.time,
        *,
        forget: Callable[[Token], None] = lambda _refused: None,
    ) -> None:
        """`forget` is called with each token that WeChat refused, so that it is never used again.

        The clock is the wall's: a monotonic one may stand still while a platform freezes the process.
        """
        self._ask = ask
        self._forget = forget
        self._clock = clock
        self._kept: tuple[Token, float] | None = None
        self.after_fork()
        forks.watch(self)

    def after_fork(self) -> None:
        """Keep the token in the child, which requests the next one itself."""
        self._lock = threading.Lock()
        self._pending: Future[Token] | None = None

    def begin(self, api: str, seconds: float) -> None:
        """Fetch a token in a thread of its own, if there is none; whoever needs it joins with `get`."""

        def fetch() -> None:
            with contextlib.suppress(CloudError, TimeoutError):
                self.get(api, Deadline(seconds))

        with self._lock:
            known = self._pending or (self._kept and self._clock() < self._kept[1])
        if not known:
            with contextlib.suppress(RuntimeError):  # no thread is left: then nothing is won
                threading.Thread(target=fetch, name="cloudfn-token", daemon=True).start()

    def get(self, api: str, deadline: Deadline) -> Token:
        while True:
            with self._lock:
                if self._kept and self._clock() < self._kept[1]:
                    return self._kept[0]
                pending, mine = self._pending, self._pending is None
                if pending is None:
                    pending = self._pending = Future()
            if mine:
                return self._fetch(pending, api, deadline)
            try:
                return pending.result(deadline.remaining())
            except FutureTimeout:  # which is TimeoutError itself only from Python 3.11 on
                raise TimeoutError from None
            except _AbandonedError:
                continue
            except CloudError as error:
                raise copy.copy(error) from error.__cause__

    def renew(self, refused: Token) -> bool:
        self._forget(refused)  # first: in between another call would take the same token out of the store again
        with self._lock:
            if self._kept and self._kept[0] == refused:
                self._kept = None
        return True

    def _fetch(self, pending: Future[Token], api: str, deadline: Deadline) -> Token:
        try:
            issue = self._ask(api, deadline)
            token = Token("access_token", issue.value)
            until = self._clock() + kept_for(issue.life)
        except BaseException as error:
            with self._lock:
                self._pending = None
            # What WeChat said holds for everyone; that this call's time was over, or that it was interrupted, does not.
            shared = isinstance(error, CloudError) and error.errCode != -604102
            pending.set_exception(error if shared else _AbandonedError())
            raise
        with self._lock:
            self._kept, self._pending = (token, until), None
        pending.set_result(token)
        return token


def life_of(stated: object) -> float:
    """Return a token's life in seconds for what stands in expires_in, which may be anything."""
    if isinstance(stated, bool) or not isinstance(stated, (int, float)) or not stated > 0:
        return _UNKNOWN_LIFE
    return min(stated, _LONGEST)


def kept_for(stated: object) -> float:
    """Return the seconds to keep a token of this life: until 5 minutes before its end, half of less than 10 minutes."""
    life = life_of(stated)
    return life - _RENEWAL if life >= 2 * _RENEWAL else life / 2


class Missing:
    """No credentials: every call ends with 41001 and the cure."""

    def __init__(self, cure: str) -> None:
        self._cure = cure

    def get(self, api: str, deadline: Deadline) -> Token | None:  # noqa: ARG002
        raise refusal(41001, "access_token missing", self._cure, api=api)

    def renew(self, refused: Token) -> bool:  # noqa: ARG002
        return False
