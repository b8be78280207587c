"""Tokens, repetition and the deadline, against a scripted WeChat on loopback."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import trustme

import cloudfn as cloud
from cloudfn import CloudError
from cloudfn.backends.retry import Retries
from cloudfn.backends.tokens import Issue, Issued, Token, kept_for
from cloudfn.backends.wechat import WeChat
from cloudfn.call.apis import APIS
from cloudfn.call.params import read
from cloudfn.call.values import Deadline, Trace
from cloudfn.net.transport import OutgoingRequest, Transport
from cloudfn.secret import Secret
from cloudfn.settings import Settings
from tests.support.recording import OK, RecordingServer, Request, drip, http
from tests.support.secrecy import assert_no_secret

APPID, SECRET = "wx0123456789abcdef", "5ecret5ecret5ecret5ecret5ecret5e"
URL = "https://example.com/a.jpg?sign=5igned"
ISSUE = Issue(Secret("t"), None)
SECRETS = (SECRET, "t0ken-", "5igned")


class ScriptedWeChat(RecordingServer):
    """Issues tokens and takes only the one that is valid; `faults` are answers used up before the real ones."""

    def __init__(self) -> None:
        super().__init__(self.answer)
        self.faults: list[Any] = []
        self.token_faults: list[Any] = []
        self.issued = 0
        self.valid = "none yet"
        self.life: Any = 7200
        self.delay = 0.0
        self.answer_storage = b""
        self._one_at_a_time = threading.Lock()

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    def revoke(self) -> None:
        self.valid = "revoked"

    def answer(self, connection: socket.socket, request: Request) -> None:
        with self._one_at_a_time:
            faults = self.faults if request.path == "/cv/img/aicrop" else self.token_faults
            fault = faults.pop(0) if faults else None
            if request.path.startswith("/tcb/"):
                fault = self.answer_storage
            if fault is None:
                fault = self._crop(request) if request.path == "/cv/img/aicrop" else self._issue(request)
        if callable(fault):
            fault(connection)
        else:
            connection.sendall(fault)

    def _crop(self, request: Request) -> bytes:
        if dict(request.query).get("access_token") != self.valid:
            return http({"errcode": 40001, "errmsg": "invalid credential rid: 6aac0063-7ed08fb9-1250f724"})
        return http(OK)

    def _issue(self, request: Request) -> bytes:
        time.sleep(self.delay)
        given = json.loads(request.body) if request.body else dict(request.query)
        if given != {"grant_type": "client_credential", "appid": APPID, "secret": SECRET}:
            return http({"errcode": 40125, "errmsg": "invalid appsecret rid: 63cf14c3-1af7da21-37efbc86"})
        self.issued += 1
        self.valid = f"t0ken-number-{self.issued}"
        life = {} if self.life is None else {"expires_in": self.life}
        return http({"access_token": self.valid, **life})


def hang_up(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def break_off(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 2")
    connection.shutdown(socket.SHUT_RDWR)


def silence(connection: socket.socket) -> None:
    connection.recv(1)


BUSY = http({"errcode": -1, "errmsg": "system error hints: [ihhaCQwhE-ZR!]"})


@pytest.fixture
def wechat() -> Iterator[ScriptedWeChat]:
    with ScriptedWeChat() as running:
        yield running


@pytest.fixture
def settings(permitted: Path, wechat: ScriptedWeChat) -> dict[str, Any]:
    return {"backend": "wechat", "appid": APPID, "appsecret": SECRET, "api_base": wechat.url, "timeout": 5}


def crop(settings: dict[str, Any], **more: Any) -> Callable[[], Any]:
    instance = cloud.Cloud(settings, **more)
    return lambda: instance.openapi.img.aiCrop(imgUrl=URL)


def failed(run: Callable[[], Any]) -> CloudError:
    with pytest.raises(CloudError) as raised:
        run()
    return raised.value


def test_one_token_for_many_calls(settings: dict[str, Any], wechat: ScriptedWeChat) -> None:
    call = crop(settings)
    for _ in range(3):
        assert call()["errCode"] == 0
    (request,) = wechat.asked("/cgi-bin/stable_token")
    assert request.method == "POST"
    assert json.loads(request.body) == {"grant_type": "client_credential", "appid": APPID, "secret": SECRET}
    assert request.query == []
    assert int(request.headers["content-length"]) == len(request.body)
    assert wechat.connections == 1


def test_the_older_api(settings: dict[str, Any], wechat: ScriptedWeChat) -> None:
    assert crop(settings, token_api="token")()["errCode"] == 0
    (request,) = wechat.asked("/cgi-bin/token")
    assert (request.method, request.body) == ("GET", b"")
    assert dict(request.query) == {"grant_type": "client_credential", "appid": APPID, "secret": SECRET}


def test_sixty_four_threads_ask_for_one_token(settings: dict[str, Any], wechat: ScriptedWeChat) -> None:
    wechat.delay = 0.2
    call = crop(settings)
    with ThreadPoolExecutor(64) as pool:
        results = list(pool.map(lambda _: call(), range(64)))
    assert {result["errCode"] for result in results} == {0}
    assert len(wechat.asked("/cgi-bin/stable_token")) == 1


def test_sixty_four_threads_share_a_failure(settings: dict[str, Any], wechat: ScriptedWeChat) -> None:
    wechat.delay = 0.3
    call = crop(settings, appsecret="another")
    with ThreadPoolExecutor(64) as pool:
        errors = list(pool.map(lambda _: failed(call), range(64)))
    assert {error.errCode for error in errors} == {40125}
    assert len({id(error) for error in errors}) == 64
    assert len(wechat.asked("/cgi-bin/stable_token")) < 8  # those that came after the first answer asked again


def test_a_token_revoked_under_thirty_two_calls(settings: dict[str, Any], wechat: ScriptedWeChat) -> None:
    call = crop(settings)
    call()
    wechat.revoke()
    wechat.delay = 0.1
    with ThreadPoolExecutor(32) as pool:
        results = list(pool.map(lambda _: call(), range(32)))
    assert {result["errCode"] for result in results} == {0}
    assert len(wechat.asked("/cgi-bin/stable_token")) == 2


@pytest.mark.parametrize("code", [40001, 40014, 42001])
def test_a_refused_token_is_renewed_exactly_once(code: int, settings: dict[str, Any], wechat: ScriptedWeChat) -> None:
    refusal = http({"errcode": code, "errmsg": "access_token expired rid: 627ca5cf-7e811ede-0fbc1f73"})
    wechat.faults = [refusal]
    assert crop(settings)()["errCode"] == 0
    wechat.faults = [refusal] * 9
    wechat.requests.clear()
    error = failed(crop(settings))
    assert error.to_dict() == {
        "errCode": code,
        "errMsg": "openapi.img.aiCrop:fail access_token expired rid: 627ca5cf-7e811ede-0fbc1f73",
    }
    assert len(wechat.asked("/cv/img/aicrop")) == 2


def test_a_fixed_token_is_not_tried_again(settings: dict[str, Any], wechat: ScriptedWeChat) -> None:
    assert failed(crop(settings, access_token="t0ken-from-outside")).errCode == 40001
    assert [request.path for request in wechat.requests] == ["/cv/img/aicrop"]


def test_a_cloudbase_token_and_its_file(settings: dict[str, Any], wechat: ScriptedWeChat, tmp_path: Path) -> None:
    crop(settings, cloudbase_access_token="c10udbase")
    file = tmp_path / "token"
    file.write_text("0ld-token\n")

    def replaced(connection: socket.socket) -> None:
        file.write_text("n3w-token\n")
        connection.sendall(http({"errcode": 40001, "errmsg": "invalid credential"}))

    call = crop({**settings, "appid": "", "appsecret": ""}, cloudbase_access_token_file=file)
    wechat.faults = [replaced, http(OK), http(OK)]
    assert call()["errCode"] == call()["errCode"] == 0
    sent = [request.query[0] for request in wechat.requests]
    assert sent == [("cloudbase_access_token", value) for value in ("0ld-token", "n3w-token", "n3w-token")]
    wechat.faults = [http({"errcode": 40001, "errmsg": "invalid credential"})] * 2
    assert failed(call).errCode == 40001
    assert len(wechat.requests) == 4  # the file had nothing newer
    file.write_text(" ")
    assert failed(call).errCode == 41001
    file.unlink()
    assert "cannot be read" in failed(call).errMsg


@pytest.mark.parametrize(
    ("life", "kept"),
    [
        (7200, 6900),
        (345, 172.5),
        (600, 300),
        (599, 299.5),
        (900, 600),
        (10**9, 6900),
        (1, 0.5),
        (None, 30),
        ("7200", 30),
        (0, 30),
        (-5, 30),
        (True, 30),
        ([], 30),
        (float("nan"), 30),
    ],
)
def test_how_long_a_token_is_kept(life: Any, kept: float) -> None:
    assert kept_for(life) == kept


def test_a_token_is_asked_for_again_when_its_time_is_over() -> None:
    now = [0.0]
    issued = iter(range(9))
    tokens = Issued(lambda *_: Issue(Secret(str(next(issued))), 7200), lambda: now[0])

    def get() -> str:
        return tokens.get("img.aiCrop", Deadline(1)).value.reveal()

    assert (get(), get()) == ("0", "0")
    now[0] = 6899
    assert get() == "0"
    now[0] = 6900
    assert get() == "1"
    tokens.renew(Token("access_token", Secret("0")))  # refused late: no longer the one that is kept
    assert get() == "1"
    tokens.renew(Token("access_token", Secret("1")))
    assert get() == "2"


@pytest.mark.parametrize("life", [None, 0, -1, "soon"])
def test_a_malformed_life_causes_no_storm(life: Any, settings: dict[str, Any], wechat: ScriptedWeChat) -> None:
    wechat.life = life
    call = crop(settings)
    for _ in range(5):
        call()
    assert len(wechat.asked("/cgi-bin/stable_token")) == 1


@pytest.mark.parametrize(
    ("answer", "code", "words", "cure"),
    [
        (
            http({"errcode": 40164, "errmsg": "invalid ip 118.190.42.90 ipv6 ::ffff:118.190.42.90, not in whitelist"}),
            40164,
            "invalid ip 118.190.42.90 ipv6",
            "add 118.190.42.90 to the IP whitelist",
        ),
        (
            http({"errcode": 40125, "errmsg": "invalid appsecret rid: 1-2-3"}),
            40125,
            "invalid appsecret",
            "WX_APPSECRET",
        ),
        (http({"errcode": 40001, "errmsg": "invalid credential"}), 40001, "invalid credential", "WX_APPSECRET"),
        (http({"errcode": 40013, "errmsg": "invalid appid rid: 1-2-3"}), 40013, "invalid appid", "WX_APPID"),
        (http({"errcode": 45009, "errmsg": "reach max api daily quota limit"}), 45009, "quota", "quota"),
        (http({"errcode": 89503, "errmsg": "x"}), 89503, "x", "console"),
        (http({}), -601001, "holds none", "proxy"),
        (http({"access_token": ""}), -601001, "holds none", "proxy"),
        (http({"access_token": 5}), -601001, "holds none", "proxy"),
        (http(b"<html>"), -601001, "invalid json", "proxy"),
        (http(b"<html>", status="502 Bad Gateway"), -601001, "HTTP 502", "proxy"),
        (http(b"<html>" + SECRET.encode()), -601001, "***", "proxy"),
    ],
)
def test_a_token_that_is_not_issued(
    answer: bytes, code: int, words: str, cure: str, settings: dict[str, Any], wechat: ScriptedWeChat, caplog: Any
) -> None:
    wechat.token_faults = [answer]
    with caplog.at_level(logging.DEBUG):
        error = failed(crop(settings))
    assert error.errCode == code
    assert error.errMsg.startswith("openapi.img.aiCrop:fail ")
    assert words in error.errMsg
    assert cure in error.hint
    assert len(wechat.requests) == 1
    assert_no_secret(SECRETS, error, caplog.text)


@pytest.mark.parametrize(
    ("given", "cure"),
    [
        ({"appsecret": ""}, "WX_APPSECRET"),
        ({"appid": ""}, "WX_APPID"),
        ({"appid": "", "appsecret": ""}, "WX_ACCESS_TOKEN"),
    ],
)
def test_half_of_the_credentials(
    given: dict[str, str], cure: str, settings: dict[str, Any], wechat: ScriptedWeChat
) -> None:
    error = failed(crop({**settings, **given}))
    assert error.errCode == 41001
    assert f"set {cure}" in error.errMsg or cure in error.errMsg
    assert wechat.connections == 0


def test_busy_is_tried_three_times(settings: dict[str, Any], wechat: ScriptedWeChat) -> None:
    wechat.faults = [BUSY, BUSY]
    assert crop(settings)()["errCode"] == 0
    wechat.faults = [BUSY] * 9
    wechat.requests.clear()
    error = failed(crop(settings))
    assert error.to_dict() == {"errCode": -1, "errMsg": "openapi.img.aiCrop:fail system error hints: [ihhaCQwhE-ZR!]"}
    assert error.retryable
    assert len(wechat.asked("/cv/img/aicrop")) == 3


@pytest.mark.parametrize(
    "fault",
    [
        http({"errcode": 45009, "errmsg": "quota"}),
        http({"errcode": 45011, "errmsg": "minute"}),
        http(b"", status="412 X"),
        http(b"<html>", status="502 Bad Gateway"),
        http(b"<html>", status="503 Busy"),
        http(b"<html>"),
        http(b'{"errcode"'),
        http(OK)[:-9],
        hang_up,
    ],
)
def test_what_wechat_may_have_run_is_not_repeated(fault: Any, settings: dict[str, Any], wechat: ScriptedWeChat) -> None:
    def broken(connection: socket.socket) -> None:
        connection.sendall(fault) if isinstance(fault, bytes) else fault(connection)
        connection.close()

    wechat.token_faults = [None]
    wechat.faults = [broken]
    # A connection of its own for the call, so that a hang-up is none of a kept connection.
    failed(crop(settings, access_token="t0ken-from-outside"))
    assert len(wechat.requests) == 1


@pytest.mark.parametrize("fault", [hang_up, break_off])
def test_what_was_read_whole_on_a_kept_connection_is_not_repeated(
    fault: Any, settings: dict[str, Any], wechat: ScriptedWeChat
) -> None:
    call = crop(settings)
    call()
    wechat.faults = [fault]
    before = len(wechat.requests)
    assert failed(call).errCode in (-601001, -601003)
    assert len(wechat.requests) == before + 1


def answered_and(then: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    def script(connection: socket.socket) -> None:
        connection.sendall(http(OK))
        then(connection)

    return script


@pytest.mark.parametrize("then", [hang_up, lambda connection: connection.sendall(b"HTTP/1.1 408 Too late\r\n\r\n")])
def test_a_kept_connection_is_looked_at_before_it_is_used(
    then: Any, settings: dict[str, Any], wechat: ScriptedWeChat
) -> None:
    """The server closed it, or said something that nobody asked for: the call goes out on a new one, once."""
    call = crop(settings)
    call()
    wechat.faults = [answered_and(then), http(OK)]
    assert call()["errCode"] == 0
    time.sleep(0.1)
    assert call()["errCode"] == 0
    assert (wechat.connections, len(wechat.asked("/cv/img/aicrop"))) == (2, 3)


def test_a_connection_that_was_idle_for_long_is_not_used(server: RecordingServer) -> None:
    """After a platform's freeze the server may have closed it unseen."""
    now = [0.0]
    transport = Transport(server.url, clock=lambda: now[0])
    for later, connections in ((0, 1), (3, 1), (9, 2), (-60, 3)):
        now[0] += later
        assert transport.send(OutgoingRequest("GET", "/"), Deadline(5)).status == 200
        assert server.connections == connections
    transport.close()


