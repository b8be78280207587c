"""WeChat CloudRun and every other WSGI host (PEP 3333): a function is the application itself.

Sources: peps.python.org/pep-3333; WeChat's pages "wxinfo", "cloudcall" and "know" of CloudRun.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloudfn.errors import Limit, refusal
from cloudfn.platforms.base import MAX_BODY, Host, Reply, Request, has, query_of, status_line

TOKEN_HEADERS = ("x-wx-cloudbase-access-token", "x-wx-from-cloudbase-access-token")
"""Headers that hold a token: nobody but the wechat backend gets to see them."""

_CALLER = ("OPENID", "APPID", "UNIONID", "FROM_OPENID", "FROM_APPID", "FROM_UNIONID", "ENV", "SOURCE")


class Wsgi:
    """called as application(environ, start_response)."""

    name = "WSGI"
    http = True
    seconds = None

    def matches(self, event: Any, context: Any) -> bool:
        return callable(context) and has(event, "wsgi.input", "REQUEST_METHOD")

    def read(self, event: Any, context: Any) -> Request:  # noqa: ARG002
        headers = {
            name[5:].replace("_", "-").lower(): str(value) for name, value in event.items() if name.startswith("HTTP_")
        }
        if event.get("CONTENT_TYPE"):
            headers["content-type"] = str(event["CONTENT_TYPE"])
        path = str(event.get("PATH_INFO") or "/").encode("latin-1", "replace").decode("utf-8", "replace")
        query = query_of(event.get("QUERY_STRING"))
        return Request(str(event["REQUEST_METHOD"]).upper(), path, query, headers, _body(event))

    def write(self, reply: Reply, event: Any, context: Any) -> list[bytes]:
        headers = {**reply.headers, "Content-Length": str(len(reply.body))}
        context(status_line(reply.status), list(headers.items()))
        return [b"" if event["REQUEST_METHOD"] == "HEAD" else reply.body]


def _body(environ: Any) -> bytes:
    """At most MAX_BODY bytes: CONTENT_LENGTH of them, or, where the server knows the end of a chunked body, all."""
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        raise refusal(-401002, "Content-Length is no number", "send the number of the body's bytes") from None
    if not length and environ.get("wsgi.input_terminated"):
        length = MAX_BODY + 1
    elif length > MAX_BODY:
        raise too_large(length)
    body: bytes = environ["wsgi.input"].read(length) if length > 0 else b""
    if len(body) > MAX_BODY:
        raise too_large(len(body))
    return body


def too_large(length: int) -> Exception:
    """A body over MAX_BODY."""
    return refusal(
        45001, f"the body has {length:,} bytes", f"send at most {MAX_BODY:,}", limit=Limit(MAX_BODY, "bytes")
    )


def caller(headers: Mapping[str, str]) -> dict[str, str | int]:
    """What CloudRun's x-wx-* headers tell of the caller, under the names of getWXContext; {} without x-wx-source.

    That header is the vendor's own test for "came from WeChat". Only WeChat's gateway sets it, but a request over a
    public address can forge it, so that address must be closed.
    """
    if not headers.get("x-wx-source"):
        return {}
    found = {name: headers.get(f"x-wx-{name.lower().replace('_', '-')}") for name in _CALLER}
    return {name: value for name, value in found.items() if value}


HOST = Host(
    name="cloudrun",
    title="WeChat CloudRun",
    entry="index.py",
    handler="app",
    python="3.12",  # of the Dockerfile's image, Debian 12 with glibc 2.36
    glibc=36,
    seconds=15,  # of a mini program's callContainer, which takes no longer limit; so are the 100 KB
    max_seconds=15,
    request_bytes=100 * 1024,
    response_bytes=None,
    zip_bytes=None,
    unzipped_bytes=None,
    environment={"CBR_ENV_ID": "local"},
)
