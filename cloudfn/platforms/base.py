"""What the platforms have in common: the values that an HTTP event becomes, and the helpers that read and write it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qsl

from cloudfn.errors import refusal

MAX_BODY = 32 * 1024 * 1024
"""Bytes of a body that are read where the platform itself sets no limit: as much as Google and FC take."""


@dataclass(frozen=True)
class Request:
    """An HTTP request, whatever the platform: names of headers in lower case, the body decoded."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # they may hold tokens
    body: bytes = field(default=b"", repr=False)

    @property
    def content_type(self) -> str:
        """The header, parameters such as the boundary included."""
        return self.headers.get("content-type", "")


@dataclass(frozen=True)
class Reply:
    """An HTTP answer, whatever the platform."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json; charset=utf-8"})


class Form(Protocol):
    """One form in which events arrive: how it is recognised, read, and answered."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def http(self) -> bool:
        """Whether it wants an HTTP answer."""

    @property
    def seconds(self) -> float | None:
        """What the trigger waits at most, where that is less than the function's own limit."""

    def matches(self, event: Any, context: Any) -> bool:
        """Whether an event has this form; earlier rows of the table were asked before."""

    def read(self, event: Any, context: Any) -> Any:
        """A `Request`, or of a form that is not HTTP the function's own data. Raises `CloudError`."""

    def write(self, reply: Reply, event: Any, context: Any) -> Any:
        """What the platform wants to be handed for an HTTP answer."""


@dataclass(frozen=True)
class Host:
    """A platform as `cloudfn invoke --platform` and `cloudfn package` need it. Sizes in bytes, None: no limit is known.

    `arrive` and `context` make of an event's JSON what the function is called with; `arrive` is None where functions
    are called with HTTP requests only. `python` and `glibc` are those of the runtime that a bundle is made for.
    """

    name: str
    title: str
    entry: str
    handler: str
    python: str
    glibc: int
    seconds: float
    max_seconds: float
    request_bytes: int | None
    response_bytes: int | None
    zip_bytes: int | None
    unzipped_bytes: int | None
    environment: Mapping[str, str]
    arrive: Callable[[Any], Any] | None = None
    context: Callable[[Callable[[], float]], Any] = lambda _left: None


_PHRASES: Mapping[int, str] = {status.value: status.phrase for status in HTTPStatus}


def status_line(status: int) -> str:
    """Such as "404 Not Found"; a status that HTTP does not know has no phrase."""
    return f"{status} {_PHRASES.get(status, 'Unknown')}"


def json_reply(value: Any, status: int = 200) -> Reply:
    """`value` as a JSON answer; raises ValueError or TypeError where it is no JSON."""
    return Reply(status, json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "strict"))


def get(event: Any, *path: str) -> Any:
    """event[path[0]][path[1]]..., None where there is no such thing."""
    for name in path:
        event = event.get(name) if isinstance(event, Mapping) else None
    return event


def has(event: Any, *names: str) -> bool:
    """Whether the event has all of these keys."""
    return isinstance(event, Mapping) and all(name in event for name in names)


def method_of(event: Any) -> str:
    """The method of the many platforms that call it httpMethod."""
    return str(event["httpMethod"]).upper()


def request_of(event: Any, method: str, path: str, query: Mapping[str, str], headers: Any = None) -> Request:
    """The request in an event with `body` and isBase64Encoded; `headers` are the event's own where none are given."""
    found = lower(event.get("headers") if headers is None else headers)
    return Request(method, path, query, found, body_of(event, found.get("content-type", "")))


def lower(headers: Any) -> dict[str, str]:
    """Headers with their names in lower case; of a list of values the first counts, as for Content-Type."""
    found = headers.items() if isinstance(headers, Mapping) else ()
    return {str(name).lower(): str(value[0] if isinstance(value, list) and value else value) for name, value in found}


def query_of(*candidates: Any) -> dict[str, str]:
    """The first of the candidates that says anything: a query string, or a mapping of decoded values or lists."""
    for given in candidates:
        if given and isinstance(given, str):
            return dict(parse_qsl(given.removeprefix("?"), keep_blank_values=True))
        if given and isinstance(given, Mapping):
            return {str(name): str(last(value)) for name, value in given.items()}
    return {}


def last(value: Any) -> Any:
    """The last of several values."""
    return value[-1] if isinstance(value, list) and value else value


def body_of(event: Any, content_type: str) -> bytes:
    """The body's bytes. Missing, null and "" are no body; the flag isBase64Encoded may be text, or missing.

    Raises `CloudError` -401002 for a flag that lies, and where the platform has destroyed a binary body.
    """
    body, flag = event.get("body"), event.get("isBase64Encoded")
    if body is None or body == "":
        return b""
    if not isinstance(body, str):
        return json.dumps(body).encode()  # a gateway that reads JSON itself
    if flag is True or str(flag).lower() == "true":
        return _unbase64(body)
    is_text = content_type.startswith("text/") or "json" in content_type or "urlencoded" in content_type
    if flag is None and content_type and not is_text:
        # SCF's Function URL has no such flag, and how it hands over a binary body is not documented. What may be
        # base64 is base64: neither a picture nor a multipart body looks like it.
        try:
            return base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            pass
    if "\ufffd" in body and not is_text:
        raise refusal(
            -401002,
            "the platform has read a binary body as text, which destroyed it",
            'switch on its binary handling (API Gateway REST: binaryMediaTypes "*/*"), or send JSON with img.value '
            "in base64",
        )
    return body.encode("utf-8", "surrogatepass")


def _unbase64(body: str) -> bytes:
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        raise refusal(
            -401002,
            f"isBase64Encoded is true, but the body of {len(body)} characters is not base64",
            "send the body in base64, or set the flag to false",
        ) from None


def lambda_reply(reply: Reply) -> dict[str, Any]:
    """{statusCode, headers, body, isBase64Encoded}: the reply that AWS invented and all the others took over."""
    kind = next((value for name, value in reply.headers.items() if name.lower() == "content-type"), "")
    encoded = not (kind.startswith("text/") or "json" in kind)
    body = base64.b64encode(reply.body).decode() if encoded else reply.body.decode("utf-8", "replace")
    return {"statusCode": reply.status, "headers": dict(reply.headers), "body": body, "isBase64Encoded": encoded}