def test_what_broke_off_while_it_was_written_is_repeated(settings: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def serve() -> None:
            first, _ = listener.accept()
            first.recv(1000)
            first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            first.close()  # with a reset, the picture half read
            second, _ = listener.accept()
            with second:
                while b"--\r\n" not in second.recv(1 << 20)[-4:]:
                    pass
                second.sendall(http(OK))

        thread = threading.Thread(target=serve)
        thread.start()
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        instance = cloud.Cloud(settings, access_token="t", api_base=base)
        picture = {"contentType": "image/jpeg", "value": bytes(2_000_000)}
        assert instance.openapi.img.aiCrop(img=picture)["errCode"] == 0  # type: ignore[call-overload]
        instance.close()
        thread.join()


def test_a_connection_that_is_refused_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    pauses: list[float] = []
    settings = Settings(access_token=Secret("t"), api_base=f"http://127.0.0.1:{port}")
    for jitter in (0.0, 0.5, 1.0):
        backend = WeChat(settings, retries=Retries(sleep=pauses.append, jitter=partial(float, jitter)))
        trace = Trace()
        error = failed(partial(backend, read(APIS["img.aiCrop"], {"imgUrl": URL}), trace))
        assert (error.errCode, error.retryable, trace.attempts) == (-601003, True, 3)
    assert pauses == pytest.approx([0.1, 0.2, 0.2, 0.4, 0.3, 0.6])


@pytest.mark.parametrize(
    ("asked", "waited"), [("1", True), ("60", False), ("nonsense", True), ("Wed, 01 Jan 2020 00:00:00 GMT", True)]
)
def test_retry_after_is_honoured_within_the_deadline(
    asked: str, waited: bool, settings: dict[str, Any], wechat: ScriptedWeChat
) -> None:
    busy = BUSY.replace(b"\r\n", f"\r\nRetry-After: {asked}\r\n".encode(), 1)
    wechat.faults = [busy]
    start = time.monotonic()
    call = crop(settings, timeout=4)
    if waited:
        assert call()["errCode"] == 0
        assert time.monotonic() - start >= (1 if asked == "1" else 0)
    else:
        assert failed(call).errCode == -1
        assert time.monotonic() - start < 3
        assert len(wechat.asked("/cv/img/aicrop")) == 1


@pytest.mark.parametrize(
    "fault",
    [
        silence,
        drip(http(OK) * 20),
        drip(http(OK)[:60] + b"X: " + b"x" * 2000),
        drip(http(OK).replace(b"\r\n\r\n", b"\r\n\r\n" + b" " * 900)),
    ],
)
@pytest.mark.parametrize("where", ["token", "call"])
def test_one_deadline_for_everything(fault: Any, where: str, settings: dict[str, Any], wechat: ScriptedWeChat) -> None:
    (wechat.token_faults if where == "token" else wechat.faults).append(fault)
    start = time.monotonic()
    error = failed(crop(settings, timeout=0.7))
    assert error.errCode == -604102
    assert error.retryable
    assert error.errMsg == "openapi.img.aiCrop:fail no answer within 0.7 seconds"
    assert 0.6 < time.monotonic() - start < 3
    assert len(wechat.requests) <= 2  # never after a time-out


def test_tls(settings: dict[str, Any], tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = ScriptedWeChat()
    server.tls = context
    with server:
        base = server.url.replace("http://127.0.0.1", "https://localhost")
        untrusted = failed(crop(settings, api_base=base))
        assert untrusted.errCode == -601003
        assert "CERTIFICATE_VERIFY_FAILED" in untrusted.errMsg
        assert untrusted.retryable is False
        assert (server.requests, server.connections) == ([], 1)
        assert crop(settings, api_base=base, ca_bundle=tmp_path / "ca.pem")()["errCode"] == 0
        wrong_name = failed(
            crop(settings, api_base=base.replace("localhost", "127.0.0.1"), ca_bundle=tmp_path / "ca.pem")
        )
        assert wrong_name.errCode == -601003
    missing = failed(lambda: cloud.Cloud(ca_bundle="none.pem"))
    assert missing.errCode == -601002
    assert "CLOUDFN_CA_BUNDLE: got 'none.pem'" in missing.errMsg


def test_a_bundle_without_certificates(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "none.pem").write_text("no certificate")
    for setting, more in (("CLOUDFN_CA_BUNDLE", {"ca_bundle": "none.pem"}), ("REQUESTS_CA_BUNDLE", {})):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "not there.pem"))
        instance = cloud.Cloud(settings, api_base="https://127.0.0.1:1", **more)
        instance.warm_up()
        broken = failed(lambda: instance.openapi.img.aiCrop(imgUrl=URL))  # noqa: B023
        assert broken.errCode == -601002
        assert broken.errMsg.startswith(f"{setting}: got ")


