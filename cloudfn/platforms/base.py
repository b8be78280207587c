"""The common parts of the platforms: an HTTP request and its answer as values, and the base classes of the forms.

A form is one shape in which events arrive. It is made of one event and its context, and knows how to read the one and
how to answer the other; a platform's file holds its forms and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from cloudfn.errors import Limit, refusal

MAX_BODY = 32 * 1024 * 1024
"""Bytes of a body that are read where the platform itself sets no limit: as much as Google and FC take."""


class Values(Mapping[str, str]):
    """Names with one or more values each, as a query or the headers hold them; cannot be changed.

    As a mapping it holds each name's last value; `getlist` returns all of them in the order in which they came, and
    `pairs` every name with every value. In `Headers`, names that differ only in case are equal.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.pairs = tuple(pairs)
        self._lists: dict[str, list[str]] = {}
        for name, value in self.pairs:
            self._lists.setdefault(self._key(name), []).append(value)

    @staticmethod
    def _key(name: str) -> str:
        return name

    def getlist(self, name: str) -> list[str]:
        """Return all values of a name, [] where there is none."""
        return list(self._lists.get(self._key(name), ()))

    def __getitem__(self, name: str) -> str:
        return self._lists[self._key(name)][-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lists)

    def __len__(self) -> int:
        return len(self._lists)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self._lists)})"  # values may be tokens


class Headers(Values):
    """The headers of a request: names are in lower case, and looked up in any case."""

    @staticmethod
    def _key(name: str) -> str:
        return name.lower()


@dataclass(frozen=True)
class Request:
    """An HTTP request, whatever the platform: names of headers in lower case, the body decoded."""

    method: str
    path: str
    query: Values = field(default_factory=Values)
    headers: Headers = field(default_factory=Headers, repr=False)  # they may hold tokens
    body: bytes = field(default=b"", repr=False)

    @property
    def content_type(self) -> str:
        """Return the header Content-Type, parameters such as the boundary included."""
        return self.headers.get("content-type", "")


JSON_TYPE = "application/json; charset=utf-8"


@dataclass(frozen=True)
class Reply:
    """An HTTP answer, whatever the platform. A header that has several values stands there several times."""

    status: int
    body: bytes = field(default=b"", repr=False)
    headers: tuple[tuple[str, str], ...] = (("Content-Type", JSON_TYPE),)

    def header(self, name: str) -> str:
        """Return a header's last value, "" where there is none."""
        return next((value for key, value in reversed(self.headers) if key.lower() == name), "")

    def grouped(self) -> dict[str, list[str]]:
        """Return the values by name, under the spelling that came first."""
        spelling: dict[str, str] = {}
        lists: dict[str, list[str]] = {}
        for name, value in self.headers:
            lists.setdefault(spelling.setdefault(name.lower(), name), []).append(value)
        return lists


class Form:
    """One form in which events arrive, made of an event and the platform's context object.

    `name` is what people call it. `caller` tells whether somebody waits for the answer and understands errCode and
    errMsg in it; where nobody does, an error must be raised, or the platform takes it for a success. `seconds`,
    `request_bytes` and `response_bytes` are the trigger's own limits, where they are smaller than the function's.
    """

    name: str
    caller: ClassVar[bool] = False
    seconds: ClassVar[float | None] = None
    request_bytes: ClassVar[int | None] = None
    response_bytes: ClassVar[int | None] = None

    def __init__(self, event: Any, context: Any = None) -> None:
        self.event = event
        self.context = context

    @classmethod
    def matches(cls, event: Any) -> bool:
        """Return whether an event has this form; earlier rows of the table were tried before."""
        raise NotImplementedError


class EventForm(Form):
    """A form that is not HTTP."""

    def data(self) -> Any:
        """Return the event as a user's own function gets it: unchanged."""
        return self.event

    def parameters(self) -> Any:
        """Return the call's parameters as the ready-made handler reads them. Raise `CloudError` -401002."""
        return self.event


