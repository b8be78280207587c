"""Error trackers keep the locals of every frame of an exception and of its causes: no token, no secret is in them."""

from __future__ import annotations

import base64
import signal
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import cloudfn as cloud
from cloudfn import CloudError, invocation
from cloudfn.invocation import Invocation
from cloudfn.secret import Secret
from tests.support.recording import OK, RecordingServer, http

TOKEN, APP_SECRET, PASSWORD = "t0ken-0123/456789=abcdef", "5ecret5ecret5ecret5ecret5ecret5e", "passw0rd-0123"
LOGIN = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
SECRETS = {form for secret in (TOKEN, APP_SECRET, PASSWORD, LOGIN) for form in (secret, quote(secret, safe=""))}
CREDENTIALS: dict[str, dict[str, Any]] = {
    "a token": {"access_token": TOKEN},
    "an app secret": {"appid": "wx0123456789abcdef", "appsecret": APP_SECRET},
    "an app secret, the older way": {"appid": "wx0123456789abcdef", "appsecret": APP_SECRET, "token_api": "token"},
}


def chain(kept: traceback.TracebackException | None) -> Iterator[traceback.TracebackException]:
    if kept:
        yield kept
        yield from chain(kept.__cause__)
        yield from chain(kept.__context__)


def assert_nothing_kept(error: BaseException) -> None:
    """No frame below the tests' own holds a secret in a local, and no line of a text does."""
    kept = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = 0
    for one in chain(kept):
        shown = ["".join(one.format_exception_only())]
        for frame in one.stack:
            if "/tests/" not in frame.filename:
                frames += 1
                shown += [f"{frame.name}: {name} = {value}" for name, value in (frame.locals or {}).items()]
        for text in shown:
            assert not [secret for secret in SECRETS if secret in text], text
    assert frames > 2


def failed(run: Callable[[], Any]) -> BaseException:
    try:
        run()
    except (CloudError, KeyboardInterrupt) as error:
        return error
    raise AssertionError("it did not fail")


def echo(connection: socket.socket, request: Any) -> None:
    """What was sent comes back in an answer that is none of WeChat's, and as a failure of WeChat's."""
    connection.sendall(http(b"<html>" + request.target.encode() + request.body))


def echo_as_json(connection: socket.socket, request: Any) -> None:
    said = f"{request.target} {request.body.decode('latin-1')}"
    connection.sendall(http({"errcode": 40013, "errmsg": said, "other": said, "access_token": TOKEN}))


def echo_as_no_http(connection: socket.socket, request: Any) -> None:
    connection.sendall(f"{request.target} {request.body.decode('latin-1')}\r\n\r\n".encode())


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def silence(connection: socket.socket) -> None:
    connection.recv(1)


