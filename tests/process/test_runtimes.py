"""Functions in the real runtimes: functions-framework, awslambdaric, Azure's middleware, and the WSGI servers.

Every runtime gets the same: JSON, base64, a form, multipart, a picture as the whole body, the query, a chunked body, an
`async def`, an exception. What a runtime brings besides (a storage event, a CloudEvent) has a test of its own.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.process.test_platforms import ask, free_port, running
from tests.support import events
from tests.support.events import Sent, multipart

pytestmark = pytest.mark.slow

FUNCTION = """
import asyncio
import time

import cloudfn as cloud

def shown(value):
    return [len(value["value"]), value["contentType"]] if isinstance(value, dict) and "value" in value else value

@cloud.function
async def app(event, context):
    await asyncio.sleep(0)
    if event.get("fail"):
        raise ZeroDivisionError("s3cret")
    if event.get("seconds"):
        time.sleep(float(event["seconds"]))
        return b"x" * int(event["bytes"])
    request = context.request
    if context.objects:
        return [[stored.bucket, stored.key] for stored in context.objects]
    return {
        "event": {name: shown(value) for name, value in event.items()},
        "method": request.method if request else None,
        "all": request.query.getlist("a") if request else None,
        "id": context.request_id,
    }

main = app
"""
FAILED = {"errCode": -504002, "errMsg": "functions execute fail: ZeroDivisionError"}
PICTURE = bytes(range(256)) * 800  # 200 KiB, and no text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "index.py").write_text(FUNCTION)
    (tmp_path / "main.py").write_text(FUNCTION)
    return tmp_path


def chunked(url: str, body: bytes, content_type: str) -> Any:
    """Send a body in chunks, without Content-Length."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=20)
    try:
        pieces = iter([body[:7], body[7:70_000], body[70_000:]])
        headers = {"Content-Type": content_type}
        connection.request("POST", "/?a=1", body=pieces, headers=headers, encode_chunked=True)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def check(url: str, *, with_chunks: bool = True) -> None:
    """Send everything that a function may get over HTTP."""
    told = ask(f"{url}/p?a=1&a=2", Sent(b'{"b": "\xe5\x9b\xbe"}', "application/json")).json
    assert (told["event"], told["method"], told["all"]) == ({"a": "2", "b": "图"}, "POST", ["1", "2"])
    value = {"contentType": "image/png", "value": base64.b64encode(PICTURE).decode()}
    told = ask(url, Sent(json.dumps({"img": value}).encode(), "application/json")).json
    assert told["event"] == {"img": [len(value["value"]), "image/png"]}
    assert ask(url, Sent(b"a=1%202&b=", "application/x-www-form-urlencoded")).json["event"] == {"a": "1 2", "b": ""}
    told = ask(url, Sent(*multipart(PICTURE, ratios="16:9"))).json
    assert told["event"] == {"img": [len(PICTURE), "image/jpeg"], "ratios": "16:9"}
    assert ask(url, Sent(PICTURE, "image/png")).json["event"] == {"img": [len(PICTURE), "image/png"]}
    assert ask(f"{url}/?a=%E5%9B%BE", Sent(method="GET")).json["event"] == {"a": "图"}
    failed = ask(url, Sent(b'{"fail": true}', "application/json"))
    assert (failed.status, failed.json) == (500, FAILED)
    structured = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": events.sample("aws-s3")}
    body = Sent(json.dumps(structured).encode(), "application/cloudevents+json")
    assert ask(url, body).json == [["BUCKET_NAME", "inbound/sample-java-s3.png"]]
    assert ask(url, Sent(method="OPTIONS")).status == 204
    if with_chunks:
        assert chunked(url, PICTURE, "image/png") == (
            200,
            {"event": {"a": "1", "img": [len(PICTURE), "image/png"]}, "method": "POST", "all": ["1"], "id": ""},
        )


def module(*command: str) -> list[str]:
    return [sys.executable, "-m", *command]


SERVERS = {
    "gunicorn": lambda port: module("gunicorn", "--bind", f"127.0.0.1:{port}", "--threads", "2", "index:app"),
    "waitress": lambda port: module("waitress", f"--listen=127.0.0.1:{port}", "index:app"),
    "granian": lambda port: module(
        "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "index:app"
    ),
    "uvicorn": lambda port: module("uvicorn", "--host", "127.0.0.1", "--port", str(port), "asgi:app"),
    "uwsgi": lambda port: [
        *(uwsgi(), "--http", f"127.0.0.1:{port}", "--http-chunked-input", "--module", "index:app", "--need-app"),
        *("--master", "--die-on-term", "--home", sys.prefix),
    ],
}


