"""Every form of event, and what the ready-made handler makes of it."""

from __future__ import annotations

import base64
import json
import logging
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import cloudfn as cloud
from cloudfn import CloudError, handler, platforms
from cloudfn.platforms import told
from cloudfn.platforms.base import MAX_BODY, EventForm, HttpForm
from tests.support import events
from tests.support.events import FORMS, Sent, call, multipart, sample
from tests.support.recording import RecordingServer, http

SIZE = {"w": 451, "h": 300}


@pytest.fixture
def local(permitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDFN_BACKEND", "local")


@pytest.fixture
def wechat(permitted: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch) -> RecordingServer:
    monkeypatch.setenv("CLOUDFN_BACKEND", "wechat")
    monkeypatch.setenv("CLOUDFN_API_BASE", server.url)
    return server


@pytest.fixture
def picture(photo: Any) -> bytes:
    data: bytes = photo("chelsea.jpg").read_bytes()
    return data


# ---- recognising


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("aws-rest-v1", "AWS REST API v1"),
        ("aws-http-v2", "AWS Function URL / HTTP API v2"),
        ("aws-function-url", "AWS Function URL / HTTP API v2"),
        ("aws-alb", "AWS ALB"),
        ("aws-s3", "S3"),
        ("aws-cloudfront", "Lambda@Edge (CloudFront)"),
        ("scf-function-url", "SCF Function URL"),
        ("scf-api-gateway", "SCF API gateway"),
        ("scf-api-gateway-captured", "SCF API gateway"),
        ("scf-timer-captured", "SCF timer"),
        ("scf-cos", "Tencent COS"),
        ("cloudbase-http-access", "CloudBase HTTP access"),
        ("fc-http-trigger", "FC HTTP trigger"),
        ("fc-api-gateway", "FC API gateway"),
        ("huawei-apig", "Huawei APIG"),
    ],
)
def test_the_vendors_samples_are_recognised(name: str, form: str) -> None:
    for event in (sample(name), json.dumps(sample(name)).encode()):
        assert platforms.recognise(event).name == form


def test_every_sample_is_recognised_and_named() -> None:
    stored = {path.stem for path in events.FOLDER.glob("*.json")}
    described = (events.FOLDER / "README.md").read_text()
    assert not [name for name in stored if f"`{name}.json`" not in described]
    direct = [name for name in stored if platforms.recognise(sample(name)).name == "direct"]
    assert direct == []


@pytest.mark.parametrize(
    "event",
    [
        {"imgUrl": "https://example.com/a.jpg", "version": "2.0"},
        {"path": "/a", "body": "b", "version": "v1"},
        {"httpMethod": "GET", "path": "/", "headers": {}},
        {"requestContext": {"http": "no"}, "version": "2.0"},
        {"requestContext": None, "httpMethod": "POST"},
        {"Type": "Timer"},
        {"Records": []},
        {"events": [{"name": "party"}]},
        {"wsgi.input": "", "REQUEST_METHOD": "GET"},
        {},
        [],
        None,
        5,
        b"\xff\xd8\xff",
        "text",
    ],
)
def test_a_direct_event_stays_direct(event: Any) -> None:
    form = platforms.recognise(event, {"time_limit_in_ms": 3000})
    assert isinstance(form, EventForm)
    assert (form.name, form.data()) == ("direct", event)


def test_bytes_are_json_where_they_can_be() -> None:
    assert platforms.recognise(b'{"a": 1}').event == {"a": 1}