ANSWERS: dict[str, Any] = {
    "an echo": echo,
    "an echo as JSON": echo_as_json,
    "a reset": reset,
    "silence": silence,
    "a broken answer": http(OK)[:-9],
    "no HTTP": b"hello\r\n\r\n",
    "a token in broken JSON": http(f'{{"access_token": "{TOKEN}", "expires_in": 72'.encode()),
    "a token with a bad status": http({"access_token": TOKEN}, status="500 Oops"),
    "a code that is none": http({"errcode": "x", "access_token": TOKEN}),
    "busy": http({"errcode": -1, "errmsg": "busy", "access_token": TOKEN}),
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("credentials", CREDENTIALS)
def test_a_call_that_fails(answer: str, credentials: str, permitted: Path, server: RecordingServer) -> None:
    given = ANSWERS[answer]

    def once(connection: socket.socket) -> None:
        connection.sendall(given)
        connection.close()

    server.answers = [once if isinstance(given, bytes) else given]
    settings = {**CREDENTIALS[credentials], "backend": "wechat", "api_base": server.url, "timeout": 1}
    instance = cloud.Cloud(settings)
    img = {"contentType": "image/jpeg", "value": bytes(100_000)}
    error = failed(lambda: instance.openapi.img.aiCrop(img=img))  # type: ignore[call-overload]
    instance.close()
    assert server.requests
    assert_nothing_kept(error)


@pytest.mark.parametrize(
    "settings",
    [
        {"api_base": "http://127.0.0.1:1"},
        {"api_base": "https://127.0.0.1:1", "proxy": f"http://user:{PASSWORD}@127.0.0.1:1"},
        {"api_base": "https://wechat.invalid", "proxy": f"https://user:{PASSWORD}@127.0.0.1:1"},
        {"api_base": "http://example.com"},
        {"config": "none.json"},
    ],
)
def test_a_call_that_reaches_nobody(settings: dict[str, Any], permitted: Path) -> None:
    for credentials in CREDENTIALS.values():
        instance = cloud.Cloud({"backend": "wechat", "timeout": 2, **settings, **credentials})
        assert_nothing_kept(failed(lambda: instance.openapi.img.aiCrop(imgUrl="https://example.com/")))  # noqa: B023


def test_a_proxy_that_refuses(permitted: Path, server: RecordingServer) -> None:
    server.answers = [b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"]
    proxy = server.url.replace("//", f"//user:{PASSWORD}@")
    instance = cloud.Cloud(backend="wechat", access_token=TOKEN, api_base="https://wechat.invalid", proxy=proxy)
    error = failed(lambda: instance.openapi.img.aiCrop(imgUrl="https://example.com/"))
    assert LOGIN in server.requests[0].headers["proxy-authorization"]
    assert_nothing_kept(error)


@pytest.mark.parametrize(
    "wrong",
    [
        {"access_token": f"{TOKEN}\n{TOKEN}"},
        {"access_token": TOKEN.encode()},
        {"access_token": [TOKEN]},
        {"access_token": TOKEN, "timeout": "soon"},
        {"appsecret": APP_SECRET, "timeuot": 5},
        {"proxy": f"ftp://user:{PASSWORD}@host"},
        {"WX_ACCESS_TOKEN".lower(): TOKEN, "access_token": TOKEN},
    ],
)
def test_settings_that_are_wrong(wrong: dict[str, Any], permitted: Path) -> None:
    assert_nothing_kept(failed(lambda: cloud.Cloud(**wrong)))


@pytest.mark.parametrize("place", ["environment", ".env"])
def test_surroundings_that_are_wrong(place: str, permitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"WX_ACCESS_TOKEN": TOKEN, "WX_APPSECRET": APP_SECRET, "CLOUDFN_TIMEOUT": "soon"}
    for name, value in values.items():
        if place == "environment":
            monkeypatch.setenv(name, value)
    if place == ".env":
        (permitted / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    assert_nothing_kept(failed(lambda: cloud.Cloud().openapi.img.aiCrop(imgUrl="https://example.com/")))


@pytest.mark.parametrize(
    "store",
    [
        f"redis://:{PASSWORD}@host:port",
        f"redis://:{PASSWORD}@[host",
        f"redis://:{PASSWORD}@127.0.0.1:1/0",
        f"{PASSWORD}://host",
        PASSWORD,
    ],
)
def test_a_store_that_is_none_or_is_down(store: str, permitted: Path) -> None:
    more = {"backend": "wechat", "api_base": "http://127.0.0.1:1", "timeout": 1, "cache": 60, "quota": "9/day"}
    instance = cloud.Cloud(**CREDENTIALS["an app secret"], **more, store=Secret(store))
    assert_nothing_kept(failed(lambda: instance.openapi.img.aiCrop(imgUrl="https://example.com/")))


@pytest.mark.parametrize("credentials", ["an app secret", "an app secret, the older way"])
def test_a_token_that_cannot_be_shared(credentials: str, permitted: Path, server: RecordingServer) -> None:
    """Whatever ends the writing of a store, the new token is in no frame of it."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    server.answers = [http({"access_token": TOKEN, "expires_in": 7200})]
    more = {"backend": "wechat", "api_base": server.url, "store": f"file://{permitted}/store"}
    instance = cloud.Cloud(**CREDENTIALS[credentials], **more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", interrupted)
        error = failed(lambda: instance.openapi.img.aiCrop(imgUrl="https://example.com/"))
    assert isinstance(error, KeyboardInterrupt)
    assert_nothing_kept(error)


def test_the_token_of_the_request(permitted: Path, server: RecordingServer) -> None:
    server.answers = [echo]
    instance = cloud.Cloud(backend="wechat", api_base=server.url)
    with invocation.running(Invocation(token=Secret(TOKEN))):
        error = failed(lambda: instance.openapi.img.aiCrop(imgUrl="https://example.com/"))
    assert dict(server.requests[0].query)["cloudbase_access_token"] == TOKEN
    assert_nothing_kept(error)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers that interrupt")
@pytest.mark.parametrize("reads", [True, False])
def test_an_interrupt_in_the_middle(reads: bool, permitted: Path) -> None:
    """A platform's time-out that is raised by a signal, while the request is written or its answer awaited."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if not reads:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        instance = cloud.Cloud(backend="wechat", access_token=TOKEN, api_base=base, timeout=9)
        img = {"contentType": "image/jpeg", "value": bytes(100 if reads else 2_000_000)}
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.4)
            start = time.monotonic()
            error = failed(lambda: instance.openapi.img.aiCrop(img=img))  # type: ignore[call-overload]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    assert isinstance(error, KeyboardInterrupt)
    assert time.monotonic() - start < 5
    assert_nothing_kept(error)


@pytest.mark.parametrize("answer", [http(b"no", status="403 No"), reset, silence, http(b"")[:-9], echo_as_no_http])
@pytest.mark.parametrize("method", ["up", "down"])
def test_a_file_on_its_way(method: str, answer: Any, server: RecordingServer) -> None:
    """The address of a file is signed, and its form too."""
    address = f"{server.url}/a.png?sign={quote(TOKEN, safe='')}"
    place = {"url": address, "token": TOKEN, "authorization": APP_SECRET, "file_id": "cloud://e.b/a.png"}
    links = [{"fileid": "cloud://e.b/a.png", "status": 0, "download_url": address}]
    server.answers = [http({"errcode": 0, **place, "cos_file_id": "x", "file_list": links}), answer]
    instance = cloud.Cloud(backend="wechat", access_token="t", api_base=server.url, env="e", timeout=1)
    if method == "up":
        run: Callable[[], Any] = lambda: instance.uploadFile(cloudPath="a.png", fileContent=b"x")  # noqa: E731
    else:
        run = lambda: instance.downloadFile(fileID="cloud://e.b/a.png")  # noqa: E731
    assert_nothing_kept(failed(run))
    assert len(server.requests) == 2
