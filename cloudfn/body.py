"""An HTTP request's query and body as the parameters that a direct invocation would bring: values in, values out.

Understood are JSON objects, forms, multipart/form-data (RFC 7578), and a picture as the whole body.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl

from cloudfn import media
from cloudfn.errors import CloudError
from cloudfn.platforms.base import Request

_MAX_PARTS = 32
_MAX_HEAD = 8192  # bytes of one part's headers
_BOUNDARY = re.compile(rb"[ -~]{0,69}[!-~]")  # RFC 2046, leniently: printable ASCII, 1 to 70, no space at its end
_EXPECTED = "send a JSON object, multipart/form-data, or a picture as the whole body"


def parameters(request: Request, *, strict: bool = True) -> dict[str, Any]:
    """The parameters; those of the body count before those of the query.

    A picture becomes `img`, {"contentType": ..., "value": bytes}, and so does every file of a multipart body, under
    the name of its field. A body of any other kind brings no parameters where this is not `strict`. Raises
    `CloudError` -401002 or -401003.
    """
    return {**request.query, **(_from_body(request, strict) if request.body else {})}


def _from_body(request: Request, strict: bool) -> Mapping[str, Any]:
    header = _header("Content-Type", request.content_type)
    kind = header.get_content_type() if request.content_type else ""
    if request.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise _refusal("the body is compressed", "send it without Content-Encoding")
    reader = _READERS.get(kind)
    if reader is None:
        if kind == "application/json" or kind.endswith("+json") or _looks_like_json(kind, request.body):
            reader = _json
        elif kind.startswith("image/") or media.sniff(request.body):
            reader = _picture
        elif not strict:
            return {}
        else:
            raise _refusal(f"the body is {kind or 'of no declared type'}"[:120], _EXPECTED)
    return reader(header, request.body)


def _header(name: str, value: str) -> Message:
    message = Message()
    message[name] = value.replace("\r", " ").replace("\n", " ")
    return message


def _looks_like_json(kind: str, body: bytes) -> bool:
    """`curl -d '{...}'` says application/x-www-form-urlencoded, and fetch() of a string text/plain."""
    return kind in ("", "text/plain", "application/octet-stream") and body.lstrip()[:1] == b"{"


def _json(_header: Message, body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise _refusal(f"the body is not JSON (line {error.lineno}, column {error.colno}: {error.msg})") from None
    except (ValueError, RecursionError):
        raise _refusal("the body is not JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise _refusal(f"the body is JSON, but a {type(value).__name__}", "send a JSON object", code=-401003)
    return value


def _form(header: Message, body: bytes) -> Mapping[str, Any]:
    if body.lstrip()[:1] == b"{":
        return _json(header, body)
    try:
        return dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_MAX_PARTS))
    except ValueError:
        raise _refusal("the body is no form") from None


def _picture(header: Message, body: bytes) -> Mapping[str, Any]:
    declared = header.get_content_type() if header["Content-Type"] else ""
    return {"img": {"contentType": _picture_type(declared, body), "value": body}}


def _picture_type(declared: str, data: bytes) -> str:
    """The declared type where it says something, else what the bytes tell."""
    return declared if declared.startswith("image/") else media.sniff(data) or declared or "application/octet-stream"


def _multipart(header: Message, body: bytes) -> Mapping[str, Any]:
    boundary = str(header.get_param("boundary") or "").encode("ascii", "replace")
    if not _BOUNDARY.fullmatch(boundary):
        raise _refusal("the Content-Type is multipart/form-data without a boundary")
    delimiter = b"\r\n--" + boundary
    _before, *parts = (b"\r\n" + body).split(delimiter, _MAX_PARTS + 2)
    if len(parts) > _MAX_PARTS + 1:
        raise _refusal(f"the body has more than {_MAX_PARTS} parts")
    if not parts or not parts[-1].startswith(b"--"):
        raise _refusal("the multipart body has no end: it is cut off, or its boundary is another one")
    fields: dict[str, Any] = {}
    for part in parts[:-1]:
        name, value = _part(part)
        fields[name] = value
    return fields


def _part(part: bytes) -> tuple[str, Any]:
    """A part's field and value: text, or a file as {"contentType", "value", "fileName"}."""
    # Behind the delimiter there may be white space, then its line ends; a part without headers has an empty line.
    head, gap, content = part.lstrip(b" \t").partition(b"\r\n\r\n")
    if not gap or not head.startswith(b"\r\n") or len(head) > _MAX_HEAD:
        raise _refusal("a part of the multipart body has no headers")
    headers = {}
    for line in head.decode("utf-8", "replace").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    disposition = _header("Content-Disposition", headers.get("content-disposition", ""))
    field = disposition.get_param("name", header="Content-Disposition")
    if not isinstance(field, str) or not field:
        raise _refusal("a part of the multipart body has no name")
    file_name = disposition.get_filename()
    kind = headers.get("content-type", "")
    if file_name is None and not kind.startswith("image/"):
        try:
            return field, content.decode("utf-8")
        except UnicodeDecodeError:
            raise _refusal(f"the part {field[:40]!r} is binary but has no file name", "send it as a file") from None
    named = {"fileName": file_name} if file_name else {}
    return field, {"contentType": _picture_type(kind, content), "value": content, **named}


def _refusal(text: str, cure: str = _EXPECTED, code: int = -401002) -> CloudError:
    return CloudError(code, f"{text}; {cure}", hint=cure, retryable=False)


_READERS: Mapping[str, Callable[[Message, bytes], Mapping[str, Any]]] = {
    "multipart/form-data": _multipart,
    "application/x-www-form-urlencoded": _form,
}
