"""An HTTP request's query and body as the parameters that a direct invocation would bring: values in, values out.

Understood are JSON objects, forms, multipart/form-data (RFC 7578), and a picture as the whole body.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl

from cloudfn.call import media
from cloudfn.errors import CloudError, refusal
from cloudfn.net import multipart
from cloudfn.platforms.base import Request

_MAX_FIELDS = 32
_EXPECTED = "send a JSON object, multipart/form-data, or a picture as the whole body"


def parameters(request: Request, *, strict: bool = True) -> dict[str, Any]:
    """Return the parameters; those of the body count before those of the query.

    A picture becomes `img`, {"contentType": ..., "value": bytes}, and so does every file of a multipart body, under
    the name of its field. A body of any other kind brings no parameters where this is not `strict`. Raises
    `CloudError` -401002 or -401003.
    """
    return {**request.query, **(_from_body(request, strict) if request.body else {})}


def _from_body(request: Request, strict: bool) -> Mapping[str, Any]:
    header = Message()
    # A header of an event may hold what no HTTP header does: line breaks, half of a surrogate pair.
    header["Content-Type"] = " ".join(request.content_type.encode("ascii", "replace").decode().splitlines())
    kind = header.get_content_type() if request.content_type else ""
    if request.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise _unreadable("the body is compressed", "send it without Content-Encoding")
    reader = _READERS.get(kind)
    if reader is None:
        if kind == "application/json" or kind.endswith("+json") or _looks_like_json(kind, request.body):
            reader = _json
        elif kind.startswith("image/") or media.sniff(request.body):
            reader = _picture
        elif not strict:
            return {}
        else:
            raise _unreadable(f"the body is {kind or 'of no declared type'}"[:120], _EXPECTED)
    return reader(header, request.body)


def _looks_like_json(kind: str, body: bytes) -> bool:
    """Detect JSON under another type: `curl -d '{...}'` says x-www-form-urlencoded, fetch() of a string text/plain."""
    return kind in ("", "text/plain", "application/octet-stream") and body.lstrip()[:1] == b"{"


def _json(_header: Message, body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise _unreadable(f"the body is not JSON (line {error.lineno}, column {error.colno}: {error.msg})") from None
    except (ValueError, RecursionError):
        raise _unreadable("the body is not JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise _unreadable(f"the body is JSON, but a {type(value).__name__}", "send a JSON object", code=-401003)
    return value


def _form(header: Message, body: bytes) -> Mapping[str, Any]:
    if body.lstrip()[:1] == b"{":
        return _json(header, body)
    try:
        return dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_MAX_FIELDS))
    except ValueError:
        raise _unreadable("the body is no form") from None


def _picture(header: Message, body: bytes) -> Mapping[str, Any]:
    declared = header.get_content_type() if header["Content-Type"] else ""
    return {"img": {"contentType": _picture_type(declared, body), "value": body}}


def _picture_type(declared: str, data: bytes) -> str:
    """Return the declared type where it is specific, else the one that the bytes reveal."""
    return declared if declared.startswith("image/") else media.sniff(data) or declared or "application/octet-stream"


def _multipart(header: Message, body: bytes) -> Mapping[str, Any]:
    content_type = str(header["Content-Type"])
    if not multipart.boundary(content_type):
        raise _unreadable("the Content-Type is multipart/form-data without a boundary")
    try:
        parts = multipart.parse(content_type, body)
    except ValueError as error:
        raise _unreadable(str(error)) from None
    return {part.name: _value(part) for part in parts}


def _value(part: multipart.Part) -> Any:
    """Return a part's text, or its file as {"contentType", "value", "fileName"}."""
    kind = part.headers.get("content-type", "")
    if part.filename is None and not kind.startswith("image/"):
        try:
            return part.data.decode("utf-8")
        except UnicodeDecodeError:
            problem = f"the part {part.name[:40]!r} is binary but has no file name"
            raise _unreadable(problem, "send it as a file") from None
    named = {"fileName": part.filename} if part.filename else {}
    return {"contentType": _picture_type(kind, part.data), "value": part.data, **named}


def _unreadable(problem: str, cure: str = _EXPECTED, code: int = -401002) -> CloudError:
    return refusal(code, problem, cure)


_READERS: Mapping[str, Callable[[Message, bytes], Mapping[str, Any]]] = {
    "multipart/form-data": _multipart,
    "application/x-www-form-urlencoded": _form,
}
