"""A process that is in use forks: gunicorn --preload, multiprocessing, some platforms."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.recording import OK, RecordingServer, Request, http

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
]

COMMON = """
import json, os, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # that this process has threads when it forks is the case in point
import cloudfn as cloud
base, photo = sys.argv[1:]

def forked(count, work):
    # The results of `work` in so many children, and in the parent meanwhile.
    ends = []
    for number in range(count):
        reads, writes = os.pipe()
        if os.fork() == 0:
            result = work(number)
            os.write(writes, json.dumps(result).encode())
            os._exit(0)
        os.close(writes)
        ends.append(reads)
    results = [work(count)]
    for end in ends:
        with open(end) as file:
            results.append(json.load(file))
    return results
"""

# Calls name themselves in the picture's address, and the server's answer repeats that name.
KEPT = """
instance = cloud.Cloud(backend="wechat", access_token="t", api_base=base)
def named(name):
    return instance.openapi.img.aiCrop(imgUrl=f"https://example.com/{name}")["results"][0]["cropLeft"] == name
assert named(1)
def work(number):
    return [named(1000 * number + call) for call in range(25)]
print(json.dumps([sum(right) for right in forked(8, work)]))
"""

TOKEN = """
instance = cloud.Cloud(backend="wechat", appid="wx1", appsecret="secret", api_base=base, timeout=20)
instance.warm_up()  # Python itself hangs in a child that was forked while another thread imported a module
def call():
    return instance.openapi.img.aiCrop(imgUrl="https://example.com/1")["errCode"]
threads = [threading.Thread(target=call) for _ in range(4)]
for thread in threads:
    thread.start()
time.sleep(0.3)  # one asks for the token, which takes a second, and the others wait for it
start = time.monotonic()
print(json.dumps(forked(4, lambda _: [call(), round(time.monotonic() - start, 1)])))
for thread in threads:
    thread.join()
"""

CROPPING = """
picture = open(photo, "rb").read()
instance = cloud.Cloud(backend="local")
instance.warm_up()  # as above: what is imported before the fork is not imported during it
def call():
    return instance.openapi.img.aiCrop(img=picture, ratios="1,2.35")["errCode"]
over = threading.Event()
def cropping():
    while not over.is_set():
        call()
threads = [threading.Thread(target=cropping) for _ in range(4)]
for thread in threads:
    thread.start()
time.sleep(0.5)
print(json.dumps(sum((forked(4, lambda _: call()) for _ in range(5)), [])))
over.set()
for thread in threads:
    thread.join()
"""


def run(script: str, base: str, folder: Path, photo: Path) -> Any:
    command = [sys.executable, "-c", COMMON + script, base, str(photo)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_kept_connections_over_http(permitted: Path, photo: Any, server: RecordingServer) -> None:
    """No child gets the answer to another one's call."""

    def echo(connection: socket.socket, request: Request) -> None:
        name = int(urlsplit(dict(request.query)["img_url"]).path[1:])
        time.sleep(0.002)
        connection.sendall(http({**OK, "results": [{**OK["results"][0], "crop_left": name}]}))  # type: ignore[index]

    server.answers = [echo]
    assert run(KEPT, server.url, permitted, photo("chelsea.jpg")) == [25] * 9


def test_while_a_token_is_fetched(permitted: Path, photo: Any, server: RecordingServer) -> None:
    def slow(connection: socket.socket, request: Request) -> None:
        if request.path == "/cgi-bin/stable_token":
            time.sleep(1)
            connection.sendall(http({"access_token": "token", "expires_in": 7200}))
        else:
            assert parse_qs(urlsplit(request.target).query)["access_token"] == ["token"]
            connection.sendall(http(OK))

    server.answers = [slow]
    answers = run(TOKEN, server.url, permitted, photo("chelsea.jpg"))
    assert [code for code, _ in answers] == [0] * 5
    assert all(seconds < 10 for _, seconds in answers)  # they asked themselves, and did not wait out their 20 seconds


def test_while_threads_crop(permitted: Path, photo: Any) -> None:
    assert run(CROPPING, "", permitted, photo("chelsea.jpg")) == [0] * 25


LOADING = """
from cloudfn import forks
inside, order = threading.Event(), []
def load():
    with forks.held_off():
        inside.set()
        time.sleep(0.3)
        order.append("loaded")
thread = threading.Thread(target=load)
thread.start()
inside.wait()
print(json.dumps(forked(2, lambda _: order[:1])))
thread.join()
"""


def test_while_modules_are_loaded(permitted: Path, photo: Any) -> None:
    """A child would wait for ever for the lock of a module that another thread was loading: the fork waits instead."""
    assert run(LOADING, "", permitted, photo("chelsea.jpg")) == [["loaded"]] * 3