class HttpForm(Form):
    """A form that is HTTP, read into a `Request` and answered with a `Reply`.

    Most platforms take the answer that AWS invented: {statusCode, headers, body, isBase64Encoded}. They differ in how
    it carries several values of one header, which is `several`, one of the functions below.
    """

    caller = True
    several: Callable[[dict[str, list[str]]], dict[str, Any]]
    status_line: ClassVar[bool] = False

    def read(self) -> Request:
        """Return the request. Raise `CloudError` -401002, or 45001 for a body that is too large."""
        raise NotImplementedError

    def write(self, reply: Reply) -> Any:
        """Return the answer as the platform takes it. Raise `CloudError` -504002 for one that it cannot carry."""
        return gateway_answer(reply, self.several) | (
            {"statusDescription": status_line(reply.status)} if self.status_line else {}
        )


class Gateway(HttpForm):
    """An event with httpMethod, path and headers, in any of the spellings that gateways use.

    The whole query counts before the configured part of it, and lists before single values.
    """

    def read(self) -> Request:
        event = self.event
        query = query_of(*(event.get(name) for name in _QUERIES))
        headers = headers_of(event.get("headers"), event.get("multiValueHeaders"))
        return self.request(str(event["httpMethod"]), str(event.get("path") or "/"), query, headers)

    def request(self, method: str, path: str, query: Values, headers: Headers) -> Request:
        """Return the request with the event's body."""
        body = body_of(self.event.get("body"), self.event.get("isBase64Encoded"), headers.get("content-type", ""))
        return Request(method.upper(), path, query, headers, body)


# Tencent's queryStringParameters hold only what was configured, queryString the whole query.
_QUERIES = ("multiValueQueryStringParameters", "queryString", "queryStringParameters", "queryParameters")


# --- How an answer carries several values of one header: their names with their values in, its keys out ---------------


def as_lists(headers: dict[str, list[str]]) -> dict[str, Any]:
    """Write headers as Tencent does: a value may be a list."""
    return {"headers": {name: values if len(values) > 1 else values[0] for name, values in headers.items()}}


def as_multi_value_headers(headers: dict[str, list[str]]) -> dict[str, Any]:
    """Write headers as API Gateway REST does: `multiValueHeaders` beside `headers`."""
    single = {name: values[0] for name, values in headers.items() if len(values) == 1}
    multi = {name: values for name, values in headers.items() if len(values) > 1}
    return {"headers": single} | ({"multiValueHeaders": multi} if multi else {})


def as_cookies(headers: dict[str, list[str]]) -> dict[str, Any]:
    """Write headers as HTTP API and Function URL do: `cookies` for Set-Cookie, all other values joined."""
    cookies = [value for name, values in headers.items() if name.lower() == "set-cookie" for value in values]
    joined = {name: ", ".join(values) for name, values in headers.items() if name.lower() != "set-cookie"}
    return {"headers": joined} | ({"cookies": cookies} if cookies else {})


def as_one_value(headers: dict[str, list[str]]) -> dict[str, Any]:
    """Write one value a header, several joined by commas, which Set-Cookie does not allow (RFC 9110, 5.3)."""
    for name, values in headers.items():
        if name.lower() == "set-cookie" and len(values) > 1:
            raise refusal(
                -504002,
                f"functions execute fail: {len(values)} cookies are set, and this platform's answer carries one",
                "set one cookie a request, or put the values into one",
            )
    return {"headers": {name: ", ".join(values) for name, values in headers.items()}}


def gateway_answer(reply: Reply, several: Callable[[dict[str, list[str]]], dict[str, Any]]) -> dict[str, Any]:
    """Return {statusCode, headers, body, isBase64Encoded}: text as it is, everything else in base64."""
    text = _text_of(reply)
    return {
        "statusCode": reply.status,
        **several(reply.grouped()),
        "body": base64.b64encode(reply.body).decode() if text is None else text,
        "isBase64Encoded": text is None,
    }


