"""One HTTP exchange with one host: under a deadline, of limited size, no secret where anybody could see it.

This is the one place where secrets are kept out of sight. The query, which holds the token, and the body, which may
hold the app secret, go onto the wire below everything that logs an address, keeps a request in an exception, or has
them in a variable that an error tracker stores; and of a failure only the innermost cause goes on, without its frames.

The connections are urllib3's. A kept one is looked at before it is used, belongs to the process that opened it, and is
used again only after an answer that was read to its end.
"""

from __future__ import annotations

import os
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
)
from urllib3.util import make_headers, parse_url

from cloudfn import forks
from cloudfn.call.values import Deadline
from cloudfn.net import deadline as deadlines
from cloudfn.net import tls
from cloudfn.secret import Secret

if TYPE_CHECKING:
    from cloudfn.call.media import Bytes

_MAX_ANSWER = 1024 * 1024
# What encodeURI leaves alone, and "%": an address that is encoded already stays as it is.
ENCODED = "%/:=&?~#+!$,;'@()*[]"
# Seconds that a kept connection may have been idle. Servers close theirs after 5 s and more, and a platform that froze
# the process in between has let the server close it unseen.
_MAX_IDLE = 4
_HEADERS = {"User-Agent": "cloudfn", "Accept-Encoding": "identity"}
_PROXY_CURE = "the proxy of this environment is none of http; set CLOUDFN_PROXY to one that is"


@dataclass(frozen=True)
class OutgoingRequest:
    """A POST, or a GET when there is nothing to send. `path` is the address's own.

    `query` and `body` may hold secrets and are never shown. `signed` stands in place of `query` where that came whole
    and is encoded already. The body is sent from its buffers as they are.
    """

    method: str
    path: str
    query: Mapping[str, str | Secret] = field(default_factory=dict, repr=False)
    body: Sequence[Bytes] = field(default=(), repr=False)
    content_type: str | None = None
    signed: Secret | None = None


@dataclass(frozen=True)
class IncomingResponse:
    """An HTTP answer; `retry_after` is the number of seconds that the server asks to wait, None where it does not."""

    status: int
    content_type: str
    body: memoryview = field(repr=False)
    retry_after: float | None


class TransportError(Exception):
    """An exchange that ended without an answer.

    `code` is the errCode for it; `unsent` says that the server cannot have got the whole request, so that it may be
    repeated; `retryable` is None where the code's own answer holds.
    """

    def __init__(self, code: int, text: str, *, unsent: bool = False, retryable: bool | None = None) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text
        self.unsent = unsent
        self.retryable = retryable


class TooLargeError(TransportError):
    """An answer that is larger than allowed."""


@dataclass
class _Exchange:
    """The state of one exchange: the secrets to add to the request's head, and how far it got."""

    query: memoryview  # whose repr shows nothing of its content
    body: Sequence[Bytes] = field(repr=False)
    sent: bool = False
    status: int | None = None


