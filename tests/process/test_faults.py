"""Thousands of seeded calls against a WeChat that fails in every way: each ends in time, and none is made twice."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest

import cloudfn as cloud
from cloudfn import CloudError
from tests.support.recording import OK, RecordingServer, Request, http
from tests.support.redis import EXECUTABLE, RedisServer
from tests.support.secrecy import assert_no_secret

APPID, SECRET = "wx0123456789abcdef", "5ecret5ecret5ecret5ecret5ecret5e"
TIMEOUT = 1.0
MARGIN = 4.0  # of a machine that is busy with the test's own 16 threads
CALLS = 420  # of each of the twelve combinations: 5,040


class FaultyWeChat(RecordingServer):
    """Answers most requests, and fails the others as its seed says; counts the calls that it ran, by picture."""

    def __init__(self, seed: int) -> None:
        super().__init__(self.answer)
        self._random = Random(seed)
        self._guard = threading.Lock()
        self.ran: Counter[str] = Counter()

    def answer(self, connection: socket.socket, request: Request) -> None:
        with self._guard:
            kind = self._random.choices(
                ["ok", "busy", "quota", "refused", "html", "empty", "cut", "garbage", "hang up", "reset", "silence"],
                [70, 4, 4, 4, 3, 3, 3, 3, 3, 2, 1],
            )[0]
            url = dict(request.query).get("img_url", "")
            # What WeChat asks to repeat, or refuses for its token, it has not run.
            if url and kind not in ("busy", "refused"):
                self.ran[url] += 1
        body = OK if url else {"access_token": "t0ken-0123456789", "expires_in": 7200}
        if kind == "silence":
            connection.recv(1)
        elif kind == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            raise OSError("the connection is reset")
        elif kind == "hang up":
            raise OSError("the connection is closed")
        else:
            connection.sendall(
                {
                    "ok": http(body),
                    "busy": http({"errcode": -1, "errmsg": "system error"}),
                    "quota": http({"errcode": 45009, "errmsg": "reach max api daily quota limit"}),
                    "refused": http({"errcode": 40001, "errmsg": "invalid credential"}),
                    "html": http(b"<html>", status="502 Bad Gateway", content_type="text/html"),
                    "empty": http(b""),
                    "cut": http(body)[:-10],
                    "garbage": b"\x00\xff\r\n\r\n",
                }[kind]
            )
            if kind in ("cut", "garbage"):
                raise OSError("nothing more comes")


@pytest.fixture(params=["memory", "file", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "redis":
        if EXECUTABLE is None:
            pytest.skip("redis-server is not installed")
        with RedisServer(tmp_path) as server:
            yield server.url
    else:
        yield "memory" if request.param == "memory" else f"file://{tmp_path}/store"


@pytest.mark.parametrize("fallback", [False, True], ids=["no fallback", "fallback"])
@pytest.mark.parametrize("cache", [0, 60], ids=["no cache", "cache"])
def test_every_call_ends_in_time(
    cache: int, fallback: bool, store: str, permitted: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with FaultyWeChat(seed=17) as wechat:
        made = cloud.Cloud(
            backend="wechat",
            appid=APPID,
            appsecret=SECRET,
            api_base=wechat.url,
            timeout=TIMEOUT,
            store=store,
            cache=cache,
            fallback=fallback,
        )

        def call(number: int) -> tuple[float, Any]:
            begin = time.monotonic()
            try:
                outcome: Any = made.openapi.img.aiCrop(
                    imgUrl=f"https://example.com/{number}.jpg?sign=5igned", ratios="1"
                )
            except CloudError as error:
                outcome = error
            return time.monotonic() - begin, outcome

        with ThreadPoolExecutor(16) as pool:
            outcomes = list(pool.map(call, range(CALLS)))
        made.close()
        assert max(seconds for seconds, _ in outcomes) < TIMEOUT + MARGIN
        succeeded = [outcome for _, outcome in outcomes if isinstance(outcome, dict)]
        failed = [outcome for _, outcome in outcomes if isinstance(outcome, CloudError)]
        assert all(result["errCode"] == 0 for result in succeeded)
        assert len(succeeded) > CALLS / 2
        assert failed
        assert {error.errCode for error in failed} <= {-1, 40001, 45009, -601001, -601003, -604102, 101000}
        for error in failed:
            assert_no_secret((SECRET, "t0ken-", "5igned"), error)
        assert_no_secret((SECRET, "t0ken-", "5igned"), None, caplog.text)
        # What went out whole is never sent again.
        assert [url for url, times in wechat.ran.items() if times > 1] == []
