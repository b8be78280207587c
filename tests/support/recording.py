"""A server on a raw socket that records every byte it gets and answers from a queue."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from inspect import signature
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from typing_extensions import Self

OK = {
    "errcode": 0,
    "errmsg": "ok",
    "results": [{"crop_left": 112, "crop_top": 0, "crop_right": 839, "crop_bottom": 727}],
    "img_size": {"w": 966, "h": 728},
}

# Bytes to send, or what does with the connection as it likes; the latter may also take the request.
Answer = bytes | Callable[..., None]


def drip(answer: bytes, pause: float = 0.02) -> Callable[[socket.socket], None]:
    """Send an answer byte by byte."""

    def send(connection: socket.socket) -> None:
        for byte in answer:
            connection.sendall(bytes([byte]))
            time.sleep(pause)

    return send


def http(body: bytes | dict[str, Any], *, status: str = "200 OK", content_type: str = "application/json") -> bytes:
    """A whole HTTP answer."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


class Request:
    """One request as it came over the socket."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        head, _, self.body = raw.partition(b"\r\n\r\n")
        line, *headers = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = line.split(" ")
        self.headers = {name.lower(): value for name, _, value in (header.partition(": ") for header in headers)}

    @property
    def text(self) -> str:
        """All of it, byte by byte."""
        return self.raw.decode("latin-1")

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> list[tuple[str, str]]:
        """Names and values in order; plain unquoting, a plus stays a plus."""
        _, _, query = self.target.partition("?")
        pairs = (pair.partition("=") for pair in query.split("&") if pair)
        return [(unquote(name), unquote(value)) for name, _, value in pairs]

    @property
    def parts(self) -> list[tuple[dict[str, str], bytes]]:
        """The multipart parts: headers and content."""
        boundary = self.headers["content-type"].partition("boundary=")[2].encode()
        assert not boundary.startswith(b'"')
        first, *middle, last = self.body.split(b"--" + boundary)
        assert (first, last) == (b"", b"--\r\n")
        parts = []
        for part in middle:
            head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
            parts.append((headers, content.removesuffix(b"\r\n")))
        return parts


class RecordingServer:
    """Listens on loopback; `answers` are used up in order, the last one again and again.

    With `tls` it speaks TLS. Without `reads_bodies` an answer begins when the request's head has come.
    """

    def __init__(self, *answers: Answer, tls: ssl.SSLContext | None = None, reads_bodies: bool = True) -> None:
        self.answers: list[Answer] = list(answers) or [http(OK)]
        self.requests: list[Request] = []
        self.connections = 0
        self.tls = tls
        self._reads_bodies = reads_bodies
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._listen)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def at(self, path: str) -> str:
        """The address of a path here."""
        return self.url + path

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):  # it is closed already
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _listen(self) -> None:
        workers = []
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                break
            self.connections += 1
            self._open.append(connection)
            workers.append(threading.Thread(target=self._serve, args=(connection,)))
            workers[-1].start()
        for worker in workers:
            worker.join()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
                self._open.append(connection)
        except OSError:
            connection.close()
            return
        with connection:
            try:
                while request := _read(connection, whole=self._reads_bodies):
                    self.requests.append(request)
                    answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                    if isinstance(answer, bytes):
                        connection.sendall(answer)
                    elif len(signature(answer).parameters) == 2:
                        answer(connection, request)
                    else:
                        answer(connection)
                        return
            except OSError:
                return


def _read(connection: socket.socket, *, whole: bool) -> Request | None:
    raw = b""
    while b"\r\n\r\n" not in raw:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        raw += chunk
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = [line.lower() for line in head.split(b"\r\n")]
    length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
    length = length if whole else 0
    while len(body) < length:
        chunk = connection.recv(1 << 20)
        if not chunk:
            return None
        body += chunk
    return Request(head + b"\r\n\r\n" + body)
