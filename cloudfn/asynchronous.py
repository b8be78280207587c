"""The asynchronous face: `await cloud.aio.openapi.img.aiCrop({...})` makes the same call in a pool of threads.

The event loop is never blocked. Cancelling returns at once; the thread goes on until the call's own deadline at most.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from cloudfn import forks, invocation
from cloudfn.errors import shortage

_WORKERS = 64


class _Pool:
    """The threads of all asynchronous calls of this process, made when the first call is."""

    def __init__(self) -> None:
        self.after_fork()
        forks.watch(self)

    def after_fork(self) -> None:
        """Forget the pool in a child, which has none of the parent's threads."""
        self._executor: ThreadPoolExecutor | None = None

    @property
    def executor(self) -> ThreadPoolExecutor:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(_WORKERS, thread_name_prefix="cloudfn-aio")
        return self._executor


_pool = _Pool()


async def run(work: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    """Run `work` in a thread and return what it returns; it sees this task's invocation: its time, its caller."""
    context = contextvars.copy_context()
    context.run(invocation.call_at_once)  # the thread itself waits
    abandoned = False

    def job() -> Any:
        return None if abandoned else context.run(work, *args, **keywords)

    try:
        answer = asyncio.get_running_loop().run_in_executor(_pool.executor, job)
    except RuntimeError as error:  # no thread can be started, but the job is in the queue of those that there are
        abandoned = True
        raise shortage(error) from error
    return await answer


class Synchronous(Protocol):
    """The face whose calls are made asynchronous: `openapi`, a name space of it, or an API."""

    @property
    def is_root(self) -> bool:
        """Return whether this is `openapi` itself, which takes options."""

    def __getattr__(self, name: str) -> Synchronous: ...

    def __call__(self, *args: Any, **keywords: Any) -> Any: ...


class Aio:
    """The asynchronous face of an instance: its names, each call awaited."""

    def __init__(self, openapi: Synchronous, functions: Mapping[str, Callable[..., Any]]) -> None:
        """`functions` are the SDK's own by name (uploadFile, ...), called with a mapping and with keywords."""
        self._openapi = openapi
        self._functions = functions

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return one of the SDK's other functions: `await cloud.aio.uploadFile({...})`."""
        if name.startswith("_") or name not in self._functions:
            raise AttributeError(f"aio has no attribute {name!r}", name=name, obj=self)
        work = self._functions[name]

        def later(options: Mapping[str, Any] | None = None, /, **keywords: Any) -> Any:
            return run(work, options, keywords)

        later.__name__ = later.__qualname__ = name
        later.__doc__ = f"Make the call `{name}` of `Cloud` in a thread: awaited, it returns and raises as that does."
        return later

    @property
    def openapi(self) -> AsyncOpenApi:
        """Return WeChat's APIs as attributes: `await cloud.aio.openapi.img.aiCrop({...})`."""
        return AsyncOpenApi(self._openapi)


class AsyncOpenApi:
    """`openapi` whose calls are awaited: at most 64 run at a time in a process, the others wait for a thread."""

    def __init__(self, openapi: Synchronous) -> None:
        self._openapi = openapi
        self.__doc__ = openapi.__doc__  # help() shows an object's own text: the call's parameters

    @property
    def __signature__(self) -> Any:
        """Return the call's parameters, for interactive help and `inspect`."""
        return self._openapi.__signature__

    def __repr__(self) -> str:
        return f"aio.{self._openapi!r}"

    def __dir__(self) -> list[str]:
        return dir(self._openapi)

    def __getattr__(self, name: str) -> AsyncOpenApi:
        if name.startswith("_"):
            raise AttributeError(name, name=name, obj=self)
        return AsyncOpenApi(getattr(self._openapi, name))

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Make the API's call, and return or raise as the call itself does; `openapi` itself takes options."""
        if self._openapi.is_root:
            return AsyncOpenApi(self._openapi(*args, **keywords))
        return run(self._openapi, *args, **keywords)
