"""HTTP from the network to the application: granian's RSGI on one side, WSGI on the other.

A WSGI server gives a thread to a client before its body has come, so a few clients that send slowly stop it for all.
Here a body is read by the event loop, within a time, and a thread gets it whole; so the queue in front of the threads
has a length that is known, and a client that has hung up leaves it.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import quote

from cloudfn.server.answers import Refusal
from cloudfn.server.endpoints import ENDPOINTS
from cloudfn.server.intake import BODY, REFUSED, over_limit
from cloudfn.server.state import State

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_THREADS = 64  # most of them wait: for a picture's URL, for the engine, or because a fault says so
_HELD = 256 * 1024 * 1024  # bytes of bodies that a worker holds
_PIECE = 4096  # bytes from which on a piece of a body is kept as it came
_DRAINED = 8  # a body over the limit is read and thrown away up to so many times the limit, then the line is cut


class Buffered(NamedTuple):
    """A response, whole."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Transport(Protocol):
    """As much of granian's HTTP protocol object as is used here."""

    def __aiter__(self) -> Any: ...

    def client_disconnect(self) -> Awaitable[None]: ...

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...


class Front:
    """The RSGI application of one worker."""

    def __init__(self, state: State, app: WSGIApplication) -> None:
        self._state = state
        self._app = app
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="cloudfn")
        self._waiting = 0
        self._held = 0
        state.ready = lambda: self._waiting < state.options.queue

    async def __rsgi__(self, scope: Any, transport: Transport) -> None:
        """Answer one request."""
        received: list[bytes] = []
        try:
            await self._answer(scope, transport, received)
        finally:
            self._held -= sum(map(len, received))

    async def _answer(self, scope: Any, transport: Transport, received: list[bytes]) -> None:
        refused: Refusal | None = None
        try:
            await asyncio.wait_for(self._read(transport, received), self._state.options.body_seconds)
        except Refusal as no:
            refused = no
        except asyncio.TimeoutError:  # which is TimeoutError itself only from Python 3.11 on
            refused = Refusal(408, "the body came too slowly: send it faster, or a smaller one")
        except Exception:  # noqa: BLE001 - granian's own, of a client that hung up: there is nobody to answer
            return
        body = b"".join(received)
        received[:] = [body]  # which is held once, not twice
        if scope.path not in ENDPOINTS:
            job = self._pool.submit(_call, self._app, _environ(scope, body, refused))
            reply = await asyncio.wrap_future(job)
        elif refused is None and self._waiting >= self._state.options.queue:
            reply = _call(self._app, _environ(scope, b"", Refusal(-1, "")))
        elif refused is not None:
            reply = _call(self._app, _environ(scope, b"", refused))
        else:
            waiting = await self._in_line(scope, body, transport)
            if waiting is None:
                return
            reply = waiting
        headers = reply.headers if refused is None else [*reply.headers, ("connection", "close")]
        transport.response_bytes(reply.status, headers, reply.body)

    async def _in_line(self, scope: Any, body: bytes, transport: Transport) -> Buffered | None:
        """The answer when it is this request's turn; None when the client has hung up before."""
        self._waiting += 1
        self._state.metrics.queue.inc()
        gone: asyncio.Future[Any] = asyncio.ensure_future(transport.client_disconnect())
        job = self._pool.submit(_call, self._app, _environ(scope, body, None))
        running = asyncio.wrap_future(job)
        try:
            await asyncio.wait((running, gone), return_when=asyncio.FIRST_COMPLETED)
            # Work that has not begun is dropped; a thread that has begun cannot be stopped.
            return None if job.cancel() else await running
        finally:
            gone.cancel()
            self._waiting -= 1
            self._state.metrics.queue.dec()

    async def _read(self, transport: Transport, received: list[bytes]) -> None:
        """The whole body into `received`; raises Refusal, after reading it to its end, where it is over a limit."""
        limit = self._state.body_limit
        most = max(_HELD, 4 * limit)
        size = 0
        crowded = False
        async for chunk in transport:
            size += len(chunk)
            crowded = crowded or self._held + len(chunk) > most
            if size <= limit and not crowded:
                # A body that drips is gathered, or each of its bytes would be held as an object of 50.
                if received and len(received[-1]) < _PIECE:
                    received[-1] += chunk
                else:
                    received.append(chunk)
                self._held += len(chunk)
            elif size > limit * _DRAINED:
                break
            else:
                # A client that is answered while it still sends often sees a broken connection and no answer.
                self._held -= sum(map(len, received))
                received.clear()
        if size > limit:
            raise over_limit(self._state.options)
        if crowded:
            raise Refusal(-1)


def _environ(scope: Any, body: bytes, refused: Refusal | None) -> dict[str, Any]:
    """PEP 3333's environment for a request whose body is here."""
    host, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "RAW_URI": quote(scope.path),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(body),
        BODY: body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope.headers.items():
        key = "HTTP_" + name.upper().replace("-", "_")
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    if scope.authority and "HTTP_HOST" not in environ:
        environ["HTTP_HOST"] = scope.authority
    environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE", "")
    environ["CONTENT_LENGTH"] = environ.pop("HTTP_CONTENT_LENGTH", "")
    if refused is not None:
        environ[REFUSED] = refused
    return environ


def _call(app: WSGIApplication, environ: dict[str, Any]) -> Buffered:
    """The application's whole answer."""
    start: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Callable[[bytes], object]:
        start[:] = [int(status[:3]), headers]
        return lambda _data: None

    content: Iterable[bytes] = app(environ, start_response)
    try:
        body = b"".join(content)
    finally:
        close = getattr(content, "close", None)
        if close:
            close()
    return Buffered(start[0], [(name.lower(), value) for name, value in start[1]], body)