def test_two_instances_share_their_tokens(settings: dict[str, Any], wechat: ScriptedWeChat) -> None:
    """Each token of the older API makes the one before it void, so two of them would drive each other out."""
    wechat.answer_storage = http({"errcode": 0, "file_list": []})
    first = cloud.Cloud(settings, env="env-1", token_api="token")
    second = cloud.Cloud(settings, env="env-1", token_api="token", timeout=4)
    for _ in range(2):
        for instance in (first, second):
            assert instance.openapi.img.aiCrop(imgUrl=URL)["errCode"] == 0
            assert instance.getTempFileURL(fileList=[])["fileList"] == []
    assert wechat.issued == 1


def test_a_proxy_is_for_https_alone(
    settings: dict[str, Any], wechat: ScriptedWeChat, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token goes to this machine in the clear, so no proxy, not even the environment's, gets to see it."""
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("http_proxy", server.url)
    assert crop(settings, proxy=server.url)()["errCode"] == 0
    assert server.connections == 0
    server.answers = [b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"]
    error = failed(
        crop(settings, proxy=server.url.replace("//", "//user:passw0rd@"), api_base="https://wechat.invalid")
    )
    assert error.errCode == -601003
    assert "407" in error.errMsg
    assert server.requests[0].method == "CONNECT"
    assert_no_secret(SECRETS, error)
    assert "passw0rd" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "fault",
    [None, hang_up, silence, drip(http(OK) * 20), http(b"<html>"), BUSY, http({"errcode": 45009, "errmsg": "q"})],
)
def test_no_secret_in_the_log_and_one_record_a_call(
    fault: Any, settings: dict[str, Any], wechat: ScriptedWeChat, caplog: pytest.LogCaptureFixture
) -> None:
    wechat.faults = [fault] * 3
    code = 0
    with caplog.at_level(logging.DEBUG):
        try:
            crop(settings, timeout=1)()
        except CloudError as error:
            code = error.errCode
            assert_no_secret(SECRETS, error)
    assert_no_secret(SECRETS, None, caplog.text)
    (record,) = [record for record in caplog.records if hasattr(record, "attempts")]
    facts = vars(record)
    assert (facts["name"], facts["levelname"], facts["api"], facts["backend"], facts["code"]) == (
        "cloudfn",
        "INFO",
        "img.aiCrop",
        "wechat",
        code,
    )
    assert facts["attempts"] == len(wechat.asked("/cv/img/aicrop"))
    assert 0 < facts["milliseconds"] < 5000
    assert record.getMessage().startswith(f"api=img.aiCrop backend=wechat code={code} attempts=")


def test_the_log_names_wechats_request_id(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture, wechat: Any
) -> None:
    wechat.faults = [
        http({"errcode": 101000, "errmsg": "invalid image url hint: [9bF] rid: 60f6692a-02a0c9fa-5e832557"})
    ]
    with caplog.at_level(logging.INFO, "cloudfn"):
        failed(crop(settings))
    assert "rid=60f6692a-02a0c9fa-5e832557" in caplog.text


def test_nothing_is_left_behind(settings: dict[str, Any], wechat: ScriptedWeChat) -> None:
    instance = cloud.Cloud(settings)
    descriptors = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    threads = threading.active_count()
    with ThreadPoolExecutor(64) as pool:
        list(pool.map(lambda _: instance.openapi.img.aiCrop(imgUrl=URL), range(128)))
    instance.close()
    deadline = time.monotonic() + 5
    # The server's side of each connection ends a moment after ours.
    while time.monotonic() < deadline and (threading.active_count() > threads or _open(descriptors) > descriptors):
        time.sleep(0.05)
    assert threading.active_count() <= threads
    assert _open(descriptors) <= descriptors
    assert instance.openapi.img.aiCrop(imgUrl=URL)["errCode"] == 0  # a closed instance opens anew


def _open(known: int) -> int:
    return len(list(Path("/proc/self/fd").iterdir())) if known else 0


def test_a_handshake_that_closes_is_tried_again(settings: dict[str, Any], server: RecordingServer) -> None:
    """Nothing of the request was sent, so WeChat cannot have run it."""
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # without a certificate every handshake fails
    error = failed(crop(settings, access_token="t", api_base=server.url.replace("http", "https")))
    assert error.errCode == -601003
    assert server.connections == 3


def test_attempts_and_renewal_together(settings: dict[str, Any], wechat: ScriptedWeChat) -> None:
    refusal = http({"errcode": 40001, "errmsg": "invalid credential"})
    wechat.faults = [BUSY, BUSY, refusal]
    assert crop(settings)()["errCode"] == 0
    assert len(wechat.asked("/cv/img/aicrop")) == 4
    wechat.requests.clear()
    wechat.faults = [refusal, BUSY, BUSY, BUSY]
    assert failed(crop(settings)).errCode == -1
    assert len(wechat.asked("/cv/img/aicrop")) == 3


def test_a_waiting_thread_keeps_its_own_time(settings: dict[str, Any], wechat: ScriptedWeChat) -> None:
    """One thread asks for the token and waits long; another, with less time, does not wait as long as that."""
    tokens = Issued(lambda _api, _deadline: time.sleep(1.5) or ISSUE)  # type: ignore[func-returns-value]
    owner = threading.Thread(target=tokens.get, args=("img.aiCrop", Deadline(5)))
    owner.start()
    time.sleep(0.1)
    with pytest.raises(TimeoutError):
        tokens.get("img.aiCrop", Deadline(0.3))
    assert owner.is_alive()  # so this one has not waited for it
    owner.join()


@pytest.mark.parametrize("end", [CloudError(-604102, "no answer"), KeyboardInterrupt(), TimeoutError()])
def test_a_thread_that_gives_up_does_not_take_the_others_along(end: BaseException) -> None:
    answers: list[Any] = [end, ISSUE]

    def ask(_api: str, _deadline: Deadline) -> Issue:
        answer = answers.pop(0)
        time.sleep(0.3)
        if isinstance(answer, BaseException):
            raise answer
        return cast(Issue, answer)

    tokens = Issued(ask)
    failures: list[BaseException] = []

    def owner() -> None:
        try:
            tokens.get("img.aiCrop", Deadline(5))
        except BaseException as error:  # noqa: BLE001 - an interrupt is one of the cases
            failures.append(error)

    first = threading.Thread(target=owner)
    first.start()
    time.sleep(0.1)
    assert tokens.get("img.aiCrop", Deadline(5)).value == Secret("t")
    first.join()
    assert failures == [end]


def test_a_refused_token_is_not_taken_out_of_the_store_again() -> None:
    """Another thread asks while the refused token is being deleted there: four of 800 calls failed so."""
    stored = ["old"]

    def forget(_refused: Token) -> None:
        other = threading.Thread(target=tokens.get, args=("img.aiCrop", Deadline(5)))
        other.start()
        other.join()
        stored.clear()

    tokens = Issued(lambda *_: Issue(Secret("".join(stored) or "new"), 7200), forget=forget)
    refused = tokens.get("img.aiCrop", Deadline(5))
    assert tokens.renew(refused)
    assert tokens.get("img.aiCrop", Deadline(5)).value == Secret("new")


def test_a_server_that_never_reads(settings: dict[str, Any]) -> None:
    """The deadline holds for what is sent, too."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        base = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        instance = cloud.Cloud(settings, access_token="t", api_base=base, timeout=0.7)
        start = time.monotonic()
        picture = {"contentType": "image/jpeg", "value": bytes(2_000_000)}
        assert failed(lambda: instance.openapi.img.aiCrop(img=picture)).errCode == -604102  # type: ignore[call-overload]
        assert time.monotonic() - start < 3


def test_cookies_are_not_sent_back(settings: dict[str, Any], wechat: ScriptedWeChat) -> None:
    wechat.faults = [http(OK).replace(b"\r\n", b"\r\nSet-Cookie: a=b; Path=/\r\n", 1)]
    call = crop(settings)
    call()
    call()
    assert not [request for request in wechat.requests if "cookie" in request.headers]


def test_the_call_after_an_answer_that_is_too_long(settings: dict[str, Any], wechat: ScriptedWeChat) -> None:
    wechat.faults = [http(b" " * 3_000_000)]
    call = crop(settings)
    assert "over 1 MB" in failed(call).errMsg
    assert call()["errCode"] == 0


def test_through_a_proxy(settings: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A real CONNECT tunnel: the proxy sees the host's name, and neither token nor picture."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    wechat = ScriptedWeChat()
    wechat.tls = context

    def tunnel(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", wechat.port)) as upstream:
            back = threading.Thread(target=_pipe, args=(upstream, connection))
            back.start()
            _pipe(connection, upstream)
            back.join()

    host = f"localhost:{wechat.port}"
    with wechat, RecordingServer(tunnel) as proxy, caplog.at_level(logging.DEBUG):
        base = f"https://{host}"
        instance = cloud.Cloud(settings, api_base=base, proxy=proxy.url, ca_bundle=tmp_path / "ca.pem")
        assert instance.openapi.img.aiCrop(imgUrl=URL)["errCode"] == 0
        wechat.faults = [silence]
        start = time.monotonic()
        short = cloud.Cloud(settings, api_base=base, proxy=proxy.url, ca_bundle=tmp_path / "ca.pem", timeout=0.7)
        assert failed(lambda: short.openapi.img.aiCrop(imgUrl=URL)).errCode == -604102
        assert time.monotonic() - start < 3
        instance.close()
        short.close()
    assert {request.target for request in proxy.requests} == {host}
    assert_no_secret(SECRETS, None, caplog.text, *(request.raw.decode("latin-1") for request in proxy.requests))


def _pipe(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


ECHO = "t0ken-0123456789abcdef"


@pytest.mark.parametrize(
    "answer",
    [
        b"Y" * 140 + ECHO.encode() + b"\r\n\r\n",
        b"Y" * 290 + ECHO.encode() + b"\r\n\r\n",
        http({"errcode": f"bad {ECHO}"}),
        http({"errcode": 40001, "errmsg": {"x": ECHO}}),
        http({"errcode": 40001, "errmsg": f"access_token={ECHO}"}),
        http(b"<p>", content_type=f"text/html; u={ECHO}"),
        http(f"<p>{'x' * 490}{ECHO}".encode()),
        http(f"<a href='/cv?access_token={ECHO}&img_url=https%3A%2F%2Fexample.com%2Fa.jpg%3Fsign%3D5igned'>".encode()),
        http(b"<p>https://example.com/a.jpg?sign=5igned"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + ECHO.encode() + b"\r\n",
    ],
)
def test_an_answer_that_echoes_what_was_sent(
    answer: bytes, settings: dict[str, Any], server: RecordingServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [lambda connection: connection.sendall(answer)]
    with caplog.at_level(logging.DEBUG):
        error = failed(crop(settings, access_token=ECHO, api_base=server.url))
    assert_no_secret(SECRETS, error, caplog.text)


@pytest.mark.parametrize(
    "answer",
    [
        http(b'{"access_token":"' + ECHO.encode() + b'","expires_in":72'),
        http({"access_token": ECHO, "expires_in": 7200}, status="500 X"),
        http({"errcode": 40125, "errmsg": {"x": SECRET}}),
        http(b"<p>secret=" + SECRET.encode()),
    ],
)
def test_a_token_that_is_just_being_issued(
    answer: bytes, settings: dict[str, Any], wechat: ScriptedWeChat, caplog: pytest.LogCaptureFixture
) -> None:
    wechat.token_faults = [answer]
    with caplog.at_level(logging.DEBUG):
        error = failed(crop(settings))
    assert_no_secret(SECRETS, error, caplog.text)
    assert ECHO not in repr(Token("access_token", Secret(ECHO)))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
    ],
)
def test_broken_framing_is_no_network_error(answer: bytes, settings: dict[str, Any], server: RecordingServer) -> None:
    server.answers = [lambda connection: connection.sendall(answer)]
    error = failed(crop(settings, access_token=ECHO, api_base=server.url))
    assert error.errCode == -601001
    assert "HTTP 200" in error.errMsg


@pytest.mark.parametrize("base", ["https://a..b", f"https://{'a' * 64}.b", "https://e .com", "https://a%b"])
def test_addresses_that_are_none(base: str, settings: dict[str, Any]) -> None:
    assert failed(crop(settings, access_token=ECHO, api_base=base)).errCode == -601002


@pytest.mark.parametrize("proxy", ["nonsense", "http://user:passw0rd@", "ftp://x", "http://host:port", "socks5://h:1"])
def test_proxies_that_are_none(proxy: str) -> None:
    error = failed(lambda: cloud.Cloud(proxy=proxy))
    assert error.errCode == -601002
    assert "CLOUDFN_PROXY: got a value (argument), expected http://host:port" in error.errMsg


def test_an_environments_proxy_that_is_none_of_http(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1")
    error = failed(crop(settings, access_token=ECHO, api_base="https://wechat.invalid"))
    assert error.errCode == -601002
    assert "CLOUDFN_PROXY" in error.errMsg
