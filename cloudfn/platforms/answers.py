"""A function's result as an HTTP answer or as the JSON of a direct one; and the headers that browsers want (CORS)."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from cloudfn.call import media
from cloudfn.errors import CloudError, refusal
from cloudfn.platforms.base import JSON_TYPE, Reply, Request, truthy

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.1
_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")  # 5.5, what latin-1 makes of it
# Headers that are the server's own: a function's would contradict it (PEP 3333 forbids the hop-by-hop ones).
_SERVERS_OWN = {"content-length", "connection", "keep-alive", "transfer-encoding", "upgrade", "trailer", "te"}


def of_error(error: CloudError) -> Reply:
    """Return an error as an HTTP answer: its errCode and errMsg, with the status that fits."""
    return _json_reply(error.to_dict(), error.http_status)


def of_result(result: Any) -> Reply:
    """Return the HTTP answer for a function's result.

    {"statusCode", "headers", "multiValueHeaders", "cookies", "body", "isBase64Encoded"} is an answer as Lambda takes
    it: the status a number or its text, a header's value a text or a list of them. Bytes are a picture or whatever
    they are, text is text, everything else is JSON; exactly errCode and errMsg get the status that fits.

    Raises `CloudError` -504002 for any other result, and for one that HTTP cannot carry.
    """
    if isinstance(result, Mapping) and "statusCode" in result:
        return _integrated(result)
    if isinstance(result, (bytes, bytearray, memoryview)):
        return Reply(200, bytes(result), (("Content-Type", media.sniff(result) or "application/octet-stream"),))
    if isinstance(result, str):
        return Reply(200, _encoded(result), (("Content-Type", "text/plain; charset=utf-8"),))
    code = failed(result)
    return _json_reply(result, CloudError(code, "").http_status if code else 200)


def of_direct(result: Any) -> Any:
    """Return a function's result as JSON: bytes become {"contentType", "value" in base64}, as `img` takes them.

    Raises `CloudError` -504002 for a result that JSON cannot hold.
    """
    if isinstance(result, (bytes, bytearray, memoryview)):
        kind = media.sniff(result) or "application/octet-stream"
        return {"contentType": kind, "value": base64.b64encode(result).decode()}
    _dumped(result)
    return result


def failed(result: Any) -> int:
    """Return the errCode of a result that is exactly errCode and errMsg; 0 for all others, and for a success."""
    code = result["errCode"] if isinstance(result, Mapping) and result.keys() == {"errCode", "errMsg"} else 0
    return code if isinstance(code, int) else 0


def _integrated(result: Mapping[str, Any]) -> Reply:
    status, headers, body = _status(result["statusCode"]), tuple(_headers(result)), result.get("body")
    if isinstance(body, str) and truthy(result.get("isBase64Encoded")):
        try:
            body = base64.b64decode("".join(body.split()), validate=True)
        except (binascii.Error, ValueError):
            raise _fault("isBase64Encoded is true, but the body is not base64", "encode it, or return bytes") from None
    kind = JSON_TYPE
    if isinstance(body, (bytes, bytearray, memoryview)):
        body = bytes(body)
        kind = media.sniff(body) or JSON_TYPE
    elif body is None:
        body = b""
    else:
        body = _encoded(body) if isinstance(body, str) else _dumped(body)
    if status in (204, 304):  # RFC 9110: they have no content
        return Reply(status, b"", tuple((name, value) for name, value in headers if name.lower() != "content-type"))
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers = (*headers, ("Content-Type", kind))
    return Reply(status, body, headers)


def _status(value: Any) -> int:
    """Return a final status, which may come as text or as a number such as 200.0."""
    number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{3}", value) else value
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 200 <= number <= 599 or number % 1:
        raise _fault(f"statusCode {str(value)[:20]!r} is no HTTP status", "return a number from 200 to 599")
    return int(number)


def _headers(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the headers; a name in multiValueHeaders counts there alone, as on Lambda."""
    multi = _pairs(result.get("multiValueHeaders"))
    names = {name.lower() for name, _ in multi}
    single = [(name, value) for name, value in _pairs(result.get("headers")) if name.lower() not in names]
    cookies = result.get("cookies") or []
    if not isinstance(cookies, (list, tuple)):  # the characters of a text would each be one
        raise _fault(f"cookies are a {type(cookies).__name__}", "return a list of them")
    for name, value in (*single, *multi, *(("Set-Cookie", cookie) for cookie in cookies)):
        if name.lower() in _SERVERS_OWN:
            continue
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(text):
            # Neither name nor value is shown: they may hold anything.
            raise _fault(
                f"the header {name[:40]!r} holds what HTTP does not carry",
                "headers are names without spaces, and values of one line in latin-1; percent-encode the rest",
            )
        yield name, text.strip()


def _pairs(headers: Any) -> list[tuple[str, Any]]:
    """Return a mapping of values or lists as pairs, without what is None."""
    if headers is None:
        return []
    if not isinstance(headers, Mapping):
        raise _fault(f"headers are a {type(headers).__name__}", "return a mapping of names and values")
    several = ((str(name), value if isinstance(value, (list, tuple)) else [value]) for name, value in headers.items())
    return [(name, value) for name, values in several for value in values if value is not None]


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise _fault("the text has half of a surrogate pair", "return text that UTF-8 can hold") from None


def _json_reply(value: Any, status: int = 200) -> Reply:
    return Reply(status, _dumped(value))


def _dumped(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise _fault(
            f"what the function returned is no JSON ({_reason(error)})",
            "return JSON, text or bytes; a picture among other things goes as base64",
        ) from error


# What json cannot write, besides types that it does not know.
_REASONS = {
    ValueError: "it has a NaN or an infinity, or contains itself",
    UnicodeEncodeError: "a text has half of a surrogate pair",
    RecursionError: "it is nested too deep",
}


def _reason(error: Exception) -> str:
    """Return the error's reason in words that hold no value: json's TypeErrors name the type alone."""
    return str(error) if isinstance(error, TypeError) else _REASONS.get(type(error), type(error).__name__)


def _fault(problem: str, cure: str) -> CloudError:
    return refusal(-504002, f"functions execute fail: {problem}", cure, retryable=False)


# --- CORS and OPTIONS -------------------------------------------------------------------------------------------------


def of_options(methods: Iterable[str]) -> Reply:
    """Return the answer to OPTIONS: 204 with the methods."""
    return Reply(204, b"", (("Allow", ", ".join(methods)),))


def with_cors(reply: Reply, request: Request, origins: tuple[str, ...]) -> Reply:
    """Return the answer with the CORS headers for an origin that is allowed; `origins` are those, or "*" for all.

    Headers that the function set itself stay. Source: fetch.spec.whatwg.org, "HTTP extensions".
    """
    origin = request.headers.get("origin", "")
    if not origins or any(name.lower() == "access-control-allow-origin" for name, _ in reply.headers):
        return reply
    vary = () if "*" in origins else (("Vary", "Origin"),)
    if "*" not in origins and origin not in origins:
        return replace(reply, headers=(*reply.headers, *vary))
    headers = [("Access-Control-Allow-Origin", "*" if "*" in origins else origin), *vary]
    if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
        wanted = [name.strip() for name in request.headers.get("access-control-request-headers", "").split(",")]
        names = ", ".join(name for name in wanted if _NAME.fullmatch(name)) or "content-type"
        headers += [
            ("Access-Control-Allow-Methods", reply.header("allow")),
            ("Access-Control-Allow-Headers", names[:1000]),
            ("Access-Control-Max-Age", "600"),
        ]
    return replace(reply, headers=(*reply.headers, *headers))
