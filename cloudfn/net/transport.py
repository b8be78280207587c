"""One HTTP exchange with WeChat: under a deadline, at most 1 MB of answer, no secret where anybody could see it.

This is the one place where secrets are kept out of sight. The query, which holds the token, and the body, which may
hold the app secret, go onto the wire below everything that logs an address or keeps a request in an exception; and of
a failure only the innermost cause goes on, which never saw either.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import quote

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
)

from cloudfn.net import deadline as deadlines
from cloudfn.net.deadline import Deadline

_MAX_REPLY = 1024 * 1024
_POOL_SIZE = 1000  # connections kept at most; urllib3 warns about every further one that it throws away


@dataclass(frozen=True)
class Request:
    """A POST, or a GET when there is nothing to send. `query` and `body` may hold secrets and are never shown."""

    method: str
    url: str
    query: Mapping[str, str]
    body: bytes = b""
    content_type: str | None = None

    def __repr__(self) -> str:
        return f"Request({self.method!r}, {self.url!r})"


@dataclass(frozen=True)
class Reply:
    """An HTTP answer; `retry_after` is the number of seconds that the server asks to wait, None where it does not."""

    status: int
    content_type: str
    body: bytes
    retry_after: float | None


class TransportError(Exception):
    """An exchange without an answer.

    `code` is the errCode for it; `unsent` says that the server cannot have run the request, so that it may be
    repeated; `retryable` is None where the code's own answer holds.
    """

    def __init__(self, code: int, text: str, *, unsent: bool = False, retryable: bool | None = None) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text
        self.unsent = unsent
        self.retryable = retryable


@dataclass
class _OnTheWire:
    """What the connection adds below the logs, and what it tells of the exchange."""

    query: str = field(repr=False)
    body: bytes = field(repr=False)
    begun: bool = False
    reused: bool = False
    status: int | None = None


_on_the_wire: ContextVar[_OnTheWire] = ContextVar("cloudfn_on_the_wire")


class Transport:
    """A pool of connections; thread-safe."""

    def __init__(self, *, proxy: str = "", ca_bundle: str = "") -> None:
        # Plain http leads to this machine or to CloudRun's side-car only, and there a proxy has no business.
        self._proxies = {"http": "", **({"https": proxy} if proxy else {})}
        self._verify = ca_bundle or None
        self._session = requests.Session()
        self._session.auth = _no_auth
        self._session.headers.update({"User-Agent": "cloudfn", "Accept-Encoding": "identity"})
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter(pool_maxsize=_POOL_SIZE))

    def send(self, request: Request, deadline: Deadline) -> Reply:
        """The answer to one request. Redirects are not followed, nothing is repeated. Raises `TransportError`."""
        # quote, not urlencode: whether WeChat reads "+" as a space is unknown, %20 it must.
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in request.query.items())
        wire = _OnTheWire(f"?{query}" if query else "", request.body)
        received = deadline.received
        token = _on_the_wire.set(wire)
        try:
            with deadline.enforced():
                return self._exchange(request, wire)
        except (requests.RequestException, HTTPError, HTTPException, OSError) as error:
            causes = list(_causes(error))
        finally:
            _on_the_wire.reset(token)
        # Raised out here so that only the innermost cause stays with it: those above it hold the request.
        raise _failure(causes, wire, silent=deadline.received == received) from causes[-1]

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _exchange(self, request: Request, wire: _OnTheWire) -> Reply:
        headers = {"Content-Length": str(len(request.body))} if request.method == "POST" else {}
        if request.content_type:
            headers["Content-Type"] = request.content_type
        with self._session.request(
            request.method,
            request.url,
            headers=headers,
            stream=True,
            allow_redirects=False,
            proxies=self._proxies,
            verify=self._verify,
        ) as response:
            wire.status = response.status_code
            body = _body(response)
            said = response.headers
            return Reply(response.status_code, said.get("Content-Type", ""), body, _seconds(said.get("Retry-After")))


def _body(response: requests.Response) -> bytes:
    body = bytearray()
    while chunk := response.raw.read(_MAX_REPLY + 1 - len(body), decode_content=True):
        body += chunk
        if len(body) > _MAX_REPLY:
            response.raw.close()  # the rest is never read, so the connection cannot be used again
            raise TransportError(-601001, f"wechat server internal error (HTTP {response.status_code}), body over 1 MB")
    return bytes(body)


def _seconds(retry_after: str | None) -> float | None:
    """The header Retry-After, seconds or a date (RFC 9110, 10.2.3), in seconds from now."""
    if not retry_after:
        return None
    try:
        if retry_after.strip().isdecimal():
            return float(retry_after)
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it, the innermost last."""
    while error:
        yield error
        error = error.__cause__ or error.__context__


def _failure(causes: list[BaseException], wire: _OnTheWire, *, silent: bool) -> TransportError:
    """What the causes mean; `silent`: no byte of an answer came."""
    root = causes[-1]
    about = f"{type(root).__name__}: {root}"
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return TransportError(-604102, "timeout")
    spoken = any(isinstance(cause, (HTTPException, ProtocolError, DecodeError)) for cause in causes)
    # requests' own exceptions are OSErrors too.
    if spoken and (isinstance(root, requests.RequestException) or not isinstance(root, OSError)):
        status = f" (HTTP {wire.status})" if wire.status else ""
        return TransportError(
            -601001, f"wechat server internal error{status}, the answer is cut off or no HTTP: {about}"
        )
    # Behind a refused connection or an unknown name urllib3's NewConnectionError stands; a certificate that is not
    # trusted stays so however often one asks.
    unconnected = any(isinstance(cause, (NewConnectionError, ConnectTimeoutError)) for cause in causes)
    untrusted = any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes)
    unsent = (unconnected or not wire.begun or (wire.reused and silent)) and not untrusted
    return TransportError(-601003, f"network error: {about}", unsent=unsent, retryable=False if untrusted else None)


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps requests from sending a password out of ~/.netrc."""
    return request


class _BelowTheLogs:
    """Puts the query behind the address, and the body behind the head, in the moment when they go onto the wire."""

    _served = False

    def connect(self) -> None:
        self._served = False
        super().connect()  # type: ignore[misc]

    def putrequest(self, method: str, url: str, *args: Any, **options: Any) -> None:
        wire = _on_the_wire.get()
        wire.begun = True
        wire.reused = self.sock is not None and self._served  # type: ignore[attr-defined]
        super().putrequest(method, url + wire.query, *args, **options)  # type: ignore[misc]

    def endheaders(self, message_body: Any = None, **options: Any) -> None:
        super().endheaders(message_body, **options)  # type: ignore[misc]
        if _on_the_wire.get().body:
            self.send(_on_the_wire.get().body)  # type: ignore[attr-defined]

    def getresponse(self) -> Any:
        response = super().getresponse()  # type: ignore[misc]
        self._served = True
        return response


class _HTTPConnection(_BelowTheLogs, deadlines.HTTPConnection):
    pass


class _HTTPSConnection(_BelowTheLogs, deadlines.HTTPSConnection):
    pass


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        if not proxy.lower().startswith(("http://", "https://")):
            raise TransportError(
                -601002, "the proxy of this environment is none of http; set CLOUDFN_PROXY to one that is"
            )
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager
