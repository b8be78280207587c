"""HTTP from the network to the application: granian's RSGI on one side, WSGI on the other.

A WSGI server assigns a thread to a client before its body has arrived, so a few slow clients block it for all.
Here a body is read by the event loop, within a time, and a thread gets it whole; so the queue in front of the threads
has a length that is known, and a client that has hung up leaves it. Calls with a picture's URL, which may hang, have
threads and half a queue of their own, and health is answered by the event loop itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import quote, unquote

from cloudfn.server.answers import Refusal
from cloudfn.server.budget import Account
from cloudfn.server.connections import Connections
from cloudfn.server.endpoints import AT_ONCE, ENDPOINTS, reads_body
from cloudfn.server.intake import BODY, REFUSED, over_limit
from cloudfn.server.state import State

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_THREADS = 64  # of calls with a picture, and of calls with a URL; most of them wait
_THREADS_ASIDE = 8  # of everything but calls: metrics, the admin surface
_PIECE = 4096  # bytes from which on a piece of a body is kept as it came
_DRAINED = 8  # a body over the limit is read and discarded up to this many times the limit, then the line is cut
_LOOK_SECONDS = 1.0  # between two looks at the connections


class Buffered(NamedTuple):
    """A response, whole."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Transport(Protocol):
    """The part of granian's HTTP protocol object that is used here."""

    def __aiter__(self) -> Any: ...

    def client_disconnect(self) -> Awaitable[None]: ...

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...


class _Line:
    """A queue with its threads; `most` calls are in it at a time, those that are being answered included."""

    def __init__(self, name: str, threads: int, most: int) -> None:
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix=f"cloudfn-{name}")
        self.most = most
        self.length = 0


