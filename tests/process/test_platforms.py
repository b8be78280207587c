"""The platforms that can be run here, run for real; the AWS forms against mangum and apig-wsgi."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.validate import validator

import pytest

from cloudfn import handler, platforms
from cloudfn.platforms.base import HttpForm, Reply
from tests.support import events
from tests.support.events import FORMS, Seen, Sent, multipart

SIZE = {"w": 451, "h": 300}


def ask(url: str, sent: Sent) -> Seen:
    """Send a request over a real connection."""
    headers = {"Content-Type": sent.content_type, **sent.headers} if sent.body else dict(sent.headers)
    request = urllib.request.Request(url, sent.body or None, headers, method=sent.method)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return Seen(reply.status, reply.headers["Content-Type"], reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return Seen(error.code, error.headers["Content-Type"], error.read())


def check_everything(url: str, picture: bytes) -> None:
    """JSON, multipart, a picture as the whole body, a failure, a probe: over HTTP."""
    value = base64.b64encode(picture).decode()
    body = json.dumps({"img": {"contentType": "image/jpeg", "value": value}, "ratios": [1]}).encode()
    for sent, count in (
        (Sent(body, "application/json"), 1),
        (Sent(*multipart(picture, ratios="1,2.35")), 2),
    ):
        answer = ask(url, sent)
        assert (answer.status, answer.json["imgSize"], len(answer.json["results"])) == (200, SIZE, count)
    raw = ask(f"{url}/?ratios=1,2.35,16:9", Sent(picture, "image/jpeg"))
    assert (raw.status, len(raw.json["results"])) == (200, 3)
    wrong = ask(url, Sent(b'{"imgUrl": "x"}', "application/json"))
    assert (wrong.status, wrong.json["errCode"], wrong.content_type) == (
        400,
        -401002,
        "application/json; charset=utf-8",
    )
    assert ask(url, Sent(method="GET")) == (200, "application/json; charset=utf-8", b'{"errCode": 0, "errMsg": "ok"}')


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None: ...


def test_a_wsgi_server(permitted: Path, photo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDFN_BACKEND", "local")
    with make_server("127.0.0.1", 0, validator(handler.app), handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            check_everything(f"http://127.0.0.1:{server.server_port}", photo("chelsea.jpg").read_bytes())
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def running(command: list[str], port: int, folder: Path, **environment: str) -> Iterator[str]:
    """A server in a process of its own, until the block ends."""
    log = (folder / "log.txt").open("wb")
    process = subprocess.Popen(
        command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, env={"PATH": os.environ["PATH"], **environment}
    )
    try:
        for _ in range(200):
            assert process.poll() is None, (folder / "log.txt").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_functions_framework(permitted: Path, photo: Any) -> None:
    (permitted / "main.py").write_text("from cloudfn.handler import main\n")
    port = free_port()
    command = [sys.executable, "-m", "functions_framework", "--target", "main", "--host", "127.0.0.1"]
    with running([*command, "--port", str(port)], port, permitted, CLOUDFN_BACKEND="local") as url:
        check_everything(url, photo("chelsea.jpg").read_bytes())


def test_functions_framework_with_a_function_of_ones_own(permitted: Path, photo: Any) -> None:
    (permitted / "main.py").write_text(
        "import cloudfn as cloud\n\n"
        "@cloud.function\n"
        "def picture(event, context):\n"
        "    return event['img']['value'] if context.request.method == 'POST' else 1 / 0\n"
    )
    port = free_port()
    command = [sys.executable, "-m", "functions_framework", "--target", "picture", "--host", "127.0.0.1"]
    with running([*command, "--port", str(port)], port, permitted) as url:
        data = photo("chelsea.jpg").read_bytes()
        assert ask(url, Sent(*multipart(data))) == (200, "image/jpeg", data)
        assert ask(url, Sent(method="GET")).status == 500


# ---- oracles

REQUESTS = {
    "json": Sent('{"a": "图"}'.encode(), "application/json", {"ratios": "1,2.35", "u": "a b&c=图"}),
    "multipart": Sent(*multipart(bytes(range(256)), ratios="1")),
    "picture": Sent(bytes(range(256)), "image/png", {"ratios": "1"}),
    "get": Sent(query={"imgUrl": "https://example.com/a.jpg?x=1&y=2"}, method="GET"),
}


def _http(event: Any, context: Any = None) -> HttpForm:
    form = platforms.recognise(event, context)
    assert isinstance(form, HttpForm)
    return form


AWS = ("rest_v1", "http_v2", "function_url", "alb", "alb_multi")


@pytest.mark.parametrize("sent", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("form", AWS)
def test_apig_wsgi_reads_the_same(form: str, sent: Sent) -> None:
    from apig_wsgi import make_lambda_handler

    read: list[Any] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        read.append(_http(environ, start_response).read())
        start_response("200 OK", [("Content-Type", "image/png")])
        return [sent.body]

    event = FORMS[form](sent)
    reply = make_lambda_handler(app, binary_support=True)(event, None)
    ours = _http(event)
    request = ours.read()
    theirs = read[0]
    assert (request.method, request.path, dict(request.query), request.body, request.content_type) == (
        theirs.method,
        theirs.path,
        dict(theirs.query),
        theirs.body,
        theirs.content_type,
    )
    assert request.body == sent.body
    written = ours.write(Reply(200, sent.body, (("content-type", "image/png"),)))
    # No body is no body, whatever the flag says of it.
    for key in ("statusCode", "body", *(["isBase64Encoded"] if sent.body else [])):
        assert written[key] == reply[key]
    if form.startswith("alb"):  # it alone wants them in the form it sent; REST v1 takes both
        assert ("headers" in written) == ("headers" in reply)


@pytest.mark.parametrize("sent", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("form", AWS)
def test_mangum_reads_and_writes_the_same(form: str, sent: Sent) -> None:
    from mangum import Mangum

    read: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        read.update(scope, body=(await receive())["body"])
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-type", b"image/png")]})
        await send({"type": "http.response.body", "body": sent.body})

    event = FORMS[form](sent)
    asyncio.set_event_loop(loop := asyncio.new_event_loop())  # Mangum looks for one that is set
    with contextlib.closing(loop):
        reply = Mangum(app, lifespan="off")(event, {})  # type: ignore[arg-type]
    asyncio.set_event_loop(None)
    ours = _http(event)
    request = ours.read()
    query = events.query(read["query_string"].decode())
    assert (request.method, request.path, dict(request.query), request.body) == (
        read["method"],
        read["path"],
        query,
        read["body"],
    )
    written = ours.write(Reply(413, sent.body, (("content-type", "image/png"),)))
    for key in ("statusCode", "isBase64Encoded", "body", "headers", "multiValueHeaders"):
        if reply.get(key):
            assert written.get(key) == reply[key]
