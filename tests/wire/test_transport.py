"""The wire itself: TLS, proxies over TLS, hostile answers, forked-off connections, what is closed and when."""

from __future__ import annotations

import base64
import logging
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

import cloudfn as cloud
from cloudfn import CloudError, invocation
from cloudfn.backends.redaction import redacted
from cloudfn.call import media
from cloudfn.call.naming import near
from cloudfn.call.values import Deadline
from cloudfn.invocation import Invocation
from cloudfn.net import deadline as deadlines
from cloudfn.net.transport import OutgoingRequest, Transport, TransportError
from cloudfn.secret import Secret
from tests.support.recording import OK, RecordingServer, http

URL = "https://example.com/a.jpg"


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, str]:
    """A server's context for localhost, and the file of who signed it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return context, str(tmp_path / "ca.pem")


@pytest.fixture
def secure(tls: tuple[ssl.SSLContext, str]) -> Iterator[RecordingServer]:
    server = RecordingServer()
    server.tls = tls[0]
    with server:
        yield server


def localhost(server: RecordingServer) -> str:
    return f"https://localhost:{server.port}"


def failed(run: Callable[[], Any]) -> CloudError:
    with pytest.raises(CloudError) as raised:
        run()
    return raised.value


def aicrop(instance: Any, **given: Any) -> Any:
    return instance.openapi.img.aiCrop(given or {"imgUrl": URL})


# --- TLS --------------------------------------------------------------------------------------------------------------


def test_sessions_are_taken_up_again(secure: RecordingServer, tls: tuple[ssl.SSLContext, str]) -> None:
    reused: list[bool] = []

    def answer(connection: Any) -> None:
        reused.append(connection.session_reused)
        connection.sendall(http(OK))
        connection.recv(1)

    now = [0.0]
    secure.answers = [answer]
    transport = Transport(localhost(secure), ca_bundle=tls[1], clock=lambda: now[0])
    for _ in range(3):
        now[0] += 60  # so that each request has a connection of its own
        transport.send(OutgoingRequest("POST", "/", body=[b"x"]), Deadline(5))
    transport.close()
    assert reused == [False, True, True]


def test_a_large_body_over_tls_is_under_the_deadline(tls: tuple[ssl.SSLContext, str]) -> None:
    """Written in one piece, to somebody who takes a little of it again and again."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def sip() -> None:
            connection, _ = listener.accept()
            with suppress(OSError), tls[0].wrap_socket(connection, server_side=True) as secure:
                while not over.wait(0.02):
                    secure.recv(20_000)

        thread = threading.Thread(target=sip)
        thread.start()
        transport = Transport(f"https://localhost:{listener.getsockname()[1]}", ca_bundle=tls[1])
        start = time.monotonic()
        with pytest.raises(TransportError) as raised:
            transport.send(OutgoingRequest("POST", "/", body=[b"", bytes(30_000_000)]), Deadline(0.7))
        assert raised.value.code == -604102
        assert time.monotonic() - start < 3
        over.set()
        thread.join()


# --- a proxy that is spoken to over TLS -------------------------------------------------------------------------------


def pipe(connection: Any, upstream: socket.socket) -> None:
    """A tunnel, both ways in one thread, as a TLS connection may not be read and written at once."""
    with suppress(OSError):
        while True:
            waiting = [connection] if connection.pending() else select.select([connection, upstream], [], [], 5)[0]
            for source, target in ((connection, upstream), (upstream, connection)):
                if source in waiting:
                    data = source.recv(65536)
                    if not data:
                        return
                    target.sendall(data)
            if not waiting:
                return


