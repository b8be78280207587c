"""The wechat backend against a real socket: what goes out byte by byte, and what each kind of answer becomes."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import cloudfn as cloud
from cloudfn import CloudError
from cloudfn.backends.wechat import WeChat
from cloudfn.secret import Secret
from cloudfn.settings import Settings
from tests.conftest import vectors
from tests.support.recording import OK, RecordingServer, drip, http
from tests.support.secrecy import assert_no_secret

TOKEN = "t0ken-+/=&% 秘"
SECRETS = (TOKEN, quote(TOKEN, safe=""), "sign=", quote("sign=", safe=""))
URL = "https://例子.example/图 片+%41.jpg?sign=a%2Bb&x=1#frag"
PICTURE = b"\xff\xd8\xff" + bytes(range(256)) * 3


@pytest.fixture
def call(permitted: Path, server: RecordingServer) -> Callable[..., Any]:
    instance = cloud.Cloud(backend="wechat", access_token=TOKEN, api_base=server.url, timeout=5)
    return instance.openapi.img.aiCrop


def failed(call: Callable[..., Any], given: dict[str, Any] | None = None) -> CloudError:
    with pytest.raises(CloudError) as raised:
        call(given or {"imgUrl": URL})
    return raised.value


def test_a_picture_and_ratios(call: Any, server: RecordingServer) -> None:
    call({"img": {"contentType": "image/jpeg", "value": PICTURE}, "ratios": [1, "2.35", "16:9"]})
    (request,) = server.requests
    assert (request.method, request.target.partition("?")[0]) == ("POST", "/cv/img/aicrop")
    assert request.query == [("access_token", TOKEN)]
    assert int(request.headers["content-length"]) == len(request.body)
    assert "transfer-encoding" not in request.headers
    assert request.parts == [
        ({"Content-Disposition": 'form-data; name="ratios"'}, b"1,2.35,1.77778"),
        (
            {"Content-Disposition": 'form-data; name="img"; filename="img.jpeg"', "Content-Type": "image/jpeg"},
            PICTURE,
        ),
    ]
    assert TOKEN.encode() not in request.raw
    assert b"\r\n\r\n" + request.body == request.raw[-len(request.body) - 4 :]


def test_a_url_and_ratios(call: Any, server: RecordingServer) -> None:
    call({"imgUrl": URL, "ratios": "1,2.35"})
    (request,) = server.requests
    assert request.query == [("access_token", TOKEN), ("img_url", URL)]
    assert request.target == f"/cv/img/aicrop?access_token={quote(TOKEN, safe='')}&img_url={quote(URL, safe='')}"
    assert "+" not in request.target  # a space is %20
    assert "%20" in request.target
    assert [(headers["Content-Disposition"], content) for headers, content in request.parts] == [
        ('form-data; name="ratios"', b"1,2.35")
    ]


def test_a_url_alone_has_no_body(call: Any, server: RecordingServer) -> None:
    call({"imgUrl": URL})
    (request,) = server.requests
    assert (request.method, request.body, request.headers["content-length"]) == ("POST", b"", "0")


@pytest.mark.parametrize("case", vectors("media"))
def test_recorded_names_of_the_uploaded_part(case: dict[str, str], call: Any, server: RecordingServer) -> None:
    call({"img": {"contentType": case["contentType"], "value": PICTURE}})
    (headers, content), *rest = server.requests[0].parts
    assert headers["Content-Disposition"] == f'form-data; name="{case["field"]}"; filename="{case["filename"]}"'
    assert headers["Content-Type"] == case["contentType"]
    assert (content, rest) == (PICTURE, [])


@pytest.mark.parametrize(("given", "sent"), [("cat.jpg", "cat.jpg"), ("猫.jpg", "img.gif"), ('a";x="b.gif', "img.gif")])
def test_file_names_are_ascii(given: str, sent: str, call: Any, server: RecordingServer) -> None:
    call({"img": {"contentType": "image/gif", "value": PICTURE, "fileName": given}})
    assert f'filename="{sent}"' in server.requests[0].parts[0][0]["Content-Disposition"]


@pytest.mark.parametrize("form", [bytearray, memoryview])
def test_the_callers_objects_are_left_alone(form: Any, call: Any, server: RecordingServer) -> None:
    value = form(PICTURE)
    img = {"contentType": "image/gif", "value": value}
    given = {"img": img, "ratios": [1]}
    call(given)
    assert given == {"img": {"contentType": "image/gif", "value": value}, "ratios": [1]}
    assert given["img"] is img
    assert server.requests[0].parts[1][1] == PICTURE


@pytest.mark.parametrize("case", vectors("normalise"))
def test_recorded_answers_over_the_wire(case: dict[str, Any], permitted: Path, server: RecordingServer) -> None:
    response = case["response"]
    server.answers = [http(response["body"].encode(), content_type=response["contentType"])]
    instance = cloud.Cloud(backend="wechat", access_token="t", api_base=server.url)
    api = instance.openapi({"convertCase": case["convertCase"]}).img.aiCrop
    given = {"imgUrl" if case["convertCase"] else "img_url": URL}
    if "result" in case:
        assert json.dumps(api(given)) == json.dumps(case["result"])
        return
    error = failed(api, given)
    assert error.to_dict() == {key: case["error"][key] for key in ("errCode", "errMsg")}
    assert str(error) == case["error"]["message"]


def close(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def cut_off(connection: socket.socket) -> None:
    connection.sendall(http(OK)[:-20])


def no_answer(connection: socket.socket) -> None:
    connection.recv(1)


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (http({"errcode": 40001, "errmsg": "invalid credential"}), 40001, "fail invalid credential"),
        (http({"errcode": 40001}, status="500 Oops"), 40001, "no errmsg"),
        (http(b"", status="412 Precondition Failed"), -601001, "HTTP 412"),
        (http(b"<html>502</html>", status="502 Bad Gateway", content_type="text/html"), -601001, "HTTP 502, text/html"),
        (http(b"<html>login</html>", content_type="text/html"), -601001, "HTTP 200, text/html"),
        (http(b"busy", content_type="text/plain"), -601001, "HTTP 200, text/plain"),
        (http(OK, status="500 Oops"), -601001, "HTTP 500"),
        (http(b""), -601001, "response body is invalid json: "),
        (http(b" " * 1_100_000 + b"{}"), -601001, "over 1 MB"),
        (http(b'{"errcode": 0, "resul'), -601001, 'response body is invalid json: {"errcode": 0, "resul'),
        (b"HTTP/1.1 302 Found\r\nLocation: https://example.com/\r\nContent-Length: 0\r\n\r\n", -601001, "HTTP 302"),
        (cut_off, -601001, "(HTTP 200), the answer is cut off"),
        (close, -601003, "network error"),
        (b"nonsense\r\n\r\n", -601001, "no HTTP"),
        (no_answer, -604102, "no answer within 0.5 seconds"),
        (drip(http(OK) * 100, 0.05), -604102, "no answer within 0.5 seconds"),
    ],
)
def test_every_kind_of_failure(
    answer: Any, code: int, words: str, permitted: Path, server: RecordingServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [answer]
    instance = cloud.Cloud(backend="wechat", access_token=TOKEN, api_base=server.url, timeout=0.5)
    with caplog.at_level(logging.DEBUG):
        error = failed(instance.openapi.img.aiCrop)
    assert (error.errCode, words in error.errMsg) == (code, True), error.errMsg
    assert error.errMsg.startswith("openapi.img.aiCrop:fail ")
    assert error.hint
    assert_no_secret(SECRETS, error, caplog.text, repr(instance))


@pytest.mark.parametrize(
    ("base", "code"),
    [("http://127.0.0.1:1", -601003), ("https://127.0.0.1:1", -601003), ("https://no.invalid", -601003)],
)
def test_no_connection(base: str, code: int, permitted: Path, caplog: pytest.LogCaptureFixture) -> None:
    instance = cloud.Cloud(backend="wechat", access_token=TOKEN, api_base=base)
    with caplog.at_level(logging.DEBUG):
        error = failed(instance.openapi.img.aiCrop)
    assert (error.errCode, error.retryable) == (code, True)
    assert error.errMsg.endswith(f"(to {base.partition('//')[2]})")  # so that a reader knows what was not reached
    assert_no_secret(SECRETS, error, caplog.text)


@pytest.mark.parametrize("echo", [TOKEN, quote(TOKEN, safe="")])
def test_an_answer_that_echoes_the_token(echo: str, permitted: Path, server: RecordingServer) -> None:
    instance = cloud.Cloud(backend="wechat", access_token=TOKEN, api_base=server.url)
    for answer in (http(f"<html>{echo}</html>".encode()), http({"errcode": 40001, "errmsg": f"bad {echo}"})):
        server.answers = [answer]
        error = failed(instance.openapi.img.aiCrop)
        assert "***" in error.errMsg
        assert_no_secret(SECRETS, error)


def test_no_credentials(permitted: Path, server: RecordingServer) -> None:
    error = failed(cloud.Cloud(backend="wechat", api_base=server.url).openapi.img.aiCrop)
    assert error.errCode == 41001
    assert "set WX_APPID and WX_APPSECRET, or WX_ACCESS_TOKEN" in error.errMsg
    assert server.connections == 0


@pytest.mark.parametrize("size", [2 * 1024 * 1024, 3_000_000])
def test_a_picture_that_is_too_large_is_refused_before_any_network(
    size: int, call: Any, server: RecordingServer
) -> None:
    error = failed(call, {"img": {"contentType": "image/jpeg", "value": bytes(size)}})
    assert error.errCode == 101002
    assert f"{size:,} bytes" in error.errMsg
    assert server.connections == 0


def test_a_picture_near_the_limit_is_warned_about(call: Any, server: RecordingServer, caplog: Any) -> None:
    for size, warned in ((1_999_999, False), (2_000_000, True), (2 * 1024 * 1024 - 1, True)):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "cloudfn"):
            call({"img": {"contentType": "image/jpeg", "value": bytes(size)}})
        assert ("2,000,000" in caplog.text) is warned
        assert len(server.requests[-1].parts[0][1]) == size


@pytest.mark.parametrize(
    "base",
    [
        "http://example.com",
        "http://api.weixin.qq.com.evil.example",
        "http://10.0.0.1",
        "ftp://127.0.0.1",
        "127.0.0.1:80",
        "https://user:secret@example.com",
        "https://example.com/?a=b",
        "https://",
        "http://[::1",
        "https://a:b:c",
        "nonsense",
    ],
)
def test_addresses_that_no_token_may_be_sent_to(base: str, permitted: Path) -> None:
    error = failed(cloud.Cloud(backend="wechat", access_token="t", api_base=base).openapi.img.aiCrop)
    assert error.errCode == -601002
    assert error.errMsg.startswith("CLOUDFN_API_BASE: got ")
    assert "secret" not in error.errMsg


@pytest.mark.parametrize(
    "base", ["https://example.com/", "https://a.example/prefix", "http://localhost:8", "http://[::1]:8"]
)
def test_addresses_that_a_token_may_be_sent_to(base: str) -> None:
    WeChat(Settings(access_token=Secret("t"), api_base=base)).close()


def test_the_side_car_gets_no_token(permitted: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # The side-car's address is reachable inside CloudRun only, so the recording server stands in for it.
    monkeypatch.setattr("cloudfn.settings.SIDE_CAR", server.url)
    for settings in ({}, {"access_token": TOKEN}):
        cloud.Cloud(api_base=server.url + "/", **settings).openapi.img.aiCrop({"imgUrl": "https://example.com/a"})
        assert server.requests[-1].query == [("img_url", "https://example.com/a")]


def test_connections_are_used_again(call: Any, server: RecordingServer) -> None:
    for _ in range(3):
        call({"imgUrl": URL})
    assert (server.connections, len(server.requests)) == (1, 3)


def test_a_password_for_the_host_in_netrc_is_not_sent(
    call: Any, server: RecordingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password pass\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    call({"imgUrl": URL})
    assert "authorization" not in server.requests[0].headers
