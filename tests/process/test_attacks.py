"""`cloudfn serve` under attack and in need: silent connections, hanging URLs, no disk, killed processes, Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from cloudfn.server.connections import Connections
from cloudfn.server.master import pause
from tests.process.test_server import CROP, Process
from tests.support.recording import RecordingServer

pytestmark = pytest.mark.slow

SILENT: dict[str, bytes] = {
    "nothing": b"",
    "half a head": b"POST / HTTP/1.1\r\nHos",
    "an answered request": b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    with contextlib.ExitStack() as stack:

        def start(*flags: str) -> Process:
            process = Process(tmp_path, *flags)
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def descriptors() -> Iterator[None]:
    """As many descriptors as a test with thousands of connections needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """The condition's first true value; fails when there is none in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            value = condition()
            if value:
                return value
        time.sleep(0.05)
    raise AssertionError("it did not come true in time")


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def healthy(process: Process) -> bool:
    return bool(requests.get(f"{process.url}/healthz", timeout=3).json() == {"status": "ok"})


def workers(process: Process) -> list[int]:
    command = ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="]
    rows = [row.split(None, 2) for row in subprocess.check_output(command, text=True).splitlines()]
    return [int(row[0]) for row in rows if int(row[1]) == process.pid and "spawn_main" in row[2]]


# Connections that send nothing.


@pytest.mark.parametrize("sent", SILENT.values(), ids=SILENT)
def test_1200_silent_connections_stop_nobody_and_are_closed(sent: bytes, serve: Any, descriptors: None) -> None:
    process = serve("--workers", "1")
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(process.connect()) for _ in range(1200)]
        for connection in silent:
            connection.sendall(sent)
        assert healthy(process)
        assert process.crop()["errcode"] == 0
        until(lambda: all(map(is_closed, silent)))
        assert healthy(process)


def test_an_address_has_a_share_of_the_connections(serve: Any, descriptors: None) -> None:
    process = serve("--workers", "1", "--per-address", "50")
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(process.connect()) for _ in range(300)]
        # The newest 50 stay until their time is over, long after the others.
        until(lambda: sum(map(is_closed, silent)) >= 250)
        assert sum(map(is_closed, silent)) == 250
        assert all(map(is_closed, silent[:250]))
        assert process.crop()["errcode"] == 0


@pytest.mark.parametrize("path", ["/", "/cgi-bin/token", "/nowhere"])
def test_requests_that_are_sent_without_waiting_take_no_share_for_good(path: str, serve: Any) -> None:
    process = serve("--workers", "1", "--per-address", "10")
    for _ in range(5):
        with process.connect() as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 10)
            answers = b""
            while answers.count(b"\r\nserver: granian\r\n") < 10 and (piece := connection.recv(65536)):
                answers += piece
    assert process.crop()["errcode"] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a client has not taken")
def test_a_client_that_takes_no_answer_is_cut_off(serve: Any, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "large.bin").write_bytes(os.urandom(20_000_000))
    process = serve("--workers", "1", "--storage", "files", "--body-seconds", "3")
    asked = {"env": "e", "file_list": [{"fileid": "cloud://e.e/large.bin"}]}
    told = requests.post(f"{process.url}/tcb/batchdownloadfile?access_token=t", json=asked, timeout=10).json()
    link = told["file_list"][0]["download_url"]
    request = f"GET {link.removeprefix(process.url)} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    with process.connect() as deaf, process.connect() as slow:
        deaf.sendall(request)
        slow.sendall(request)
        taken = 0
        while piece := slow.recv(64 * 1024):  # for some ten seconds, in which the other one is cut off
            taken += len(piece)
            time.sleep(0.03)
            if taken > 20_000_000:
                break
        assert taken > 20_000_000
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := deaf.recv(1_000_000):
                received += len(piece)
        assert received < 20_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_look_at_the_connections_opens_no_descriptor_for_good() -> None:
    """Files and pipes, which are no connections, are looked at too."""
    reading, writing = os.pipe()
    before = set(Path("/proc/self/fd").iterdir())
    for _ in range(3):
        Connections(1, 8192, 256).thin_out()
    after = set(Path("/proc/self/fd").iterdir())
    os.close(reading)
    os.close(writing)
    assert len(after) == len(before)


def test_hanging_urls_take_no_thread_and_no_place_of_others(
    serve: Any, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def hang(_connection: socket.socket) -> None:
        over.wait(60)

    server.answers = [hang]
    monkeypatch.setenv("CLOUDFN_ALLOW_HOSTS", "127.0.0.1")
    monkeypatch.setenv("CLOUDFN_TIMEOUT", "100")
    process = serve("--workers", "1")
    ask = (
        f"POST {CROP}&img_url={quote(server.url + '/a.jpg', safe='')} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    )
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(140):
                stack.enter_context(process.connect()).sendall(ask.encode())
            until(lambda: server.connections >= 60)
            for _ in range(5):
                assert process.crop()["errcode"] == 0
            assert healthy(process)
            assert "cloudfn_calls_total" in requests.get(f"{process.url}/metrics", timeout=10).text
    finally:
        over.set()


# What is not there: a disk with room, a temporary folder, a worker, the master.


@pytest.mark.parametrize("room", [0, 4096], ids=["no temporary folder", "a full disk"])
def test_without_a_disk_it_serves_without_metrics_and_says_so(room: int, tmp_path: Path) -> None:
    command = [sys.executable, "-B", "-m", "cloudfn", "serve", "--port", "0", "--workers", "2"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # No file grows beyond the room: the same error for a writer as a disk without any.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    ) as process:
        assert process.stdout
        try:
            url = process.stdout.readline().strip()
            answers = [requests.post(url + CROP, timeout=10).json()["errcode"] for _ in range(10)]
            metrics = requests.get(f"{url}/metrics", timeout=10)
            process.terminate()
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert answers == [41005] * 10
    assert (metrics.status_code, "no metrics" in metrics.text) == (503, True)
    assert "there are no metrics" in said
    assert process.returncode == 0


def test_a_worker_that_dies_again_and_again_is_started_again(serve: Any) -> None:
    process = serve("--workers", "1")
    for _ in range(3):
        (worker,) = until(lambda: workers(process))
        os.kill(worker, signal.SIGKILL)
        until(lambda worker=worker: workers(process) not in ([], [worker]) and healthy(process))  # type: ignore[misc]
    assert process.crop()["errcode"] == 0
    assert process.stop() == 0


def test_the_pauses_before_a_worker_is_started_again() -> None:
    assert [pause(deaths) for deaths in range(8)] == [0, 0, 1, 2, 4, 8, 16, 30]
    assert pause(10_000) == 30


def test_the_queue_is_right_after_a_kill(serve: Any) -> None:
    process = serve("--workers", "2", "--latency", "60s")

    def waiting() -> float:
        text = requests.get(f"{process.url}/metrics", timeout=3).text
        match = re.search(r"^cloudfn_queue ([0-9.]+)$", text, re.MULTILINE)
        return float(match[1]) if match else -1.0

    ask = f"POST {CROP} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(process.connect()).sendall(ask)
        until(lambda: waiting() == 20)
        killed = workers(process)
        for worker in killed:
            os.kill(worker, signal.SIGKILL)
        until(lambda: len(workers(process)) == 2 and not set(workers(process)) & set(killed) and waiting() == 0)


def test_workers_end_with_a_killed_master(serve: Any) -> None:
    process = serve("--workers", "2")
    orphans = workers(process)
    assert len(orphans) == 2
    assert process.stop(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: not any(_runs(worker) for worker in orphans))


def _runs(process: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True).stdout.strip()
    return state != "" and not state.startswith("Z")


def test_ctrl_c_ends_quietly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cloudfn", "serve", "--port", "0", "--workers", "2", "--config", "config.json"]
    (tmp_path / "config.json").write_text("{}")
    for _ in range(6):
        with subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            assert process.stdout
            process.stdout.readline()
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process
            _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, "")