def tunnel(port: int) -> Callable[[socket.socket], None]:
    def script(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            pipe(connection, upstream)

    return script


def drip(*beginning: bytes) -> Callable[[socket.socket], None]:
    """Begins, each time after it was spoken to, and goes on with a byte now and then."""

    def script(connection: socket.socket) -> None:
        connection.sendall(beginning[0])
        for more in beginning[1:]:
            connection.recv(65536)
            connection.sendall(more)
        with suppress(OSError):
            for _ in range(500):
                connection.sendall(b"\0")
                time.sleep(0.02)

    return script


def test_tls_inside_the_tls_of_a_proxy(
    permitted: Path, secure: RecordingServer, tls: tuple[ssl.SSLContext, str]
) -> None:
    proxy = RecordingServer(tunnel(secure.port))
    proxy.tls = tls[0]
    with proxy:
        address = f"https://user:passw0rd@localhost:{proxy.port}"
        settings = {"access_token": "t", "api_base": localhost(secure), "proxy": address, "ca_bundle": tls[1]}
        instance = cloud.Cloud(settings)
        img = {"contentType": "image/jpeg", "value": os.urandom(300_000)}
        assert aicrop(instance, img=img)["errCode"] == 0
        assert aicrop(instance, img=img)["errCode"] == 0
        instance.close()
        assert [request.method for request in proxy.requests] == ["CONNECT"]
        assert secure.requests[1].parts[0][1] == img["value"]
        secure.answers = [drip(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")]
        assert_in_time(settings)


@pytest.mark.parametrize(
    "script",
    [
        drip(b"HTTP/1.1 200 OK\r\nX: "),
        drip(b"HTTP/1.1 200 OK\r\n\r\n", b"\x16\x03\x03\x40\x00"),  # a handshake of 16 KB that comes byte by byte
        drip(b"HTTP/1.1 200 OK\r\n\r\n"),
    ],
)
def test_a_proxy_over_tls_that_takes_its_time(script: Any, permitted: Path, tls: tuple[ssl.SSLContext, str]) -> None:
    proxy = RecordingServer(script)
    proxy.tls = tls[0]
    with proxy:
        address = f"https://localhost:{proxy.port}"
        assert_in_time({"access_token": "t", "api_base": "https://localhost", "proxy": address, "ca_bundle": tls[1]})


def assert_in_time(settings: dict[str, Any]) -> None:
    instance = cloud.Cloud({**settings, "timeout": 0.7})
    start = time.monotonic()
    assert failed(lambda: aicrop(instance)).errCode in (-604102, -601003)
    assert time.monotonic() - start < 3
    instance.close()


# --- hostile input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [b"-5", b"-1", b"zz", b""])
def test_a_chunk_of_no_size(size: bytes, permitted: Path, server: RecordingServer) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\n\xff\xd8\xff\xe0x\r\n"
        )
        connection.recv(1)  # stays open: what waits for the end of the connection waits for its whole time

    server.answers = [answer]
    instance = cloud.Cloud(access_token="t", api_base=server.url, timeout=5)
    start = time.monotonic()
    assert failed(lambda: aicrop(instance)).errCode == -601001
    with pytest.raises(CloudError, match="invalid image url"):
        cloud.fetch(f"{server.url}/a.jpg", timeout=5, allow_hosts=["127.0.0.1"])
    assert time.monotonic() - start < 3


@pytest.mark.parametrize("token", ["t0ken\ud800", "t0ken\n", "t0ken\x00"])
def test_a_token_that_is_no_text(token: str, permitted: Path, server: RecordingServer) -> None:
    server.answers = [http({"access_token": token, "expires_in": 7200})]
    instance = cloud.Cloud(backend="wechat", appid="wx1", appsecret="secret", api_base=server.url)
    for _ in range(2):  # nor is it kept
        assert "the answer for a token holds none" in failed(lambda: aicrop(instance)).errMsg
    with invocation.running(Invocation(token=Secret(token))):
        error = failed(lambda: aicrop(cloud.Cloud(backend="wechat", api_base=server.url)))
    assert (error.errCode, "holds characters" in error.errMsg) == (41001, True)
    assert [request.path for request in server.requests] == ["/cgi-bin/stable_token"] * 2


def test_no_thread_left_for_the_look_up(permitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    instance = cloud.Cloud(access_token="t", api_base="https://wechat.invalid", timeout=2)
    error = failed(lambda: aicrop(instance))
    assert (error.errCode, "can't start new thread" in error.errMsg) == (-601003, True)
    error = failed(lambda: cloud.fetch("https://wechat.invalid/a.jpg"))
    assert (error.errCode, "can't start new thread" in error.hint) == (101000, True)


def test_an_address_that_is_too_long(permitted: Path, server: RecordingServer) -> None:
    instance = cloud.Cloud(access_token="t", api_base=server.url)
    error = failed(lambda: aicrop(instance, imgUrl=f"https://example.com/{'a' * 500_000}"))
    assert error.errCode == -401002
    assert "imgUrl: got a URL of 500,020 characters, expected at most 8,192" in error.errMsg
    assert server.connections == 0
    assert "it has 500,020 characters" in failed(lambda: cloud.fetch(f"https://example.com/{'a' * 500_000}")).hint
    assert aicrop(instance, imgUrl=f"https://example.com/{'a' * 8_000}")["errCode"] == 0


def seconds(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


@pytest.mark.parametrize("size", [1_000_000])
def test_what_is_long_takes_no_longer_than_its_length(size: int) -> None:
    secret = Secret("https://example.com/?" + "a+%2f&" * 1300)
    hostile = ("access_token" + " " * 50 + "https://example.com/?" + "a+%2f&" * 1299) * (size // 8000)
    assert seconds(lambda: redacted(hostile, [secret])) < 5
    assert redacted(f"x {secret.reveal()} y", [secret]) == "x *** y"
    assert seconds(lambda: near("r" * 30 * size, ["ratios", "imgUrl"])) < 1


# --- what is closed, and when -----------------------------------------------------------------------------------------


def test_a_replaced_backend_is_closed_when_its_calls_have_ended(
    permitted: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls are on their way while the settings change under them: none fails, and no connection is left."""
    arrived, go_on = threading.Semaphore(0), threading.Event()
    closed: list[bytes] = []

    def slow(connection: socket.socket) -> None:
        arrived.release()
        go_on.wait(10)
        connection.sendall(http(OK))
        closed.append(connection.recv(1))

    server.answers = [slow]
    instance = cloud.Cloud(api_base=server.url)
    monkeypatch.setenv("WX_ACCESS_TOKEN", "first")
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(aicrop, instance) for _ in range(4)]
        for _ in range(4):
            assert arrived.acquire(timeout=10)
        monkeypatch.setenv("WX_ACCESS_TOKEN", "second")
        server.answers = [http(OK)]
        assert aicrop(instance)["errCode"] == 0
        go_on.set()
        assert {call.result()["errCode"] for call in calls} == {0}
    end = time.monotonic() + 5
    while len(closed) < 4 and time.monotonic() < end:
        time.sleep(0.01)
    assert closed == [b""] * 4
    instance.close()


# --- warming up -------------------------------------------------------------------------------------------------------


def test_warming_up_goes_out_only_when_asked(permitted: Path, server: RecordingServer) -> None:
    server.answers = [http({"access_token": "t0ken", "expires_in": 7200}), http(OK)]
    instance = cloud.Cloud(appid="wx1", appsecret="secret", api_base=server.url)
    instance.warm_up()
    assert server.connections == 0
    for _ in range(2):
        instance.warm_up(network=True)
    assert aicrop(instance)["errCode"] == 0
    assert [request.path for request in server.requests] == ["/cgi-bin/stable_token", "/cv/img/aicrop"]
    assert server.connections == 1
    instance.close()


def test_warming_up_says_nothing_of_a_wrong_set_up(permitted: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "cloudfn"):
        cloud.Cloud(backend="wechat").warm_up(network=True)
        cloud.Cloud(backend="wechat", api_base="http://example.com").warm_up()
    assert not caplog.records
    assert failed(lambda: aicrop(cloud.Cloud(backend="wechat"))).errCode == 41001


# --- the token meanwhile ----------------------------------------------------------------------------------------------


def test_a_token_is_fetched_while_a_large_picture_is_decoded(
    permitted: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoding ends here only when the request for a token has arrived."""
    decode = media.decode

    def waits(value: object) -> media.Bytes:
        end = time.monotonic() + 10
        while not server.requests and time.monotonic() < end:
            time.sleep(0.01)
        assert server.requests
        return decode(value)

    monkeypatch.setattr(media, "decode", waits)
    server.answers = [http({"access_token": "t0ken", "expires_in": 7200}), http(OK)]
    instance = cloud.Cloud(appid="wx1", appsecret="secret", api_base=server.url)
    img = {"contentType": "image/jpeg", "value": base64.b64encode(bytes(300_000)).decode()}
    assert aicrop(instance, img=img)["errCode"] == 0
    assert aicrop(instance, img=img)["errCode"] == 0
    assert [request.path for request in server.requests] == ["/cgi-bin/stable_token", *["/cv/img/aicrop"] * 2]
    instance.close()


@pytest.mark.parametrize(
    "given",
    [
        {"img": {"contentType": "image/jpeg", "value": "no base64!"}},
        {"img": {"contentType": "image/jpeg", "value": "AAAA" * 200_000}, "imgUrl": URL},
        {"img": {"contentType": 5, "value": "AAAA" * 200_000}},
        {"img": {"contentType": "image/jpeg", "value": "AAAA" * 200_000}, "ratios": "1,2,3,4,5,6"},
    ],
)
def test_what_is_wrong_is_refused_before_any_network(
    given: dict[str, Any], permitted: Path, server: RecordingServer
) -> None:
    instance = cloud.Cloud(appid="wx1", appsecret="secret", api_base=server.url)
    assert failed(lambda: aicrop(instance, **given)).errCode in (-401002, -401003)
    assert server.connections == 0


def test_a_deadline_that_ends_as_the_connection_is_made_leaves_no_socket_open() -> None:
    times = iter([0.0, 0.0])
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with deadlines.enforced(Deadline(1, lambda: next(times, 5.0))), pytest.raises(TimeoutError):
            deadlines._connect(address, ())
        connection, _ = server.accept()
        with connection:
            connection.settimeout(5)
            assert connection.recv(1) == b""
