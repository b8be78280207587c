"""Many processes, one account: tokens, results and quotas through a store that all of them see."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.recording import Request, http
from tests.support.redis import EXECUTABLE, RedisServer
from tests.wire.test_tokens import APPID, SECRET, ScriptedWeChat

PROCESSES, THREADS = 8, 16

# Makes the calls of one process and prints how they ended: errCode -> how often.
CALLS = """
import collections, json, sys, threading
from concurrent.futures import ThreadPoolExecutor
settings, threads, calls, url, hours = json.loads(sys.argv[1])
if hours:  # the clock of a machine that is wrong
    import time
    now = time.time
    time.time = lambda: now() + 3600 * hours
import cloudfn as cloud
instance = cloud.Cloud(settings)
def one(number):
    try:
        return instance.openapi.img.aiCrop(imgUrl=url.format(number=number), ratios="1")["errCode"]
    except cloud.CloudError as error:
        return error.errCode
print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(threads) as pool:
    print(json.dumps(collections.Counter(pool.map(one, range(calls)))))
"""


class StableWeChat(ScriptedWeChat):
    """As /cgi-bin/stable_token is documented: the same token as long as it is valid, whoever asks."""

    def _issue(self, request: Request) -> bytes:
        if self.valid.startswith("t0ken"):
            return http({"access_token": self.valid, "expires_in": self.life})
        return super()._issue(request)


@pytest.fixture
def wechat() -> Iterator[ScriptedWeChat]:
    with StableWeChat() as running:
        yield running


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    if EXECUTABLE is None:
        pytest.skip("redis-server is not installed")
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture(params=["file", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store that all processes see."""
    if request.param == "file":
        return f"file://{tmp_path}/store"
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url


class Worker:
    """A process that waits to be told to make its calls."""

    def __init__(
        self, folder: Path, settings: dict[str, Any], threads: int, calls: int, url: str, hours: float = 0
    ) -> None:
        arguments = json.dumps([settings, threads, calls, url, hours])
        self.process = subprocess.Popen(
            [sys.executable, "-c", CALLS, arguments],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"

    def start(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def outcomes(self) -> Counter[int]:
        out, _ = self.process.communicate(timeout=120)
        return Counter({int(code): count for code, count in json.loads(out).items()})


def run(
    folder: Path,
    settings: dict[str, Any],
    *,
    processes: int = PROCESSES,
    threads: int = THREADS,
    calls: int,
    url: str = "https://example.com/{number}.jpg",
) -> Counter[int]:
    """How all calls of all processes ended, started at the same time."""
    with ThreadPoolExecutor(processes) as pool:
        workers = list(pool.map(lambda _: Worker(folder, settings, threads, calls // processes, url), range(processes)))
        for worker in workers:
            worker.start()
        return sum(pool.map(Worker.outcomes, workers), Counter[int]())


def settings_for(wechat: ScriptedWeChat, **more: Any) -> dict[str, Any]:
    known = {"backend": "wechat", "appid": APPID, "appsecret": SECRET, "api_base": wechat.url, "timeout": 30}
    return known | more


def test_one_token_for_all_processes(wechat: ScriptedWeChat, store: str, permitted: Path) -> None:
    wechat.delay = 0.3
    outcomes = run(permitted, settings_for(wechat, store=store), calls=2000)
    assert outcomes == {0: 2000}
    assert len(wechat.asked("/cgi-bin/stable_token")) == 1


def test_machines_whose_clocks_are_hours_wrong(
    wechat: ScriptedWeChat, redis_server: RedisServer, permitted: Path
) -> None:
    """No call fails, and a machine that takes the shared token for an old one fetches it once, not for each call."""
    for hours in (-5, 0, 5, 0, -5, 5):  # one after the other: each reads what the one before left
        settings = settings_for(wechat, store=redis_server.url)
        worker = Worker(permitted, settings, 4, 20, "https://example.com/{number}.jpg", hours)
        worker.start()
        assert worker.outcomes() == {0: 20}
    assert len(wechat.asked("/cgi-bin/stable_token")) == 3  # the first one of each clock


def test_a_process_that_is_killed_while_it_fetches_the_token(
    wechat: ScriptedWeChat, store: str, permitted: Path
) -> None:
    asked = threading.Event()

    def never(connection: Any) -> None:
        asked.set()
        connection.recv(1)

    wechat.token_faults = [never]
    holder = Worker(permitted, settings_for(wechat, store=store), 1, 1, "https://example.com/a.jpg")
    holder.start()
    assert asked.wait(20)
    holder.process.kill()
    holder.process.communicate()
    # A lock's lease is longer than their time.
    outcomes = run(permitted, settings_for(wechat, store=store, timeout=8), processes=4, threads=4, calls=64)
    assert outcomes == {0: 64}
    assert len(wechat.asked("/cgi-bin/stable_token")) <= 1 + 4  # the killed one's, and at most one a process


def test_a_token_revoked_under_two_hundred_calls_in_flight(wechat: ScriptedWeChat, store: str, permitted: Path) -> None:
    def revoke() -> None:
        while len(wechat.asked("/cv/img/aicrop")) < 100:
            over.wait(0.005)
        wechat.revoke()

    over = threading.Event()
    revoking = threading.Thread(target=revoke)
    revoking.start()
    outcomes = run(permitted, settings_for(wechat, store=store), processes=4, threads=50, calls=800)
    revoking.join()
    assert outcomes == {0: 800}
    assert len(wechat.asked("/cgi-bin/stable_token")) == 2


def test_redis_is_killed_and_comes_back(wechat: ScriptedWeChat, redis_server: RedisServer, permitted: Path) -> None:
    over = threading.Event()

    def disturb() -> None:
        while not over.wait(0.3):
            redis_server.kill()
            over.wait(0.3)
            redis_server.start()

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    try:
        settings = settings_for(wechat, store=redis_server.url, cache=60, quota="1000000/day")
        outcomes = run(permitted, settings, processes=4, calls=2000)
    finally:
        over.set()
        disturbing.join()
    assert outcomes == {0: 2000}


def test_equal_calls_are_made_once(wechat: ScriptedWeChat, store: str, permitted: Path) -> None:
    """A realistic mix: every picture is asked for by everybody, again and again."""
    settings = settings_for(wechat, store=store, cache=3600)
    for _ in range(2):
        assert run(permitted, settings, processes=4, threads=4, calls=400)[0] == 400
    made = Counter(dict(request.query)["img_url"] for request in wechat.asked("/cv/img/aicrop"))
    assert len(made) == 100
    assert sum(made.values()) <= 100 * 4  # no call is made twice but at the same moment, by another process
    before = len(wechat.requests)
    assert run(permitted, settings, processes=4, threads=4, calls=400)[0] == 400
    assert len(wechat.requests) == before


def test_a_quota_is_held_over_all_processes(wechat: ScriptedWeChat, store: str, permitted: Path) -> None:
    outcomes = run(permitted, settings_for(wechat, store=store, quota="100/day"), calls=400)
    assert outcomes == {0: 100, 45009: 300}
    assert len(wechat.asked("/cv/img/aicrop")) == 100
