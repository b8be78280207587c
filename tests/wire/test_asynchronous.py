"""`cloud.aio`: the same calls, awaited; the event loop is never blocked."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cloudfn as cloud
from cloudfn import CloudError, handler
from tests.support.recording import OK, RecordingServer, http

URL = "https://example.com/a.jpg"


@pytest.fixture
def wechat(permitted: Path) -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


def instance(server: RecordingServer, **more: Any) -> cloud.Cloud:
    return cloud.Cloud(backend="wechat", access_token="t0ken", api_base=server.url, **more)


def test_a_call_is_the_same_call(wechat: RecordingServer) -> None:
    made = instance(wechat)
    result = asyncio.run(made.aio.openapi.img.aiCrop({"imgUrl": URL, "ratios": "1"}))
    assert result == made.openapi.img.aiCrop({"imgUrl": URL, "ratios": "1"})
    assert wechat.requests[0].query == wechat.requests[1].query
    plain = asyncio.run(made.aio.openapi({"convertCase": False}).img.aiCrop(img_url=URL))
    assert "img_size" in plain


def test_an_error_is_raised_by_await(wechat: RecordingServer) -> None:
    wechat.answers = [http({"errcode": 45009, "errmsg": "reach max api daily quota limit"})]
    with pytest.raises(CloudError) as raised:
        asyncio.run(instance(wechat).aio.openapi.img.aiCrop(imgUrl=URL))
    assert raised.value.errCode == 45009


def test_two_hundred_calls_at_once_and_a_loop_that_goes_on(wechat: RecordingServer) -> None:
    go = threading.Event()
    held: list[socket.socket] = []

    def hold(connection: socket.socket, _request: object) -> None:
        held.append(connection)
        assert go.wait(20)
        connection.sendall(http(OK))

    wechat.answers = [hold]
    made = instance(wechat)

    async def main() -> tuple[int, list[Any]]:
        calls = [asyncio.ensure_future(made.aio.openapi.img.aiCrop(imgUrl=URL)) for _ in range(200)]
        turns = 0
        while len(held) < 64:  # as many as there are threads
            await asyncio.sleep(0.001)
            turns += 1
        assert not any(call.done() for call in calls)
        go.set()
        return turns, await asyncio.gather(*calls)

    turns, results = asyncio.run(main())
    assert turns > 0
    assert [result["errCode"] for result in results] == [0] * 200


def test_cancelling_returns_at_once(wechat: RecordingServer) -> None:
    begun = threading.Event()

    def silence(connection: socket.socket) -> None:
        begun.set()
        connection.recv(1)

    wechat.answers = [silence]

    async def main() -> bool:
        call = asyncio.ensure_future(instance(wechat, timeout=1.5).aio.openapi.img.aiCrop(imgUrl=URL))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return any(thread.name.startswith("cloudfn-aio") for thread in threading.enumerate())

    assert asyncio.run(main())  # the thread is left behind, until the call's deadline


def test_await_of_the_synchronous_face_says_what_to_write(wechat: RecordingServer) -> None:
    async def main() -> None:
        await instance(wechat).openapi.img.aiCrop(imgUrl=URL)  # type: ignore[misc]

    with pytest.raises(TypeError, match=r"await cloud\.aio\.openapi"):
        asyncio.run(main())


def test_a_function_that_awaits_as_in_node(wechat: RecordingServer) -> None:
    made = instance(wechat)

    @cloud.function
    async def main(event: Any, _context: Any) -> Any:
        both = await asyncio.gather(  # type: ignore[call-overload]
            made.openapi.img.aiCrop({"imgUrl": event["imgUrl"]}), made.openapi.img.aiCrop({"imgUrl": event["imgUrl"]})
        )
        assert both[0] == both[1]
        try:
            return await made.openapi.img.aiCrop({"imgUrl": event["imgUrl"], "ratios": "1"})  # type: ignore[misc]
        except CloudError as err:
            return err

    assert main({"imgUrl": URL}, None)["errCode"] == 0
    wechat.answers = [http(OK), http(OK), http({"errcode": 45009, "errmsg": "quota"})]
    assert main({"imgUrl": URL}, None)["errCode"] == 45009

    @cloud.function
    async def without_await(event: Any, _context: Any) -> Any:
        return made.openapi.img.aiCrop({"imgUrl": event["imgUrl"]})

    wechat.answers = [http(OK)]
    assert without_await({"imgUrl": URL}, None)["errCode"] == 0
    assert handler.is_wrapped(main)


def test_what_the_platform_told_is_known_in_the_thread(wechat: RecordingServer) -> None:
    from cloudfn import invocation
    from cloudfn.invocation import Invocation

    async def main() -> Any:
        return await instance(wechat).aio.openapi.img.aiCrop(imgUrl=URL)

    with invocation.running(Invocation(left=lambda: 0.0)), pytest.raises(CloudError, match="no time left"):
        asyncio.run(main())
