"""What a platform told of the invocation that runs now: who calls, with which token, and how long there is left.

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

# Kept back of the platform's time for the answer's own way: of a short time a tenth.
_RESERVE = 0.5


@dataclass(frozen=True)
class Invocation:
    """`caller` is what getWXContext gives, None where the platform's environment tells it; `left` gives seconds.

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
    """The invocation that runs, or one that says nothing."""
    return _current.get(_NONE)


@contextmanager
def running(invocation: Invocation) -> Iterator[None]:
    """A block below which `current` gives this invocation."""
    token = _current.set(invocation)
    try:
        yield
    finally:
        _current.reset(token)


def awaits() -> bool:
    """Whether an `async def` function runs here that awaits its cloud calls, as the Node original does."""
    return _awaits.get()


def await_calls() -> None:
    """From now on, in this context, a cloud call is a coroutine."""
    _awaits.set(True)


def call_at_once() -> None:
    """From now on, in this context, a cloud call returns its result."""
    _awaits.set(False)


def countdown(seconds: float | None, clock: Callable[[], float] = time.monotonic) -> Callable[[], float] | None:
    """What is left of `seconds` from now on, less the reserve; None where the platform told nothing."""
    if seconds is None:
        return None
    end = clock() + seconds - min(_RESERVE, seconds / 10)
    return lambda: end - clock()