class Transport:
    """Connections to the host of `base`, kept for further calls; thread-safe.

    `proxy` is for https alone ("" takes the environment's), `ca_bundle` a file or folder of certificates to trust
    instead of certifi's: both as requests takes them, the variables REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE included.
    """

    def __init__(
        self,
        base: str,
        *,
        proxy: Secret | None = None,
        ca_bundle: str = "",
        largest: int = _MAX_ANSWER,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`largest` is the limit of an answer in bytes.

        The clock is the wall's: a monotonic one may stand still while a platform freezes the process.
        """
        parts = urlsplit(base)
        self._base = base
        self._scheme = parts.scheme
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._prefix = parts.path
        self._proxy = proxy
        self._ca_bundle = ca_bundle
        self._largest = largest
        self._clock = clock
        self._closed = False
        # The last one used is the first to be used again. A list, because its append and pop need no lock.
        self._idle: list[_HTTPConnection | _HTTPSConnection] = []
        forks.watch(self)

    def __repr__(self) -> str:
        return f"Transport({self._base!r})"

    def after_fork(self) -> None:
        """Leave the connections to the parent: closing the child's descriptors says nothing to the server."""
        self._close_idle()

    def send(self, request: OutgoingRequest, deadline: Deadline) -> IncomingResponse:
        """Return the answer to one request. Redirects are not followed, nothing is repeated. Raise `TransportError`."""
        exchange = _Exchange(_query(request), request.body)
        try:
            with deadlines.enforced(deadline):
                return self._exchange(request, exchange)
        except (HTTPError, HTTPException, OSError) as error:
            causes = list(_causes(error))
        # Raised out here so that only the innermost cause stays with it, and without its frames: those above it, and
        # the variables of all of them, hold the request.
        failure, root = _failure(causes, exchange), causes[-1]
        del causes
        root.__cause__ = root.__context__ = None
        raise failure from root.with_traceback(None)

    def warm_up(self) -> None:
        """Load what a connection needs; nothing goes out."""
        if self._scheme == "https":
            self._tls()

    def close(self) -> None:
        """Close the connections; one that is in use is closed when its call ends."""
        self._closed = True
        self._close_idle()

    def __del__(self) -> None:
        self._close_idle()

    def _close_idle(self) -> None:
        while connection := self._popped():
            connection.close()

    def _exchange(self, request: OutgoingRequest, exchange: _Exchange) -> IncomingResponse:
        connection = self._kept() or self._opened()
        try:
            if connection.sock is None:
                connection.connect()
            headers = dict(_HEADERS)
            if request.method == "POST":
                headers["Content-Length"] = str(sum(len(piece) for piece in request.body))
            if request.content_type:
                headers["Content-Type"] = request.content_type
            response = connection.exchange(exchange, request.method, self._prefix + request.path, headers)
            exchange.status = response.status
            body = _body(response, self._largest)
        except BaseException:
            connection.close()
            raise
        self._keep(connection)
        said = response.headers
        return IncomingResponse(response.status, said.get("Content-Type", ""), body, _seconds(said.get("Retry-After")))

    def _kept(self) -> _HTTPConnection | _HTTPSConnection | None:
        """Return a connection that was used before and is still good."""
        while connection := self._popped():
            if 0 <= self._clock() - connection.last_used < _MAX_IDLE and connection.is_connected:
                return connection
            connection.close()
        return None

    def _popped(self) -> _HTTPConnection | _HTTPSConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _keep(self, connection: _HTTPConnection | _HTTPSConnection) -> None:
        if connection.sock is None:  # the server wants no more on it
            return
        connection.last_used = self._clock()
        if connection.is_verified and not connection.proxy:
            self._tls().remember(connection.sock)
        self._idle.append(connection)
        if self._closed:
            self.close()

    def _opened(self) -> _HTTPConnection | _HTTPSConnection:
        """Return a connection that is not connected yet."""
        # Plain http leads only to this machine or to CloudRun's side-car, where a proxy has no business.
        if self._scheme == "http":
            return _HTTPConnection(self._host, self._port)
        address = self._proxy or _environment_proxy(self._base)
        if not address:
            return _HTTPSConnection(self._host, self._port, ssl_context=self._tls())
        proxy = parse_url(address.reveal())
        if proxy.scheme not in ("http", "https"):
            raise TransportError(-601002, _PROXY_CURE)
        port = proxy.port or (443 if proxy.scheme == "https" else 80)
        connection = _HTTPSConnection(proxy.host or "", port, ssl_context=self._tls(), proxy=proxy._replace(auth=None))
        login = make_headers(proxy_basic_auth=unquote(proxy.auth)) if proxy.auth else {}
        connection.set_tunnel(self._host, self._port, login, proxy.scheme)
        return connection

    def _tls(self) -> tls.Context:
        named = {"CLOUDFN_CA_BUNDLE": self._ca_bundle}
        named |= {name: os.environ.get(name, "") for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")}
        return next((tls.context(bundle, name) for name, bundle in named.items() if bundle), None) or tls.context()


def _environment_proxy(url: str) -> Secret | None:
    """Return the proxy that the environment names for a URL, as requests reads it, no_proxy included."""
    named = any(name.lower().endswith("_proxy") for name in os.environ)
    if not named and sys.platform not in ("darwin", "win32"):  # these have settings of the system besides
        return None
    from requests.utils import get_environ_proxies, prepend_scheme_if_needed, select_proxy

    proxy = select_proxy(url, get_environ_proxies(url))
    return Secret(prepend_scheme_if_needed(proxy, "http")) if proxy else None  # type: ignore[no-untyped-call]


def _query(request: OutgoingRequest) -> memoryview:
    """Return the query with its question mark, as bytes that no traceback shows."""
    if request.signed:
        return memoryview(f"?{quote(request.signed.reveal(), safe=ENCODED)}".encode("ascii"))
    # quote, not urlencode: WeChat may not read "+" as a space, but must read %20 as one.
    pairs = (
        f"{name}={quote(value.reveal() if isinstance(value, Secret) else value, safe='')}"
        for name, value in request.query.items()
    )
    return memoryview((f"?{'&'.join(pairs)}" if request.query else "").encode("ascii"))


def _body(response: urllib3.HTTPResponse, largest: int) -> memoryview:
    body = bytearray()
    while chunk := response.read(largest + 1 - len(body), decode_content=True):
        body += chunk
        if len(body) > largest:
            megabytes = f"{largest / 1024 / 1024:g} MB"
            raise TooLargeError(
                -601001, f"wechat server internal error (HTTP {response.status}), body over {megabytes}"
            )
    return memoryview(body)


def _seconds(retry_after: str | None) -> float | None:
    """Return the header Retry-After, seconds or a date (RFC 9110, 10.2.3), in seconds from now."""
    if not retry_after:
        return None
    from email.utils import parsedate_to_datetime

    try:
        if retry_after.strip().isdecimal():
            return float(retry_after)
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and its causes, the innermost last."""
    while error:
        yield error
        error = error.__cause__ or error.__context__


def _failure(causes: Sequence[BaseException], exchange: _Exchange) -> TransportError:
    """Return the error that the causes amount to."""
    root = causes[-1]
    about = f"{type(root).__name__}: {root}"
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return TransportError(-604102, "timeout")
    spoken = any(isinstance(cause, (HTTPException, ProtocolError, DecodeError)) for cause in causes)
    # A server that hangs up without a word is http.client's RemoteDisconnected, which is an OSError too.
    if spoken and not isinstance(root, OSError):
        status = f" (HTTP {exchange.status})" if exchange.status else ""
        return TransportError(
            -601001, f"wechat server internal error{status}, the answer is cut off or no HTTP: {about}"
        )
    # Repeating does not help against an untrusted certificate. A refused connection and an unknown name arrive as
    # urllib3's NewConnectionError.
    untrusted = any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes)
    unconnected = any(isinstance(cause, (NewConnectionError, ConnectTimeoutError)) for cause in causes)
    unsent = (unconnected or not exchange.sent) and not untrusted
    return TransportError(-601003, f"network error: {about}", unsent=unsent, retryable=False if untrusted else None)


class _AddsSecretsWhenSending:
    """A connection that puts query and body into a request in the moment when it goes onto the wire."""

    last_used: float = 0
    _exchange: _Exchange | None = None

    def exchange(self, exchange: _Exchange, method: str, path: str, headers: Mapping[str, str]) -> urllib3.HTTPResponse:
        """Send a request on a connection that is connected, and return the answer, its body unread.

        A server may answer, and close, before it has read everything: its answer counts then.
        """
        self._exchange = exchange
        broken = None
        try:
            self.request(method, path, headers=headers, preload_content=False)  # type: ignore[attr-defined]
        except (BrokenPipeError, ConnectionResetError) as error:
            broken = error
        try:
            return self.getresponse()  # type: ignore[attr-defined,no-any-return]
        except (HTTPException, OSError):
            if broken:
                raise broken from None
            raise

    def send(self, data: Any) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None:  # the CONNECT request of a tunnel through a proxy
            super().send(data)  # type: ignore[misc]
            return
        for piece in _pieces(data, exchange):
            super().send(piece)  # type: ignore[misc]
        exchange.sent = True


def _pieces(head: bytes, exchange: _Exchange) -> Iterator[memoryview]:
    """Yield the bytes to send: the head with its query, and the body from its own buffers, the first one small."""
    line, version, rest = head.partition(b" HTTP/1.1\r\n")
    first, *others = exchange.body or (b"",)
    yield memoryview(b"".join((line, exchange.query, version, rest, first)))
    yield from (memoryview(piece) for piece in others)


class _HTTPConnection(_AddsSecretsWhenSending, deadlines.HTTPConnection):
    pass


class _HTTPSConnection(_AddsSecretsWhenSending, deadlines.HTTPSConnection):
    pass
