"""`cloudfn serve` as a process: workers, slow and rude clients, overload, a stop under load."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import TESTS

PHOTO = (TESTS / "photos" / "raccoon-966x728.jpg").read_bytes()
CROP = "/cv/img/aicrop?access_token=T"


class Process:
    """A running `cloudfn serve`; its log is read when it has stopped."""

    def __init__(self, folder: Path, *flags: str) -> None:
        command = [sys.executable, "-m", "cloudfn", "serve", "--port", "0", "--log-json", *flags]
        self._log = folder / "log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self._process.stdout
        self.url = self._process.stdout.readline().strip()
        self.line = self._process.stdout.readline().strip()
        assert self.url.startswith("http"), self._log.read_text()

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self._process.send_signal(how)
        code = self._process.wait(30)
        if self._process.stdout:
            self._process.stdout.close()
        return code

    def kill(self) -> None:
        if self._process.poll() is None:
            self.stop()

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]

    def connect(self) -> socket.socket:
        host, port = self.url.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=20)

    def crop(self, **options: Any) -> Any:
        files: Any = {"img": ("a.jpg", PHOTO, "image/jpeg"), "ratios": (None, "1")}
        return requests.post(self.url + CROP, files=files, timeout=30, **options).json()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(*flags: str) -> Process:
        started.append(Process(tmp_path, *flags))
        return started[-1]

    yield start
    for process in started:
        process.kill()


def unfinished(length: int) -> bytes:
    head = (
        f"POST {CROP} HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: {length}"
    )
    return head.encode() + b"\r\n\r\n--b\r\n"


@pytest.mark.parametrize(
    ("ask", "body"),
    [
        (f"GET {CROP}", b"require POST method"),
        ("GET /cgi-bin/token?grant_type=client_credential&appid=a&secret=b", b"access_token"),
        ("POST /cgi-bin/token?grant_type=client_credential&appid=a&secret=b", b"access_token"),
        ("POST /cv/ocr/idcard?access_token=T", b"-604100"),
        ("GET /metrics", b"cloudfn_calls_total"),
        ("GET /nowhere", b"404"),
        ("POST /nowhere", b"404"),
        ("PUT /page/none.js", b"HTTP/1.1 4"),
    ],
)
def test_a_body_that_is_not_needed_is_not_waited_for(ask: str, body: bytes, serve: Any) -> None:
    process = serve("--workers", "1", "--body-seconds", "600")  # the client's own 20 are over before
    with process.connect() as connection:
        connection.sendall(f"{ask} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n".encode())
        answer = b""
        while body not in answer:
            answer += connection.recv(65536) or pytest.fail(f"closed after {answer!r}")
        # What comes late is read and thrown away, and the next request on the same line is answered.
        connection.sendall(bytes(100000) + b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        while b'{"status": "ok"}' not in answer:
            answer += connection.recv(65536) or pytest.fail(f"closed after {answer!r}")


def test_it_prints_its_address_and_the_line_for_the_sdk(serve: Any) -> None:
    process = serve("--workers", "1")
    assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+", process.url)
    assert process.line == f'TCB_CONTEXT_CNFG=\'{{"URL":"{process.url}/admin"}}\''
    assert process.crop()["errcode"] == 0
    assert requests.get(f"{process.url}/_cloudfn/state", timeout=10).json()["requests"] == 1
    assert process.stop(signal.SIGINT) == 0
    (line,) = [line for line in process.log if line.get("endpoint")]
    assert (line["endpoint"], line["code"], line["picture"], line["ratios"]) == ("img.aiCrop", 0, len(PHOTO), "1")


def test_metrics_are_merged_over_workers(serve: Any) -> None:
    process = serve("--workers", "2")
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda _: process.crop(), range(40)))
    assert {answer["errcode"] for answer in answers} == {0}
    for _ in range(6):  # whichever worker answers
        text = requests.get(f"{process.url}/metrics", timeout=10).text
        assert 'cloudfn_calls_total{code="0",endpoint="img.aiCrop"} 40.0' in text
        assert re.search(r"^cloudfn_queue 0\.0$", text, re.MULTILINE)
        assert "cloudfn_picture_megapixels_count 40.0" in text
    state = requests.get(f"{process.url}/_cloudfn/state", timeout=10)
    assert (state.status_code, "--workers 1" in state.json()["error"]) == (409, True)


@pytest.mark.parametrize("flags", [["--strict"], ["--fault", "img.aiCrop:45009"], ["--quota", "5"]])
def test_what_keeps_state_needs_one_worker(flags: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cloudfn", "serve", "--port", "0", "--workers", "2", *flags]
    environment = {**os.environ, "WX_APPID": "a", "WX_APPSECRET": "b"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30)
    assert (done.returncode, "add --workers 1" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("flags", "code", "word"),
    [
        (["--strict", "--workers", "1"], 3, "WX_APPID"),
        (["--fault", "img.aicrop:1"], 2, "did you mean img.aiCrop"),
        (["--latency", "5"], 2, "200ms"),
        (["--port", "70000"], 2, "65535"),
        (["--config", "missing.json"], 2, "exists"),
    ],
)
def test_wrong_flags_say_what_is_right(flags: list[str], code: int, word: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cloudfn", "serve", *flags]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert (done.returncode, word in done.stderr) == (code, True)


def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        command = [sys.executable, "-m", "cloudfn", "serve", "--port", str(other.getsockname()[1])]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert (done.returncode, "choose another --port" in done.stderr) == (3, True)


def test_faults_and_latency_by_flags(serve: Any) -> None:
    process = serve("--workers", "1", "--fault", "img.aiCrop:45009@0.5", "--latency", "100ms", "--seed", "1")
    start = time.perf_counter()
    codes = [process.crop()["errcode"] for _ in range(12)]
    assert time.perf_counter() - start >= 1.2
    assert set(codes) == {0, 45009}


def test_slow_loris_stops_nobody(serve: Any) -> None:
    process = serve("--workers", "1", "--body-seconds", "2", "--queue", "4")
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(process.connect()) for _ in range(150)]
        for number, connection in enumerate(slow):
            # A third sends half a head, a third half a body, a third a body that drips.
            connection.sendall(b"POST / HTTP/1.1\r\nHos" if number % 3 == 0 else unfinished(1000))
        for _ in range(10):
            for connection in slow[2::3]:
                with contextlib.suppress(OSError):
                    connection.sendall(b"x")
            assert process.crop()["errcode"] == 0
        assert slow[1].recv(100).startswith(b"HTTP/1.1 408 ")
        assert slow[2].recv(100).startswith(b"HTTP/1.1 408 ")


def test_an_address_that_is_not_percent_encoded_is_read_as_utf_8(serve: Any) -> None:
    """As curl sends it for somebody who writes Chinese into the address."""
    process = serve("--workers", "1")
    with process.connect() as connection:
        query = f"{CROP}&img_url=https://example.com/中.jpg".encode()
        connection.sendall(b"POST " + query + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert b'"errcode": 101000' in connection.recv(1000)
    process.stop()
    told = [line["mistake"] for line in process.log if "mistake" in line]
    assert "https://example.com/\\u4e2d.jpg: " in told[0]
    assert "percent-encode" in told[0]


@pytest.mark.parametrize("size", [1, 5000])
def test_a_body_in_pieces_is_read_whole(size: int, serve: Any) -> None:
    process = serve("--workers", "1")
    img = b'Content-Disposition: form-data; name="img"; filename="a"\r\n\r\n'
    rest = img + PHOTO + b"\r\n--b--\r\n"
    with process.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(unfinished(len(b"--b\r\n" + rest)))
        for start in range(0, 20_000, size):
            connection.sendall(rest[start : start + size])
        connection.sendall(rest[20_000:])
        assert b'"errcode": 0' in connection.recv(10_000)
    requests.get(process.url, timeout=10)
    assert process.log[0]["picture"] == len(PHOTO)


def test_hang_ups_cost_nothing(serve: Any) -> None:
    process = serve("--workers", "1", "--latency", "1s")
    body = b'--b\r\nContent-Disposition: form-data; name="img"; filename="a"\r\n\r\n' + PHOTO + b"\r\n--b--\r\n"
    whole = unfinished(len(body)).removesuffix(b"--b\r\n") + body
    for _ in range(200):
        with process.connect() as connection:
            connection.sendall(whole)
    for _ in range(100):
        with process.connect() as connection:
            connection.sendall(whole[: len(whole) // 2])
    assert process.crop()["errcode"] in (0, -1)  # -1 while the queue is full of those that have just gone
    for _ in range(100):
        if requests.get(f"{process.url}/readyz", timeout=10).status_code == 200:
            break
        time.sleep(0.05)
    for _ in range(200):
        if "cloudfn_queue 0.0" in requests.get(f"{process.url}/metrics", timeout=10).text:
            break
        time.sleep(0.05)
    assert "cloudfn_queue 0.0" in requests.get(f"{process.url}/metrics", timeout=10).text
    assert process.crop()["errcode"] == 0
    assert process.stop() == 0
    # Of 200 calls that nobody waited for, those still in the queue were dropped: 64 threads had begun.
    done = sum(line.get("endpoint") == "img.aiCrop" and line.get("code") == 0 for line in process.log)
    assert done < 130


def test_beyond_the_queue_the_answer_is_busy_at_once(serve: Any) -> None:
    process = serve("--workers", "1", "--queue", "8", "--latency", "3s")

    def call(_: int) -> tuple[int, float]:
        start = time.perf_counter()
        return process.crop()["errcode"], time.perf_counter() - start

    with ThreadPoolExecutor(24) as clients:
        answers = list(clients.map(call, range(24)))
    served = [seconds for code, seconds in answers if code == 0]
    refused = [seconds for code, seconds in answers if code == -1]
    assert (len(served), len(refused)) == (8, 16)
    assert min(served) >= 3 > max(refused)


def test_a_body_over_the_limit_gets_its_answer(serve: Any) -> None:
    process = serve("--workers", "1")
    for _ in range(5):
        files = {"img": ("a.jpg", bytes(5_000_000), "image/jpeg")}
        assert requests.post(process.url + CROP, files=files, timeout=10).json()["errcode"] == 101002


def test_a_stop_under_load_loses_nothing_that_was_accepted(serve: Any) -> None:
    process = serve("--workers", "2")
    answered: list[str] = []
    broken: list[str] = []
    over = threading.Event()

    def client() -> None:
        while not over.is_set():
            try:
                assert process.crop()["errcode"] == 0
                answered.append("ok")
            except requests.exceptions.ConnectionError as error:
                broken.append(repr(error))
                return

    clients = [threading.Thread(target=client) for _ in range(16)]
    for thread in clients:
        thread.start()
    for _ in range(400):
        if len(answered) > 20:
            break
        time.sleep(0.05)
    assert process.stop() == 0
    over.set()
    for thread in clients:
        thread.join()
    # Every call that a worker took in stands in the log, and each of them was answered whole.
    taken = sum(line.get("endpoint") == "img.aiCrop" for line in process.log)
    assert len(answered) == taken > 20
    assert broken  # the load did not end before the stop