@pytest.mark.parametrize(
    ("name", "word"), [("aws-s3", "S3"), ("aws-cloudfront", "Lambda@Edge"), ("scf-cos", "Tencent COS")]
)
def test_storage_and_edge_events_are_refused_by_name(
    name: str, word: str, local: None, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(CloudError) as raised:
        handler.main(sample(name))
    assert raised.value.errCode == -401002
    assert f"an event of {word}" in raised.value.errMsg
    assert "a function of your own" in raised.value.errMsg
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert f"an event of {word}" in record.getMessage()
    assert record.getMessage().count("a function of your own") == 1


def test_other_records(local: None) -> None:
    for record in ({"messageId": "1", "eventSource": "aws:new"}, {"a": "b"}):
        queue: dict[str, Any] = {"Records": [record]}
        with pytest.raises(CloudError, match=r"an event of records of (aws:new|records) is no cloud call"):
            handler.main(queue)


# ---- every HTTP form, there and back


@pytest.mark.parametrize("form", FORMS)
def test_json(form: str, local: None, picture: bytes) -> None:
    value = base64.b64encode(picture).decode()
    body = json.dumps({"img": {"contentType": "image/jpeg", "value": value}, "ratios": "1,2.35"}).encode()
    answer = call(handler.main, form, Sent(body, "application/json; charset=utf-8"))
    assert (answer.status, answer.content_type) == (200, "application/json; charset=utf-8")
    assert (answer.json["imgSize"], len(answer.json["results"]), answer.json["errCode"]) == (SIZE, 2, 0)


@pytest.mark.parametrize("form", FORMS)
def test_multipart(form: str, local: None, picture: bytes) -> None:
    answer = call(handler.main, form, Sent(*multipart(picture, ratios="16:9")))
    assert (answer.status, answer.json["imgSize"], len(answer.json["results"])) == (200, SIZE, 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("content_type", ["image/jpeg", "application/octet-stream"])
def test_a_picture_as_the_whole_body(form: str, content_type: str, local: None, picture: bytes) -> None:
    answer = call(handler.main, form, Sent(picture, content_type, {"ratios": "1,2.35"}))
    assert (answer.status, answer.json["imgSize"], len(answer.json["results"])) == (200, SIZE, 2)


@pytest.mark.parametrize("form", FORMS)
def test_get_with_a_url(form: str, local: None, picture: bytes, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDFN_ALLOW_HOSTS", "127.0.0.1")
    server.answers = [http(picture, content_type="image/jpeg")]
    url = f"{server.url}/a%20b.jpg?x=1&y=%E5%9B%BE"
    answer = call(handler.main, form, Sent(query={"imgUrl": url, "ratios": "1,2.35"}, method="GET"))
    assert (answer.status, answer.json.get("imgSize"), len(answer.json["results"])) == (200, SIZE, 2)
    assert server.requests[0].target == "/a%20b.jpg?x=1&y=%E5%9B%BE"


@pytest.mark.parametrize("form", FORMS)
def test_a_picture_as_the_answer(form: str, picture: bytes) -> None:
    @cloud.function
    def echo(event: Any, context: Any) -> Any:
        return event["img"]["value"]

    answer = call(echo, form, Sent(*multipart(picture)))
    assert (answer.status, answer.content_type, answer.body == picture) == (200, "image/jpeg", True)


@pytest.mark.parametrize("form", FORMS)
def test_a_failure_is_an_answer(form: str, local: None, permitted: Path) -> None:
    refused = call(handler.main, form, Sent(b'{"imgUrl": "file:///etc/passwd"}', "application/json"))
    assert (refused.status, refused.json["errCode"], set(refused.json)) == (400, -401002, {"errCode", "errMsg"})
    (permitted / "config.json").unlink()
    denied = call(handler.make_main(raise_errors=True), form, Sent(b"{}", "application/json"))
    assert (denied.status, denied.json["errCode"]) == (403, -604101)


@pytest.mark.parametrize("form", FORMS)
def test_a_probe_gets_an_answer(form: str, permitted: Path) -> None:
    (permitted / "config.json").unlink()
    answer = call(handler.main, form, Sent(method="GET"))
    assert (answer.status, answer.json) == (200, {"errCode": 0, "errMsg": "ok"})


def test_the_load_balancers_probe_does_not_run_the_function() -> None:
    @cloud.function
    def never(event: Any, context: Any) -> Any:
        raise AssertionError

    assert call(never, "alb", Sent(method="GET", headers={"user-agent": "ELB-HealthChecker/2.0"})).status == 200
    assert call(never, "alb", Sent(method="GET")).status == 500


def test_the_load_balancer_gets_headers_in_the_form_it_sent() -> None:
    for form, there, absent in (
        ("alb", "headers", "multiValueHeaders"),
        ("alb_multi", "multiValueHeaders", "headers"),
    ):
        reply = handler.main(FORMS[form](Sent(method="GET")))
        assert there in reply
        assert absent not in reply
        assert reply["statusDescription"] == "200 OK"


# ---- what is wrong with a body


@pytest.mark.parametrize("form", sorted(set(FORMS) - {"environ", "scf_url", "azure", "lattice_v1", "clb"}))
def test_a_flag_that_lies(form: str, local: None) -> None:
    event = FORMS[form](Sent(b"Hello world!", "text/plain"))
    is_bytes = isinstance(event, bytes)
    event = json.loads(event) if is_bytes else event
    event |= {"body": "Hello world!", "isBase64Encoded": True}
    answer = events.seen(handler.main(json.dumps(event).encode() if is_bytes else event))
    assert (answer.status, answer.json["errCode"]) == (400, -401002)
    assert "isBase64Encoded is true, but the body of 12 characters is not base64" in answer.json["errMsg"]


def test_the_vendors_own_lie(local: None) -> None:
    answer = events.seen(handler.main(sample("aws-http-v2")))
    assert (answer.status, answer.json["errCode"]) == (400, -401002)


def test_a_binary_body_that_the_gateway_destroyed(local: None, picture: bytes) -> None:
    event = FORMS["rest_v1"](Sent(picture, "image/jpeg"))
    event |= {"body": picture.decode("utf-8", "replace"), "isBase64Encoded": False}
    answer = events.seen(handler.main(event))
    assert answer.status == 400
    assert "binaryMediaTypes" in answer.json["errMsg"]


MULTIPART = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="ratios"\r\n\r\n1\r\n'


@pytest.mark.parametrize(
    ("body", "content_type", "said"),
    [
        (b'{"a": }', "application/json", "not JSON (line 1, column 7"),
        (b"\xff\xfe{", "application/json", "not JSON in UTF-8"),
        (b"[" * 100_000, "application/json", "not JSON"),
        (b"[1]", "application/json", "a list"),
        (b"<a/>", "application/xml", "the body is application/xml"),
        (b"hello", "", "of no declared type"),
        (PART + b"--b--\r\n", "multipart/form-data", "without a boundary"),
        (PART, MULTIPART, "has no end"),
        (b"x", MULTIPART, "has no end"),
        (PART * 33 + b"--b--", MULTIPART, "more than 32 parts"),
        (b"--b\r\nA: b\r\n\r\n1\r\n--b--", MULTIPART, "no name"),
        (b"--b\r\nA: b\r\n--b--", MULTIPART, "no headers"),
        (b"--b\r\nA: " + b"b" * 9000 + b"\r\n\r\n1\r\n--b--", MULTIPART, "no headers"),
        (b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--b--', MULTIPART, "is binary"),
        (b"&".join(b"a=b" for _ in range(40)), "application/x-www-form-urlencoded", "no form"),
    ],
)
def test_a_body_that_cannot_be_read(body: bytes, content_type: str, said: str, local: None) -> None:
    answer = call(handler.main, "environ", Sent(body, content_type))
    assert (answer.status, answer.json["errCode"] in (-401002, -401003)) == (400, True)
    assert said in answer.json["errMsg"]


def test_bodies_that_say_little_of_themselves() -> None:
    got: list[Any] = []

    @cloud.function
    def keep(event: Any, context: Any) -> None:
        got.append(event)

    for content_type in ("", "text/plain", "application/x-www-form-urlencoded", "application/vnd.api+json", "\ud800"):
        assert call(keep, "environ", Sent(b' {"a": "\xe5\x9b\xbe"}', content_type, {"a": "q", "b": "2"})).status == 200
    assert call(keep, "environ", Sent(b"a=1%202&b=", "application/x-www-form-urlencoded")).status == 200
    assert got == [{"a": "图", "b": "2"}] * 5 + [{"a": "1 2", "b": ""}]
    assert call(keep, "environ", Sent(b"{}", "application/json", headers={"content-encoding": "gzip"})).status == 400


def test_a_file_in_a_form_keeps_its_bytes_and_name() -> None:
    boundary = events.BOUNDARY.encode()
    tricky = b"\r\n--" + boundary[:-1] + b"\r\n\r\n\x00--\r\n--" + boundary + b"X\r\n"

    @cloud.function
    def keep(event: Any, context: Any) -> Any:
        assert event["img"] == {"contentType": "image/png", "value": tricky, "fileName": 'a "b".jpg'}
        return event["note"]

    body, content_type = multipart(tricky, "image/png", note="图")
    body = body.replace(b"a b.jpg", b"a %22b%22.jpg")  # as browsers write a quote
    answer = call(keep, "environ", Sent(body, content_type))
    assert (answer.status, answer.content_type, answer.body.decode()) == (200, "text/plain; charset=utf-8", "图")


def test_a_body_that_is_too_large(local: None) -> None:
    event = events.environ(Sent(b"x", "image/jpeg")) | {"CONTENT_LENGTH": str(MAX_BODY + 1)}
    started: list[str] = []
    body = b"".join(handler.main(event, lambda status, headers: started.append(status)))
    assert started == ["413 Request Entity Too Large"] or started == ["413 Content Too Large"]
    assert json.loads(body)["errCode"] == 45001
    event = events.environ(Sent(b"x")) | {"CONTENT_LENGTH": "many"}
    assert json.loads(b"".join(handler.main(event, lambda *_: None)))["errCode"] == -401002


def test_a_chunked_body_of_a_server_that_knows_its_end(local: None, picture: bytes) -> None:
    event = events.environ(Sent(picture, "image/jpeg")) | {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}
    assert json.loads(b"".join(handler.main(event, lambda *_: None)))["imgSize"] == SIZE


def test_an_address_that_is_not_percent_encoded_is_utf_8() -> None:
    """As curl sends it; PEP 3333 makes a character of each byte."""
    seen: list[Any] = []
    keep = handler.function(lambda event, context: seen.append((event, context.request.path)))
    for raw, read in (("图".encode().decode("latin-1"), "图"), ("\xff", "\ufffd"), ("%E5%9B%BE", "图")):
        keep(
            events.environ(Sent(method="GET"))
            | {"PATH_INFO": "/图".encode().decode("latin-1"), "QUERY_STRING": f"name={raw}"},
            lambda *_: None,
        )
        assert seen.pop() == ({"name": read}, "/图")


@pytest.mark.parametrize("context", ["text", ["a"], 5])
def test_an_event_whose_request_context_is_anything_is_no_fault(context: Any, permitted: Path) -> None:
    event = {"httpMethod": "GET", "path": "/", "headers": {}, "queryString": {}, "requestContext": context}
    assert handler.main(event)["errCode"] == -401002


@pytest.mark.parametrize(
    "event",
    [
        {"headers": {"X-Method": "GET", "X-Uri": "//[a?name=1"}, "payload": ""},
        {"method": "GET", "raw_path": "//[a?name=1", "headers": {}},
        {"version": "2.0", "requestContext": {"http": {"method": "GET"}}, "rawPath": "//[a", "rawQueryString": "name=1",
         "cookies": 5},
    ],
)  # fmt: skip
def test_an_odd_address_reaches_the_function(event: Any) -> None:
    seen: list[Any] = []
    handler.function(lambda event, context: seen.append((event, context.request.path)))(event)
    assert seen == [({"name": "1"}, "//[a")]


def test_head_has_no_body(local: None) -> None:
    headers: list[Any] = []
    event = events.environ(Sent(method="HEAD"))
    assert handler.main(event, lambda _, given: headers.extend(given)) == [b""]
    assert ("Content-Length", "30") in headers


# ---- status


@pytest.mark.parametrize(
    ("errcode", "status"),
    [
        (0, 200),
        (-1, 502),
        (40001, 502),
        (41005, 400),
        (45009, 429),
        (45011, 429),
        (48001, 403),
        (101000, 400),
        (101002, 400),
        (45001, 413),
        (87014, 502),
    ],
)
def test_the_status_of_wechats_codes(
    errcode: int, status: int, wechat: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WX_ACCESS_TOKEN", "t0ken-0123456789")
    wechat.answers = [http({"errcode": errcode, "errmsg": "words"})]
    answer = call(handler.main, "http_v2", Sent(b'{"imgUrl": "https://example.com/a.jpg"}', "application/json"))
    assert (answer.status, answer.json["errCode"]) == (status, errcode)


def test_the_status_of_our_own_failures(wechat: RecordingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    good = Sent(b'{"imgUrl": "https://example.com/a.jpg"}', "application/json")
    assert call(handler.main, "http_v2", good).status == 500  # 41001: no credentials
    monkeypatch.setenv("WX_ACCESS_TOKEN", "t0ken-0123456789")
    wechat.answers = [http(b"<html>", content_type="text/html", status="502 Bad Gateway")]
    assert call(handler.main, "http_v2", good).status == 502
    huge = Sent(b"\xff\xd8\xff" + bytes(2 * 1024 * 1024), "image/jpeg")
    assert call(handler.main, "http_v2", huge).status == 413
    monkeypatch.setenv("CLOUDFN_API_BASE", "http://127.0.0.1:9")
    assert call(handler.main, "http_v2", good).status == 502
    monkeypatch.setenv("CLOUDFN_TIMEOUT", "soon")
    assert call(handler.main, "http_v2", good).status == 500


def test_a_picture_of_too_many_pixels(local: None, picture: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDFN_MAX_JPEG_MEGAPIXELS", "0.01")
    assert call(handler.main, "http_v2", Sent(picture, "image/jpeg")).status == 413


# ---- timer, CloudEvent


def test_a_timer_brings_its_message(local: None, picture: bytes) -> None:
    value = base64.b64encode(picture).decode()
    message = json.dumps({"img": {"contentType": "image/jpeg", "value": value}})
    assert handler.main(sample("scf-timer-captured") | {"Message": message})["imgSize"] == SIZE
    with pytest.raises(CloudError, match="the message of the SCF timer holds no cloud call"):
        handler.main(sample("scf-timer-captured"))


def test_a_structured_cloud_event_brings_its_data(local: None) -> None:
    event = {"specversion": "1.0", "type": "t", "source": "s", "id": "1", "data": {"ratioList": "1"}}
    with pytest.raises(CloudError, match="expected `ratios`"):
        handler.main(event)


# ---- time


@pytest.mark.parametrize(
    ("context", "seconds"),
    [
        (SimpleNamespace(get_remaining_time_in_millis=lambda: 3000), 3),
        ({"time_limit_in_ms": 5000}, 5),
        (SimpleNamespace(function=SimpleNamespace(timeout=7)), 7),
        (SimpleNamespace(getRemainingTimeInMilliSeconds=lambda: 2500), 2.5),
        ({"time_limit_in_ms": True}, None),
        (object(), None),
        (None, None),
    ],
)
def test_the_time_that_a_platform_tells(context: Any, seconds: float | None) -> None:
    assert told.seconds_left(platforms.recognise({}, context)) == seconds


def test_api_gateway_waits_29_seconds() -> None:
    for left, seconds in ((900_000, 29), (1000, 1)):
        context = SimpleNamespace(get_remaining_time_in_millis=lambda left=left: left)
        assert told.seconds_left(platforms.recognise(sample("aws-rest-v1"), context)) == seconds


def test_a_call_ends_before_the_platform_does(wechat: RecordingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WX_ACCESS_TOKEN", "t0ken-0123456789")
    wechat.answers = [lambda connection: connection.recv(1)]  # silence
    sent = Sent(b'{"imgUrl": "https://example.com/a.jpg"}', "application/json")
    answer = call(handler.main, "http_v2", sent, SimpleNamespace(get_remaining_time_in_millis=lambda: 2000))
    assert (answer.status, answer.json["errCode"]) == (504, -604102)
    assert "within 1." in answer.json["errMsg"]


def test_no_time_is_left(wechat: RecordingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WX_ACCESS_TOKEN", "t0ken-0123456789")

    @cloud.function
    def slow(event: Any, context: Any) -> Any:
        time.sleep(0.06)
        return cloud.Cloud().openapi.img.aiCrop({"imgUrl": "https://example.com/a.jpg"})

    answer = slow({}, {"time_limit_in_ms": 50})
    assert answer["errCode"] == -604102
    assert "raise the function's own time limit" in answer["errMsg"]
    assert wechat.requests == []


# ---- CloudRun's headers

TOKEN = "cl0udbase-t0ken-of-this-request"
FROM_WECHAT = {
    "x-wx-source": "wx_client",
    "x-wx-openid": "o1",
    "x-wx-appid": "wx1",
    "x-wx-from-openid": "o2",
    "x-wx-cloudbase-access-token": TOKEN,
}
CALL = Sent(b'{"imgUrl": "https://example.com/a.jpg"}', "application/json", headers=FROM_WECHAT)


def test_cloudruns_token_is_used_for_its_request_only(
    wechat: RecordingServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("CBR_ENV_ID", "env")
    assert call(handler.main, "environ", CALL).status == 200
    assert ("cloudbase_access_token", TOKEN) in wechat.requests[0].query
    answer = call(handler.main, "environ", CALL._replace(headers={"x-wx-source": "wx_client"}))
    assert (answer.status, answer.json["errCode"]) == (500, 41001)
    wechat.answers = [http({"errcode": 40001, "errmsg": f"invalid {TOKEN}"})]
    refused = call(handler.main, "environ", CALL)
    assert (refused.status, refused.json["errCode"]) == (502, 40001)
    assert len(wechat.requests) == 2
    assert TOKEN not in caplog.text + refused.body.decode()


@pytest.mark.parametrize("missing", ["CBR_ENV_ID", "x-wx-source"])
def test_headers_are_not_trusted_elsewhere(
    missing: str, wechat: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing != "CBR_ENV_ID":
        monkeypatch.setenv("CBR_ENV_ID", "env")
    headers = {name: value for name, value in FROM_WECHAT.items() if name != missing}

    @cloud.function
    def who(event: Any, context: Any) -> Any:
        return [cloud.get_wx_context(), dict(context.caller), TOKEN in str(context.request.headers)]

    assert call(who, "environ", CALL._replace(headers=headers)).json == [{}, {}, False]
    assert call(handler.main, "environ", CALL._replace(headers=headers)).json["errCode"] == 41001
    assert wechat.requests == []


def test_the_caller_of_a_cloudrun_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CBR_ENV_ID", "env")

    @cloud.function
    def who(event: Any, context: Any) -> Any:
        assert cloud.get_wx_context() == context.caller
        assert TOKEN not in f"{context!r} {context.request.headers}"
        return cloud.get_wx_context()

    told = call(who, "environ", CALL).json
    assert told == {"OPENID": "o1", "APPID": "wx1", "FROM_OPENID": "o2", "SOURCE": "wx_client"}
    assert cloud.get_wx_context() == {}


def test_a_token_that_is_set_counts_before_the_requests(
    wechat: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CBR_ENV_ID", "env")
    monkeypatch.setenv("WX_ACCESS_TOKEN", "t0ken-0123456789")
    assert call(handler.main, "environ", CALL).status == 200
    monkeypatch.delenv("WX_ACCESS_TOKEN")
    assert call(handler.make_main(access_token="t0ken-argument-0"), "environ", CALL).status == 200
    monkeypatch.setenv("WX_APPID", "wx0")
    monkeypatch.setenv("WX_APPSECRET", "5ecret-0123")
    assert call(handler.main, "environ", CALL).status == 200  # before a token that would have to be fetched
    assert [request.query[0] for request in wechat.requests] == [
        ("access_token", "t0ken-0123456789"),
        ("access_token", "t0ken-argument-0"),
        ("cloudbase_access_token", TOKEN),
    ]


def test_a_request_shows_no_headers() -> None:
    form = platforms.recognise(events.environ(CALL), print)
    assert isinstance(form, HttpForm)
    assert TOKEN not in repr(form.read())
    assert TOKEN not in repr(form.read().headers)


def test_a_direct_failure_is_raised_if_made_so() -> None:
    with pytest.raises(CloudError):
        handler.make_main(raise_errors=True)(sample("aws-s3"))


@pytest.mark.parametrize(
    ("form", "context", "found"),
    [
        ("http_v2", SimpleNamespace(aws_request_id="id-1"), "id-1"),
        ("http_v2", {"request_id": "id-2"}, "id-2"),
        ("http_v2", SimpleNamespace(request_id="id-3"), "id-3"),
        ("http_v2", SimpleNamespace(getRequestID=lambda: "id-4"), "id-4"),
        ("http_v2", SimpleNamespace(invocation_id="id-5"), "id-5"),
        ("cloudbase", None, "from-the-event"),
        ("environ", None, "from-a-header"),
    ],
)
def test_one_id_a_call(
    form: str,
    context: Any,
    found: str,
    wechat: RecordingServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("WX_ACCESS_TOKEN", "t0ken-0123456789")
    caplog.set_level(logging.INFO, "cloudfn")
    wechat.answers = [http({"errcode": 45009, "errmsg": "no more rid: 6a-7b-8c"})]
    sent = Sent(
        b'{"imgUrl": "https://example.com/a.jpg"}', "application/json", headers={"x-request-id": "from-a-header"}
    )
    if form == "cloudbase":
        event = FORMS[form](sent)
        event["requestContext"]["requestId"] = "from-the-event"
        handler.main(event, None)
    else:
        call(handler.main, form, sent, context)
    (record,) = [record for record in caplog.records if hasattr(record, "rid")]
    assert (record.request_id, record.rid) == (found, "6a-7b-8c")  # type: ignore[attr-defined]
    assert found in record.getMessage()


def test_an_id_is_one_line() -> None:
    assert told.request_id(platforms.recognise({}, {"request_id": "a\nb"}), {}) == ""
    assert len(told.request_id(platforms.recognise({}, {"request_id": "a" * 9999}), {})) == 200


def test_an_id_of_the_caller_is_not_the_platforms() -> None:
    assert told.request_id(platforms.recognise({"id": "order 5"}), {}) == ""
    assert told.request_id(platforms.recognise({"detail-type": "t", "detail": {}, "id": "6a7b"}), {}) == "6a7b"


def test_a_raised_limit_of_a_trigger(monkeypatch: pytest.MonkeyPatch) -> None:
    @cloud.function
    def left(event: Any, context: Any) -> Any:
        from cloudfn import invocation

        current = invocation.current().left
        return round(current()) if current else None

    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 120_000)
    assert call(left, "rest_v1", Sent(method="GET"), context).json in (28, 29)
    monkeypatch.setenv("CLOUDFN_TRIGGER_SECONDS", "60")
    assert call(left, "rest_v1", Sent(method="GET"), context).json in (59, 60)
