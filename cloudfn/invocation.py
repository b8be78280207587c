"""The invocation that runs now, as its platform describes it: who calls, with which token, and the time left.

It is kept beside the call and not in its parameters, so that a user's own function passes nothing on: a cloud call
made anywhere below it, in the same thread, finds it here. A thread that the function starts itself finds nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from cloudfn.secret import Secret

# Seconds of the platform's time reserved for sending the answer; a tenth of a short time.
_RESERVE = 0.5


@dataclass(frozen=True)
class Invocation:
    """`caller` is getWXContext's result, None where the environment holds it; `left` returns the seconds left.

    `request_id` is the platform's id of the request, "" where it has none.
    """

    caller: Mapping[str, str | int] | None = None
    token: Secret | None = None
    left: Callable[[], float] | None = None
    request_id: str = ""


_awaits: ContextVar[bool] = ContextVar("cloudfn_awaits", default=False)
_current: ContextVar[Invocation] = ContextVar("cloudfn_invocation")
_NONE = Invocation()


def current() -> Invocation:
    """Return the invocation that runs, or an empty one."""
    return _current.get(_NONE)


@contextmanager
def running(invocation: Invocation) -> Iterator[None]:
    """Make this invocation the `current` one inside a block."""
    token = _current.set(invocation)
    try:
        yield
    finally:
        _current.reset(token)


def awaits() -> bool:
    """Return whether an `async def` function runs here that awaits its cloud calls, as the Node original does."""
    return _awaits.get()


def await_calls() -> None:
    """Make cloud calls coroutines from now on, in this context."""
    _awaits.set(True)


def call_at_once() -> None:
    """Make cloud calls return their results from now on, in this context."""
    _awaits.set(False)


def countdown(seconds: float | None, clock: Callable[[], float] = time.monotonic) -> Callable[[], float] | None:
    """Return a clock that counts `seconds` down, less the reserve; None where the platform names no limit."""
    if seconds is None:
        return None
    end = clock() + seconds - min(_RESERVE, seconds / 10)
    return lambda: end - clock()
