"""WeChat CloudRun and every other WSGI host (PEP 3333): a function is the application itself.

Sources: peps.python.org/pep-3333; WeChat's pages "wxinfo", "cloudcall" and "know" of CloudRun;
uwsgi-docs.readthedocs.io, "Chunked input API".
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from cloudfn.errors import refusal
from cloudfn.platforms.base import (
    MAX_BODY,
    Headers,
    HttpForm,
    Reply,
    Request,
    get,
    has,
    query_of,
    status_line,
    too_large,
)

TOKEN_HEADERS = ("x-wx-cloudbase-access-token", "x-wx-from-cloudbase-access-token")
"""Headers that hold a token: nobody but the wechat backend gets to see them."""

_CALLER = ("OPENID", "APPID", "UNIONID", "FROM_OPENID", "FROM_APPID", "FROM_UNIONID", "ENV", "SOURCE")
_STEP = 1024 * 1024


class Wsgi(HttpForm):
    """A WSGI request: application(environ, start_response)."""

    name = "WSGI"

    @classmethod
    def matches(cls, event: Any) -> bool:
        return has(event, "REQUEST_METHOD") and callable(getattr(get(event, "wsgi.input"), "read", None))

    def read(self) -> Request:
        environ = self.event
        headers = {
            name[5:].replace("_", "-").lower(): str(value)
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        if environ.get("CONTENT_TYPE"):
            headers["content-type"] = str(environ["CONTENT_TYPE"])
        path = _as_utf8(str(environ.get("PATH_INFO") or "/"))
        query = query_of(_as_utf8(str(environ.get("QUERY_STRING") or "")))
        return Request(str(environ["REQUEST_METHOD"]).upper(), path, query, Headers(headers.items()), _body(environ))

    def write(self, reply: Reply) -> list[bytes]:
        length = [] if reply.status in (204, 304) else [("Content-Length", str(len(reply.body)))]
        self.context(status_line(reply.status), [*reply.headers, *length])
        return [b"" if self.event["REQUEST_METHOD"] == "HEAD" else reply.body]


def _as_utf8(text: str) -> str:
    """Return a part of the address, of which WSGI makes a character of each byte."""
    return text.encode("latin-1", "replace").decode("utf-8", "replace")


def _body(environ: Any) -> bytes:
    """Return at most MAX_BODY bytes: CONTENT_LENGTH of them, or of a chunked body all.

    A server that knows the end of a chunked body says so (gunicorn, waitress, granian: wsgi.input_terminated); a2wsgi
    says nothing and knows it all the same. uWSGI has an interface of its own. With any other server, reading on would
    wait for ever.
    """
    read = environ["wsgi.input"].read
    length = str(environ.get("CONTENT_LENGTH") or "")
    if length:
        if not (length.isascii() and length.isdecimal()):
            raise refusal(-401002, "Content-Length is no number", "send the number of the body's bytes")
        if len(length) > 15 or int(length) > MAX_BODY:
            raise too_large(int(length[:15]))
        return _whole(read, int(length))
    if environ.get("wsgi.input_terminated") or "asgi.scope" in environ:
        return _whole(read, MAX_BODY + 1)
    if environ.get("HTTP_TRANSFER_ENCODING", "").lower() != "chunked":
        return b""
    if "uwsgi.version" in environ:
        uwsgi = importlib.import_module("uwsgi")  # a module that exists only inside uWSGI
        return _whole(lambda _size: uwsgi.chunked_read(), MAX_BODY + 1)
    raise refusal(
        -401002,
        "the body is chunked, and this WSGI server does not tell where it ends",
        "send it with Content-Length, or use gunicorn, uWSGI, waitress or granian",
    )


def _whole(read: Callable[[int], bytes], most: int) -> bytes:
    """Read up to `most` bytes, in as many steps as the server makes of them; raise 45001 over MAX_BODY."""
    pieces: list[bytes] = []
    missing = most
    while missing > 0 and (piece := read(min(missing, _STEP))):
        pieces.append(piece)
        missing -= len(piece)
    if most - missing > MAX_BODY:
        raise too_large(most - missing)
    return b"".join(pieces)


def caller(headers: Mapping[str, str]) -> dict[str, str | int]:
    """Return the caller that CloudRun's x-wx-* headers name, with getWXContext's keys; {} without x-wx-source.

    That header is the vendor's own test for "came from WeChat". Only WeChat's gateway sets it, but a request over a
    public address can forge it, so that address must be closed.
    """
    if not headers.get("x-wx-source"):
        return {}
    values = {name: headers.get(f"x-wx-{name.lower().replace('_', '-')}") for name in _CALLER}
    return {name: value for name, value in values.items() if value}
