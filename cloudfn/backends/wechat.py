"""WeChat's HTTPS call: one POST a cloud call, in the one form that WeChat is known to understand.

The address carries `access_token` and `img_url`; the body is multipart and holds `ratios` as text and `img` as a file,
with a Content-Length (a chunked upload gets HTTP 412), an unquoted boundary and ASCII file names (anything else gets
41005). Source of these facts: WeChat's documentation of img.aiCrop, and users' reports.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.fields import RequestField
from urllib3.filepost import encode_multipart_formdata

from cloudfn import deadline
from cloudfn.apis import APIS
from cloudfn.call import Call, Media, Ratios, failure, parse
from cloudfn.deadline import Deadline
from cloudfn.errors import CloudError
from cloudfn.naming import to_snake
from cloudfn.settings import SIDE_CAR, Settings

_log = logging.getLogger("cloudfn")

_MAX_PICTURE = 2 * 1024 * 1024  # WeChat says "less than 2M"; which of the two it means is unknown
_WARN_PICTURE = 2_000_000
_MAX_REPLY = 1024 * 1024

# The query holds the token, so it is added to the address by the connection itself, below everything that logs an
# address or puts one into an exception.
_query: ContextVar[str] = ContextVar("cloudfn_query", default="")


class WeChat:
    """The backend that calls WeChat; thread-safe, its connections are reused."""

    def __init__(self, settings: Settings) -> None:
        """Raises `CloudError` -601002 where CLOUDFN_API_BASE is an address that no token may be sent to."""
        self._settings = settings
        self._base = _checked_base(settings.api_base)
        self._session = requests.Session()
        self._session.auth = _no_auth
        self._session.headers.update({"User-Agent": "cloudfn", "Accept-Encoding": "identity"})
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._base!r})"

    def __call__(self, call: Call) -> dict[str, Any]:
        """WeChat's JSON for `call`.

        Raises `CloudError`: 41001 without credentials, 101002 for a picture of 2 MiB and more (both before any
        network), -604102 when the time is over, -601003 without a connection, -601001 for an answer that is no JSON.
        """
        if not self._settings.has_credentials:
            hint = "set WX_ACCESS_TOKEN, or choose the embedded engine with CLOUDFN_BACKEND=local"
            raise failure(call.api, 41001, f"access_token missing; {hint}", hint=hint)
        api = APIS[call.api]
        _check_sizes(call)
        body, content_type = _multipart(call, api.text + api.media)
        query = {to_snake(name): call.params[name] for name in api.query if name in call.params}
        token = "" if self._base == SIDE_CAR else self._settings.access_token
        if token:
            query = {"access_token": token, **query}
        status, type_, reply = self._post(call.api, api.path, query, body, content_type)

        redact = partial(_redacted, secret=token)
        answer = parse(call.api, reply, status=status, content_type=type_, redact=redact)
        if isinstance(answer.get("errmsg"), str):
            answer["errmsg"] = redact(answer["errmsg"])
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _post(
        self, api: str, path: str, query: Mapping[str, str], body: bytes, content_type: str | None
    ) -> tuple[int, str, bytes]:
        """(HTTP status, content type, body) of the answer."""
        # quote, not urlencode: whether WeChat reads "+" as a space is unknown, %20 it must.
        encoded = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        headers = {"Content-Type": content_type} if content_type else {}
        with (
            _failures(api, self._settings.timeout),
            Deadline(self._settings.timeout).enforced(),
            _added(encoded),
            self._session.post(
                self._base + path, data=body, headers=headers, stream=True, allow_redirects=False
            ) as response,
        ):
            return response.status_code, response.headers.get("Content-Type", ""), _body(api, response)


def _checked_base(base: str) -> str:
    """CLOUDFN_API_BASE without its last slash, where it is safe to send a token there."""
    try:
        parts = urlsplit(base)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    bare = not (parts.username or parts.password or parts.query or parts.fragment)
    safe = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)) or base.rstrip("/") == SIDE_CAR
    if host and bare and safe:
        return base.rstrip("/")
    allowed = f"https://host, http:// to this machine only, or {SIDE_CAR} inside CloudRun"
    shown = f"{parts.scheme}://{host}" if host else "no such address"
    raise CloudError(-601002, f"CLOUDFN_API_BASE: got {shown}, expected {allowed}", hint=allowed)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_sizes(call: Call) -> None:
    for name, part in call.params.items():
        if isinstance(part, Media) and len(part.value) >= _MAX_PICTURE:
            cure = "make the picture smaller, or choose the embedded engine with CLOUDFN_BACKEND=local"
            text = f"invalid image data: {name} has {len(part.value):,} bytes, WeChat takes less than 2 MB; {cure}"
            raise failure(call.api, 101002, text, hint=cure)
        if isinstance(part, Media) and len(part.value) >= _WARN_PICTURE:
            _log.warning(
                "openapi.%s: %s has %d bytes; WeChat takes less than 2 MB, which may mean 2,000,000 bytes",
                call.api,
                name,
                len(part.value),
            )


def _multipart(call: Call, names: tuple[str, ...]) -> tuple[bytes, str | None]:
    """The body and its content type; no body at all where the call has no such parameters."""
    fields = []
    for name in names:
        if name in call.params:
            value = call.params[name]
            if isinstance(value, Media):
                field = RequestField(to_snake(name), value.value, filename=value.file_name)  # type: ignore[arg-type]
                field.make_multipart(content_type=value.content_type)
            else:
                field = RequestField(to_snake(name), value.text if isinstance(value, Ratios) else str(value))
                field.make_multipart()
            fields.append(field)
    return encode_multipart_formdata(fields) if fields else (b"", None)


def _body(api: str, response: requests.Response) -> bytes:
    body = bytearray()
    while chunk := response.raw.read(_MAX_REPLY + 1 - len(body), decode_content=True):
        body += chunk
        if len(body) > _MAX_REPLY:
            response.raw.close()  # the rest is never read, so the connection cannot be used again
            raise failure(api, -601001, f"wechat server internal error (HTTP {response.status_code}), body over 1 MB")
    return bytes(body)


def _redacted(text: str, secret: str) -> str:
    """`text` without the token, should an answer echo it. WeChat's tokens are long: a short one is a test's word."""
    if len(secret) < 8:
        return text
    return text.replace(secret, "***").replace(quote(secret, safe=""), "***")


@contextmanager
def _added(query: str) -> Iterator[None]:
    token = _query.set(f"?{query}" if query else "")
    try:
        yield
    finally:
        _query.reset(token)


@contextmanager
def _failures(api: str, seconds: float) -> Iterator[None]:
    """Turns what requests and urllib3 raise into the call's error; the causes never saw the query, so they are kept."""
    try:
        yield
    except (requests.RequestException, HTTPError, OSError) as error:
        chain = list(_causes(error))
        root = chain[-1]
        about = f"{type(root).__name__}: {root}"[:200]
        if any(isinstance(cause, TimeoutError) for cause in chain):  # urllib3's own say so of a refused connection too
            raise failure(api, -604102, f"no answer within {seconds:g} seconds") from error
        if isinstance(root, (HTTPException, HTTPError)) and not isinstance(root, OSError):
            raise failure(
                api, -601001, f"wechat server internal error, the answer is cut off or no HTTP ({about})"
            ) from error
        raise failure(api, -601003, f"network error: {about}") from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it, the innermost last."""
    while error:
        yield error
        error = error.__cause__ or error.__context__


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps requests from sending a password out of ~/.netrc."""
    return request


class _AddsQuery:
    """Puts the query behind the address in the moment when it goes onto the wire."""

    def putrequest(self, method: str, url: str, *args: Any, **options: Any) -> None:
        super().putrequest(method, url + _query.get(), *args, **options)  # type: ignore[misc]


class _HTTPConnection(_AddsQuery, deadline.HTTPConnection):
    pass


class _HTTPSConnection(_AddsQuery, deadline.HTTPSConnection):
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
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager
