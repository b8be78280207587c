"""No more threads, descriptors, room on the disk or memory: a result or a CloudError, no traceback, no hang."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TESTS
from tests.support.recording import OK, RecordingServer, Request, http

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the limits are set as Linux has them"),
]

PHOTOS = TESTS / "photos"
SECONDS = 60  # after which a child hangs

# What takes a resource away from the process that runs it, all but a little, which stands in `spare`.
LIMITS = {
    # The kernel's limit of threads does not hold for root.
    "threads": """
import threading
def start(thread):
    raise RuntimeError("can't start new thread")
threading.Thread.start = start
""",
    "descriptors": """
import os, resource
most = max(int(name) for name in os.listdir("/proc/self/fd")) + spare  # the listing's own is free again
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
""",
    "disk": """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
""",
    "memory": """
import resource
with open("/proc/self/statm") as file:
    most = int(file.read().split()[0]) * resource.getpagesize() + spare * 1024 * 1024
resource.setrlimit(resource.RLIMIT_AS, (most, most))
""",
}
# A limit and what is left: descriptors, or MiB of address space.
CASES = [("threads", 0), *(("descriptors", spare) for spare in (0, 1, 2)), ("disk", 0)]
MEMORY = [("memory", spare) for spare in (1, 4, 16, 32)]

CALLS = """
import asyncio, json, sys
import cloudfn as cloud
from cloudfn import CloudError  # a name of the package is loaded when it is first used
limit, spare, moment, backend, base, photo = sys.argv[1:]
spare = int(spare)
with open(photo, "rb") as file:
    picture = file.read()
instance = cloud.Cloud(backend=backend, **json.loads(base))
def told(call):
    try:
        return call()
    except CloudError as error:
        return error.to_dict()
def call():
    return instance.openapi.img.aiCrop(img=picture, ratios="1,2.35")
def cut():
    whole = {"cropLeft": 0, "cropTop": 0, "cropRight": 99, "cropBottom": 99}
    return {"errCode": 0, "sizes": [len(piece) for piece in instance.cut(picture, {"results": [whole]})]}
def awaited():
    async def wait():
        return await instance.aio.openapi.img.aiCrop(img=picture)
    return loop.run_until_complete(wait())
loop = asyncio.new_event_loop()
if moment == "later":
    call()
exec(limit)
# Where memory is short, Python's own start of a thread may wait for ever: the thread dies before it says that it runs.
calls = [call, cut, call] if "RLIMIT_AS" in limit else [call, cut, call, awaited]
print(json.dumps(list(map(told, calls))))
loop.close()
"""

COMMAND = """
import sys
from cloudfn.cli import main
limit, spare, *arguments = sys.argv[1:]
spare = int(spare)
exec(limit)
sys.exit(main(arguments))
"""


def run(script: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)


def answer(connection: socket.socket, request: Request) -> None:
    token = {"access_token": "token", "expires_in": 7200}
    connection.sendall(http(token if request.path == "/cgi-bin/stable_token" else OK))


@pytest.mark.parametrize("moment", ["first", "later"])
@pytest.mark.parametrize("backend", ["wechat", "local"])
@pytest.mark.parametrize(("limit", "spare"), [*CASES, *MEMORY])
def test_calls(limit: str, spare: int, backend: str, moment: str, permitted: Path, server: RecordingServer) -> None:
    """The first call of a process, which loads what it needs, or a later one."""
    server.answers = [answer]
    given: dict[str, Any] = {}
    if backend == "wechat":
        given = {"appid": "wx1", "appsecret": "secret", "store": f"file://{permitted}/store", "timeout": 20}
        given["api_base"] = server.url.replace("127.0.0.1", "localhost")  # a name, whose look-up takes a thread
    photo = str(PHOTOS / "chelsea.jpg")
    done = run(CALLS, LIMITS[limit], str(spare), moment, backend, json.dumps(given), photo, folder=permitted)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    for result in results:
        assert result["errCode"] == 0 or result["errMsg"]
        assert "\n" not in result.get("errMsg", "")
    if limit == "disk":  # which no call needs
        assert [result["errCode"] for result in results] == [0] * 4
    if limit == "threads" and moment == "later":  # and a call on a kept connection needs no thread
        assert [result["errCode"] for result in results] == [0, 0, 0, -504002]


@pytest.mark.parametrize("options", [(), ("--out", "cut"), ("--preview", "drawn.png")], ids=["boxes", "cut", "preview"])
@pytest.mark.parametrize(("limit", "spare"), [*CASES, *MEMORY])
def test_the_command_crop(limit: str, spare: int, options: tuple[str, ...], tmp_path: Path) -> None:
    photo = str(PHOTOS / "chelsea.jpg")
    done = run(COMMAND, LIMITS[limit], str(spare), "crop", photo, "--ratios", "1", *options, folder=tmp_path)
    if done.returncode == 0:
        assert ("451x300" in done.stdout, done.stderr) == (True, "")
    else:
        assert done.returncode in (1, 3)
        assert re.fullmatch(r"cloudfn: [^\n]+\n(  [^\n]+\n)?", done.stderr), done.stderr  # what, and the cure
        assert list(tmp_path.rglob("*.*")) == []  # nothing half written
    if limit == "threads" or (limit == "disk" and not options):
        assert done.returncode == 0
    if limit == "disk" and options:
        assert "cannot be written" in done.stderr


@pytest.mark.parametrize(("limit", "spare"), [*CASES, *(("memory", spare) for spare in (1, 8, 64, 128, 256))])
def test_the_start_of_the_server(limit: str, spare: int, tmp_path: Path) -> None:
    """It serves, or ends with what is wrong."""
    command = [sys.executable, "-c", COMMAND, LIMITS[limit], str(spare), "serve", "--port", "0", "--workers", "1"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        assert process.stdout
        try:
            readable, _, _ = select.select([process.stdout], [], [], SECONDS)
            assert readable, "it neither serves nor ends"
            if process.stdout.readline():
                process.terminate()
            _, said = process.communicate(timeout=SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert "Traceback" not in said
    if process.returncode:
        assert process.returncode in (1, 3)
        assert re.search(r"^cloudfn: [^\n]+$", said, re.MULTILINE)
        assert len(said.splitlines()) <= 3  # what the real SDK may call, what is wrong, and the cure
    assert (process.returncode == 0) == (limit == "disk"), said


def test_a_server_whose_workers_cannot_start_ends(tmp_path: Path) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("raise ImportError('its library is missing')")
    command = [sys.executable, "-m", "cloudfn", "serve", "--port", "0", "--workers", "1"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stdout) == (3, "")
    assert "Traceback" not in done.stderr
    assert "cloudfn: the crop engine cannot be loaded (its library is missing)" in done.stderr
    assert "cloudfn: a worker ended before the server could answer (exit code 1)" in done.stderr
