"""Access tokens: where one comes from, how long it is good, and what to do when WeChat refuses it."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cloudfn.errors import CloudError, refusal
from cloudfn.net.deadline import Deadline
from cloudfn.settings import Settings

# WeChat's words for: this token is not good (any more).
REFUSED = frozenset({40001, 40014, 42001})

# WeChat hands out a new stable token from 300 s before the old one ends, and both work for that time.
_RENEWAL = 300
_LONGEST = 7200  # no WeChat token lives longer
_UNKNOWN_LIFE = 60  # of a token whose life is not told: short, but no storm of requests


@dataclass(frozen=True)
class Token:
    """A query parameter's name and value; the latter is secret."""

    parameter: str
    value: str = field(repr=False)


class TokenSource(Protocol):
    """Where tokens come from."""

    def get(self, api: str, deadline: Deadline) -> Token | None:
        """A token to call with, None where none is sent; raises `CloudError`, and TimeoutError at the deadline."""

    def renew(self, refused: Token) -> bool:
        """Told that WeChat refused this token; whether `get` may give another one now."""


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

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, api: str, deadline: Deadline) -> Token:  # noqa: ARG002
        return self._read(api)

    def renew(self, refused: Token) -> bool:
        try:
            return self._read("") != refused
        except CloudError:
            return False

    def _read(self, api: str) -> Token:
        try:
            value = self._path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            value, why = "", f"cannot be read ({type(error).__name__})"
        else:
            why = "is empty"
        if not value:
            cure = (
                'switch on the "cloud call token" for the CloudRun version, or correct WX_CLOUDBASE_ACCESS_TOKEN_FILE'
            )
            raise refusal(41001, f"access_token missing: {self._path} {why}", cure, api=api)
        return Token("cloudbase_access_token", value)


class _AbandonedError(Exception):
    """The thread that asked for a token gave up for a reason of its own."""


class Issued:
    """Tokens that WeChat issues for an appid and its secret, kept in memory until shortly before they end.

    However many threads ask at once, one request is made; all of them get its answer, or its error.
    """

    def __init__(self, ask: Callable[[str, Deadline], dict[str, Any]], clock: Callable[[], float] = time.time) -> None:
        """`ask` gives WeChat's JSON with a new token, for the call of an API, or raises `CloudError`.

        The clock is the wall's: a monotonic one may stand still while a platform freezes the process.
        """
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: tuple[Token, float] | None = None
        self._pending: Future[Token] | None = None

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
        with self._lock:
            if self._kept and self._kept[0] == refused:
                self._kept = None
        return True

    def _fetch(self, pending: Future[Token], api: str, deadline: Deadline) -> Token:
        try:
            answer = self._ask(api, deadline)
            token = Token("access_token", answer["access_token"])
            until = self._clock() + _kept_for(answer.get("expires_in"))
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


def _kept_for(life: object) -> float:
    """Seconds that a token of this life is kept: until 5 minutes before its end, of less than 10 minutes half."""
    if isinstance(life, bool) or not isinstance(life, (int, float)) or not life > 0:
        life = _UNKNOWN_LIFE
    life = min(life, _LONGEST)
    return life - _RENEWAL if life >= 2 * _RENEWAL else life / 2


class Missing:
    """No credentials: every call ends with 41001 and the cure."""

    def __init__(self, cure: str) -> None:
        self._cure = cure

    def get(self, api: str, deadline: Deadline) -> Token | None:  # noqa: ARG002
        raise refusal(41001, "access_token missing", self._cure, api=api)

    def renew(self, refused: Token) -> bool:  # noqa: ARG002
        return False


def source(settings: Settings, ask: Callable[[str, Deadline], dict[str, Any]]) -> TokenSource:
    """The source that the settings name: the first of their credentials, none for CloudRun's side-car."""
    if settings.uses_side_car:
        return Fixed(None)
    name = next(iter(settings.credentials()), None)
    if name in ("access_token", "cloudbase_access_token"):
        return Fixed(Token(name, getattr(settings, name)))
    if name == "cloudbase_access_token_file":
        return TokenFile(Path(settings.cloudbase_access_token_file))
    if name:
        return Issued(ask)
    return Missing(settings.missing_credential)