def uwsgi() -> str:
    return shutil.which("uwsgi") or str(Path(sys.executable).with_name("uwsgi"))


@pytest.mark.parametrize("server", SERVERS)
def test_a_wsgi_server(server: str, folder: Path) -> None:
    if server == "uwsgi" and not Path(uwsgi()).exists():
        pytest.skip("uWSGI is not installed; it is built by a C compiler: pip install uwsgi")
    (folder / "asgi.py").write_text("import a2wsgi, index\napp = a2wsgi.WSGIMiddleware(index.app)\n")
    port = free_port()
    with running(SERVERS[server](port), port, folder, PYTHONPATH=str(folder)) as url:
        check(url)


def test_a_server_that_does_not_tell_a_bodys_end(folder: Path) -> None:
    program = (
        "from wsgiref.simple_server import make_server; import index, sys; "
        "make_server('127.0.0.1', int(sys.argv[1]), index.app).serve_forever()"
    )
    port = free_port()
    with running([sys.executable, "-c", program, str(port)], port, folder) as url:
        status, answer = chunked(url, PICTURE, "image/png")
    assert (status, answer["errCode"]) == (400, -401002)
    assert "does not tell where it ends" in answer["errMsg"]


def test_functions_framework(folder: Path) -> None:
    port = free_port()
    command = module("functions_framework", "--target", "main", "--host", "127.0.0.1", "--port", str(port))
    with running(command, port, folder) as url:
        check(url, with_chunks=False)


def test_functions_framework_with_cloud_events(folder: Path) -> None:
    port = free_port()
    command = module("functions_framework", "--target", "main", "--host", "127.0.0.1", "--port", str(port))
    with running([*command, "--signature-type", "cloudevent"], port, folder) as url:
        about = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "s", "ce-type": "t"}
        stored = json.dumps({"bucket": "shop", "name": "a.jpg", "size": "1"}).encode()
        assert ask(url, Sent(stored, "application/json", headers=about)).status == 200
        structured = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "fail": "yes", "data": {}}
        failed = ask(url, Sent(json.dumps(structured).encode(), "application/cloudevents+json"))
        assert failed.status == 500  # so that Eventarc sends it again


def test_azure_functions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from azure import functions
    from azure.functions import HttpRequest

    middleware: Any = functions.WsgiMiddleware  # it has no types

    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "index", raising=False)
    import index  # type: ignore[import-not-found]

    url, headers = "https://app.example/api/crop?a=1&a=2", {"Content-Type": "application/json"}
    picture = HttpRequest("POST", url, headers={"Content-Type": "image/png"}, body=PICTURE)
    for handle in (index.app, middleware(index.app).handle):
        answer = handle(HttpRequest("POST", url, headers=headers, body='{"b": "图"}'.encode()))
        told = json.loads(answer.get_body())
        assert (answer.status_code, told["event"], told["all"]) == (200, {"a": "2", "b": "图"}, ["1", "2"])
        assert json.loads(handle(picture).get_body())["event"]["img"] == [len(PICTURE), "image/png"]
    failing = HttpRequest("POST", url, headers=headers, body=b'{"fail": 1}')
    failed = index.app(failing)
    assert (failed.status_code, json.loads(failed.get_body())) == (500, FAILED)
    with pytest.raises(Exception, match="-504002"):  # the middleware makes an exception of every 500
        middleware(index.app).handle(failing)


# ---- AWS Lambda's own runtime, with a Runtime API on this machine