class Front:
    """The RSGI application of one worker."""

    def __init__(self, state: State, app: WSGIApplication, connections: Connections) -> None:
        self._state = state
        self._app = app
        self._connections = connections
        queue = state.options.queue
        self._pictures = _Line("pictures", _THREADS, queue)
        self._urls = _Line("urls", _THREADS, (queue + 1) // 2)
        self._aside = ThreadPoolExecutor(_THREADS_ASIDE, thread_name_prefix="cloudfn-aside")
        state.ready = lambda: self._waiting < queue

    @property
    def _waiting(self) -> int:
        return self._pictures.length + self._urls.length

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start watching the connections; granian calls this before the first request."""

        def look() -> None:
            self._connections.thin_out()
            loop.call_later(_LOOK_SECONDS, look)

        loop.call_later(_LOOK_SECONDS, look)

    def __rsgi_del__(self, _loop: asyncio.AbstractEventLoop) -> None:
        """End this process; granian calls this when every accepted request has been answered.

        granian's own threads may still want Python's lock then. While the interpreter takes itself down they are ended
        in the middle of Rust code, which aborts the process with a panic on stderr; so it does not take itself down.
        """
        for stream in (sys.stdout, sys.stderr):
            if stream:
                stream.flush()
        os._exit(0)

    async def __rsgi__(self, scope: Any, transport: Transport) -> None:
        """Answer one request."""
        if scope.path in AT_ONCE:
            reply = _call(self._app, _environ(scope, b""))
            transport.response_bytes(reply.status, reply.headers, reply.body)
            return
        if not self._connections.begin(scope.client):
            reply = Buffered(503, [], b"")
            if scope.path in ENDPOINTS:
                reply = _call(self._app, _environ(scope, b"", Refusal(-1)))
            transport.response_bytes(reply.status, [*reply.headers, ("connection", "close")], reply.body)
            return
        try:
            if reads_body(scope.method, scope.path):
                with self._state.budget.account() as account:
                    await self._answer(scope, transport, account)
            else:
                await self._reply(scope, transport, b"", None)
                await self._drain(transport)
        finally:
            self._connections.end(scope.client)

    async def _answer(self, scope: Any, transport: Transport, account: Account) -> None:
        refused: Refusal | None = None
        body = b""
        try:
            body = await asyncio.wait_for(self._read(transport, account), self._state.options.body_seconds)
        except Refusal as no:
            refused = no
        except asyncio.TimeoutError:  # which is TimeoutError itself only from Python 3.11 on
            account.give_back()
            refused = Refusal(408, "the body came too slowly: send it faster, or a smaller one")
        except Exception:  # noqa: BLE001 - granian's own, of a client that hung up: there is nobody to answer
            return
        await self._reply(scope, transport, body, refused)

    async def _reply(self, scope: Any, transport: Transport, body: bytes, refused: Refusal | None) -> None:
        reply: Buffered | None
        line = self._urls if _has_url(scope, body) else self._pictures
        if scope.path not in ENDPOINTS:
            job = self._aside.submit(_call, self._app, _environ(scope, body, refused))
            reply = await asyncio.wrap_future(job)
        elif refused is not None:
            reply = _call(self._app, _environ(scope, b"", refused))
        elif line.length >= line.most or self._waiting >= self._state.options.queue:
            reply = _call(self._app, _environ(scope, b"", Refusal(-1)))
        else:
            reply = await self._in_line(line, _environ(scope, body), transport)
        if reply is None:
            return
        headers = reply.headers if refused is None else [*reply.headers, ("connection", "close")]
        transport.response_bytes(reply.status, headers, reply.body)

    async def _in_line(self, line: _Line, environ: dict[str, Any], transport: Transport) -> Buffered | None:
        """Return the answer when it is this request's turn; None when the client has hung up before."""
        line.length += 1
        self._state.metrics.queue.inc()
        gone: asyncio.Future[Any] = asyncio.ensure_future(transport.client_disconnect())
        job = line.pool.submit(_call, self._app, environ)
        running = asyncio.wrap_future(job)
        try:
            await asyncio.wait((running, gone), return_when=asyncio.FIRST_COMPLETED)
            # Work that has not begun is dropped; a thread that has begun cannot be stopped.
            return None if job.cancel() else await running
        finally:
            gone.cancel()
            line.length -= 1
            self._state.metrics.queue.dec()

    async def _drain(self, transport: Transport) -> None:
        """Throw away the body of a request that was answered without it, as far as it comes, within its time.

        Where the line is cut while the client still sends, the client often does not see the answer.
        """

        async def drain() -> None:
            left = self._state.body_limit * _DRAINED
            async for chunk in transport:
                left -= len(chunk)
                if left < 0:
                    break

        with contextlib.suppress(Exception):  # its time is over, or the client hung up: it has its answer
            await asyncio.wait_for(drain(), self._state.options.body_seconds)

    async def _read(self, transport: Transport, account: Account) -> bytes:
        """Return the whole body; raises Refusal, after reading it to its end, where it is over a limit."""
        limit = self._state.body_limit
        received: list[bytes] = []
        size = 0
        crowded = False
        async for chunk in transport:
            size += len(chunk)
            crowded = crowded or (size <= limit and not account.take(len(chunk)))
            if size <= limit and not crowded:
                # A body that drips is gathered, or each of its bytes would be held as an object of 50.
                if received and len(received[-1]) < _PIECE:
                    received[-1] += chunk
                else:
                    received.append(chunk)
            elif size > limit * _DRAINED:
                break
            else:
                # A client that is answered while it still sends often sees a broken connection and no answer.
                received.clear()
                account.give_back()
        if size > limit:
            raise over_limit(self._state.options)
        if crowded:
            raise Refusal(-1)
        return b"".join(received)


def _has_url(scope: Any, body: bytes) -> bool:
    """Return whether a call names a picture's URL: in its query or, from the SDK and the page, anywhere in its body."""
    return "img_url" in unquote(scope.query_string) or b"img_url" in body


def _environ(scope: Any, body: bytes, refused: Refusal | None = None) -> dict[str, Any]:
    """Return PEP 3333's environment for a request whose body is here."""
    host, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "RAW_URI": quote(scope.path),
        "QUERY_STRING": scope.query_string.encode().decode("latin-1"),
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
    """Call the application and return its whole answer."""
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