def _text_of(reply: Reply) -> str | None:
    """Return the body as text, None where it must travel in base64: compressed, no text, or not in UTF-8."""
    kind = reply.header("content-type").lower()
    if reply.body and (reply.header("content-encoding") or not is_text(kind)):
        return None
    try:
        return reply.body.decode()
    except UnicodeDecodeError:
        return None


def is_text(content_type: str) -> bool:
    """Return whether a body of this media type is text."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind.startswith("text/") or kind.endswith(("json", "xml", "javascript", "urlencoded"))


_PHRASES: Mapping[int, str] = {status.value: status.phrase for status in HTTPStatus}


def status_line(status: int) -> str:
    """Return a status line such as "404 Not Found"; a status that HTTP does not know has no phrase."""
    return f"{status} {_PHRASES.get(status, 'Unknown')}"


# --- Reading ----------------------------------------------------------------------------------------------------------


def get(event: Any, *path: str) -> Any:
    """Return event[path[0]][path[1]]..., None where a key is missing."""
    for name in path:
        event = event.get(name) if isinstance(event, Mapping) else None
    return event


def has(event: Any, *names: str) -> bool:
    """Return whether the event has all of these keys."""
    return isinstance(event, Mapping) and all(name in event for name in names)


def headers_of(*candidates: Any) -> Headers:
    """Return the headers of one or two mappings of values or lists; where both name one, that with more values."""
    lists: dict[str, list[str]] = {}
    for candidate in candidates:
        for name, value in candidate.items() if isinstance(candidate, Mapping) else ():
            values = _strings(value)
            if len(values) >= len(lists.get(str(name).lower(), ())):
                lists[str(name).lower()] = values
    return Headers((name, value) for name, values in lists.items() for value in values)


def query_of(*candidates: Any, decode: Callable[[str], str] = str) -> Values:
    """Return the query in the first candidate that is not empty: a query string, or a mapping of values or lists.

    `decode` is for platforms that hand over the values of their mappings as they stood in the address.
    """
    for candidate in candidates:
        if candidate and isinstance(candidate, str):
            return Values(parse_qsl(candidate.removeprefix("?"), keep_blank_values=True))
        if candidate and isinstance(candidate, Mapping):
            return Values(
                (decode(str(name)), decode(value)) for name in candidate for value in _strings(candidate[name])
            )
    return Values()


def _strings(value: Any) -> list[str]:
    """Return one value or a list of them as text; null is "", as for a name without a value."""
    values = value if isinstance(value, (list, tuple)) else [value]
    return ["" if value is None else str(value) for value in values]


def truthy(flag: Any) -> bool:
    """Return whether a flag is set that some platforms hand over as text."""
    return flag is True or str(flag).lower() == "true"


def body_of(body: Any, flag: Any, content_type: str) -> bytes:
    """Return a body's bytes. Missing, null and "" are no body; `flag` is isBase64Encoded, which may be text or None.

    Raises `CloudError` -401002 for a flag that lies, and where the platform has destroyed a binary body.
    """
    if body is None or body == "":
        return b""
    if not isinstance(body, str):
        return json.dumps(body).encode()  # a gateway that reads JSON itself
    if truthy(flag):
        return _unbase64(body)
    text = is_text(content_type)
    if flag is None and content_type and not text:
        # SCF's Function URL may come without the flag, and how it hands over a binary body is not documented. What may
        # be base64 is base64: neither a picture nor a multipart body looks like it.
        try:
            return base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            pass
    if "\ufffd" in body and not text:
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


def too_large(length: int) -> Exception:
    """Return the error 45001 of a body over MAX_BODY."""
    return refusal(
        45001, f"the body has {length:,} bytes", f"send at most {MAX_BODY:,}", limit=Limit(MAX_BODY, "bytes")
    )
