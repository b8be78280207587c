"""Cloud storage on this server: a folder, and signed links into it that expire."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from flask import Request, Response

from cloudfn.backends.folder import Folder
from cloudfn.call.storage import path_of
from cloudfn.net import multipart

PREFIX = "/cos/"
_UPLOAD_SECONDS = 900
_LINK_SECONDS = 7200
NO_FILE, REFUSED, FAILED = "STORAGE_FILE_NONEXIST", "STORAGE_EXCEED_AUTHORITY", "STORAGE_REQUEST_FAIL"


class Bucket:
    """The files of a server; thread-safe. The key of the links is that of all its workers."""

    def __init__(self, folder: str, key: bytes, clock: Callable[[], float]) -> None:
        self._root = folder
        self._files = Folder(folder)
        self._key = key
        self._clock = clock

    def place(self, base: str, env: str, path: str) -> dict[str, str]:
        """Return where a file is to be uploaded: the address, the authorisation and its fileID."""
        path = path.lstrip("/")
        until = int(self._clock()) + _UPLOAD_SECONDS
        file_id = Folder(self._root, env).file_id(path)
        return {
            "url": f"{base}{PREFIX}{quote(path, errors='replace')}",
            "token": f"until-{until}",
            "authorization": f"{until}-{self._signature('put', path, until)}",
            "file_id": file_id,
            "cos_file_id": hashlib.sha256(file_id.encode("utf-8", "replace")).hexdigest(),
        }

    def link(self, base: str, file_id: str, max_age: object) -> tuple[str, str]:
        """Return the code of wx-server-sdk's gateway for a file, and a link to it, not encoded, as the SDK expects."""
        path = path_of(file_id)
        if path is None or not self._files.has(path):
            return NO_FILE, ""
        seconds = max_age if isinstance(max_age, (int, float)) and 0 < max_age <= 86400 else _LINK_SECONDS
        until = int(self._clock() + seconds)
        return "SUCCESS", f"{base}{PREFIX}{path}?sign={self._signature('get', path, until)}&t={until}"

    def remove(self, file_id: str) -> str:
        """Delete a file; return the gateway's code."""
        return "SUCCESS" if self._files.remove(path_of(file_id) or "") else NO_FILE

    def write(self, env: str, path: str, content: bytes) -> str | None:
        """Store a file; return its fileID, None for a path that cannot be one."""
        path = path.lstrip("/")
        return Folder(self._root, env).file_id(path) if self._files.write(path, content) else None

    def behind(self, url: str) -> bytes | None:
        """Return the file behind one of this server's links, whatever its host; None for any other URL."""
        parts = urlsplit(url)
        if not parts.path.startswith(PREFIX):
            return None
        query = parse_qs(parts.query)
        sign, until = query.get("sign", [""])[0], query.get("t", [""])[0]
        for path in {parts.path[len(PREFIX) :], unquote(parts.path[len(PREFIX) :])}:
            if self._is_valid("get", path, sign, until):
                return self._files.read(path)
        return None

    def view(self, request: Request, body: Callable[[], bytes]) -> Response:
        """Answer GET, PUT or POST of a file as the object storage behind the cloud does."""
        path = request.path[len(PREFIX) :]
        if request.method == "GET":
            content = self.behind(request.url)
            if content is None:
                return _refusal(403, "AccessDenied", "the link is over or not this server's")
            return Response(content, content_type="application/octet-stream")
        if request.method == "PUT":
            authorised, key, content = request.headers.get("Signature", ""), path, body()
        elif request.method == "POST":
            try:
                parts = {part.name: part for part in multipart.parse(request.headers.get("Content-Type", ""), body())}
                authorised, key, content = parts["Signature"].text, parts["key"].text, parts["file"].data
            except (KeyError, ValueError):
                return _refusal(400, "MalformedPOSTRequest", "key, Signature and file are expected, the file last")
        else:
            return _refusal(405, "MethodNotAllowed", "send GET, PUT or POST")
        until, _, sign = authorised.partition("-")
        key = key.lstrip("/")
        if key != path or not self._is_valid("put", key, sign, until):
            return _refusal(403, "SignatureDoesNotMatch", "ask for the address of the upload first")
        if not self._files.write(key, content):
            return _refusal(400, "InvalidURI", "this path cannot be a file of the folder")
        return Response(status=200 if request.method == "PUT" else 204)

    def _signature(self, method: str, path: str, until: int) -> str:
        text = f"{method}\n{path}\n{until}".encode("utf-8", "replace")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()

    def _is_valid(self, method: str, path: str, sign: str, until: str) -> bool:
        if not (until.isascii() and until.isdecimal() and len(until) < 12 and int(until) > self._clock()):
            return False
        return hmac.compare_digest(sign.encode("utf-8", "replace"), self._signature(method, path, int(until)).encode())


def _refusal(status: int, code: str, message: str) -> Response:
    body: Any = f"<?xml version='1.0' encoding='utf-8' ?>\n<Error>\n<Code>{code}</Code>\n<Message>{message}</Message>\n"
    body += "<Resource>/</Resource>\n<RequestId>0</RequestId>\n<TraceId>0</TraceId>\n</Error>"
    return Response(body, status=status, content_type="application/xml")