class RuntimeApi(http.server.ThreadingHTTPServer):
    """Lambda's Runtime API (docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html) for a few invocations."""

    daemon_threads = True

    def __init__(self, invocations: list[Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Invocations)
        self.waiting = list(enumerate(invocations))
        self.answers: dict[str, tuple[str, Any]] = {}
        self.done = threading.Event()


class _Invocations(http.server.BaseHTTPRequestHandler):
    server: RuntimeApi

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        if not self.server.waiting:
            self.server.done.set()
            time.sleep(30)
            return
        number, event = self.server.waiting.pop(0)
        body = json.dumps(event).encode()
        self.send_response(200)
        for name, value in {
            "Lambda-Runtime-Aws-Request-Id": f"request-{number}",
            "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 20_000),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:000000000000:function:f",
            "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=0;Sampled=0",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        *_, request, kind = self.path.split("/")
        self.server.answers[request] = (kind, json.loads(body))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_lambdas_runtime(folder: Path) -> None:
    pytest.importorskip("awslambdaric", reason="awslambdaric runs on Linux only")
    stored = events.sample("aws-s3")
    invocations = [
        {"b": 1},
        {"fail": True},
        stored,
        stored | {"fail": True},
        events.http_v2(Sent(b'{"b": 1}', "application/json", {"a": "1"})),
        events.rest_v1(Sent(*multipart(PICTURE))),
        events.alb(Sent(b'{"fail": 1}', "application/json")),
    ]
    with RuntimeApi(invocations) as api:
        threading.Thread(target=api.serve_forever, daemon=True).start()
        port = api.server_address[1]
        environment = {
            "PATH": os.environ["PATH"],
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
            "LAMBDA_TASK_ROOT": str(folder),
            "AWS_LAMBDA_FUNCTION_NAME": "f",
        }
        process = subprocess.Popen(module("awslambdaric", "index.app"), cwd=folder, env=environment)
        try:
            assert api.done.wait(60)
        finally:
            process.kill()
            process.wait()
            api.shutdown()
    answers = [api.answers[f"request-{number}"] for number in range(len(invocations))]
    assert answers[0] == ("response", {"event": {"b": 1}, "method": None, "all": None, "id": "request-0"})
    assert answers[1] == ("response", FAILED)
    assert answers[2] == ("response", [["BUCKET_NAME", "inbound/sample-java-s3.png"]])
    assert (answers[3][0], answers[3][1]["errorType"]) == ("error", "CloudError")  # Lambda repeats it
    assert events.seen(answers[4][1]).json["event"] == {"a": "1", "b": 1}
    assert events.seen(answers[5][1]).json["event"]["img"] == [len(PICTURE), "image/jpeg"]
    assert events.seen(answers[6][1]).status == 500


# ---- the container


class Container(NamedTuple):
    """The server of CloudRun's bundle, in a process of its own."""

    process: subprocess.Popen[bytes]
    pid: int
    port: int


@pytest.fixture(params=["a process", "process 1"])
def container(request: pytest.FixtureRequest, folder: Path) -> Iterator[Container]:
    """The server, also as a container has it: as process 1, for which the kernel has no default of SIGTERM."""
    port = free_port()
    program = f"from cloudfn import container; import index; container.serve(index.app, host='127.0.0.1', port={port})"
    alone = unshare() if request.param == "process 1" else []
    process = subprocess.Popen([*alone, sys.executable, "-c", program], cwd=folder)
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    yield Container(process, int(children.read_text()) if alone else process.pid, port)
    process.kill()
    process.wait()


def unshare() -> list[str]:
    """Return the command that runs another as process 1 of its own namespace, and ends with that one's exit code."""
    for privilege in ([], ["--user", "--map-root-user"]):
        command = ["unshare", *privilege, "--fork", "--pid", "--kill-child"]
        with contextlib.suppress(FileNotFoundError):
            if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
                return command
    pytest.skip("unshare is not installed, or may not make a namespace of processes")


def test_the_containers_server(container: Container) -> None:
    check(f"http://127.0.0.1:{container.port}")


def test_the_container_answers_what_it_accepted_and_ends(container: Container) -> None:
    process, pid, port = container
    connections = []
    for seconds, size in ((0.8, 10), (0.4, 30_000_000), *[(0.3, 10)] * 20):  # more than there are threads
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        body = json.dumps({"seconds": seconds, "bytes": size})
        connection.request("POST", "/", body, {"Content-Type": "application/json"})
        connections.append((connection, size))
    idle = socket.create_connection(("127.0.0.1", port))
    os.kill(pid, signal.SIGTERM)
    for connection, size in connections:
        reply = connection.getresponse()
        assert (reply.status, len(reply.read())) == (200, size)
        connection.close()
    idle.close()
    assert process.wait(10) == 0
    with pytest.raises(OSError):  # noqa: PT011 - refused, or reset
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_the_container_ends_at_once_without_work(container: Container) -> None:
    process, pid, port = container
    with socket.create_connection(("127.0.0.1", port)) as idle:
        idle.sendall(b"")
        os.kill(pid, signal.SIGTERM)
        assert process.wait(5) == 0
