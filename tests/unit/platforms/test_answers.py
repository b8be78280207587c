"""What a function returns goes out whole, on every form, or is refused with a reason."""

from __future__ import annotations

import base64
import gzip
from typing import Any
from wsgiref.validate import validator

import pytest

import cloudfn as cloud
from cloudfn import handler
from tests.support import events
from tests.support.events import FORMS, Sent, call


def returning(result: Any) -> Any:
    @cloud.function
    def returns(event: Any, context: Any) -> Any:
        return result

    return returns


def headers_sent(form: str, result: Any, sent: Sent = Sent(method="GET")) -> list[tuple[str, str]]:  # noqa: B008
    """Return the headers of an answer as the client of that platform sees them: names in lower case, sorted."""
    started: list[Any] = []
    reply = returning(result)(FORMS[form](sent), lambda status, headers: started.extend(headers))
    if form == "environ":
        pairs = started
    elif form == "azure":
        pairs = list(reply.headers.items())
    else:
        pairs = [("Set-Cookie", cookie) for cookie in reply.get("cookies", ())]
        for given in (reply.get("headers", {}), reply.get("multiValueHeaders", {})):
            for name, value in given.items():
                pairs += [(name, one) for one in (value if isinstance(value, list) else [value])]
    return sorted((name.lower(), value) for name, value in pairs)


ONE_COOKIE = {"fc_trigger", "fc_gateway", "huawei", "lattice_v1", "lattice_v2"}  # forms that carry one value a name


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "result",
    [
        {"statusCode": 200, "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"]}, "headers": {"set-cookie": "c=3"}},
        {"statusCode": 200, "headers": {"Set-Cookie": ["a=1", "b=2"]}},
        {"statusCode": 200, "cookies": ["a=1", "b=2"]},
    ],
)
def test_several_cookies(form: str, result: Any) -> None:
    if form in ONE_COOKIE:
        answer = call(returning(result), form, Sent(method="GET"))
        assert (answer.status, answer.json["errCode"]) == (500, -504002)
        assert "2 cookies are set" in answer.json["errMsg"]
        return
    got = headers_sent(form, result)
    assert [value for name, value in got if name == "set-cookie"] == ["a=1", "b=2"]


@pytest.mark.parametrize("form", FORMS)
def test_several_values_of_another_header(form: str) -> None:
    got = headers_sent(form, {"statusCode": 200, "headers": {"Link": ["<a>", b"<b>"], "X-Number": 5, "X-None": None}})
    assert ", ".join(value for name, value in got if name == "link") == "<a>, <b>"
    assert ("x-number", "5") in got
    assert "x-none" not in dict(got)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("result", "status", "body"),
    [
        ({"statusCode": "201", "body": "made"}, 201, b"made"),
        ({"statusCode": 200.0, "body": ""}, 200, b""),
        ({"statusCode": 204}, 204, b""),
        ({"statusCode": 204, "body": "x", "headers": {"Content-Type": "text/plain"}}, 204, b""),
        ({"statusCode": 200, "headers": {"Content-Type": "text/plain"}, "body": b"\xe9t\xe9"}, 200, b"\xe9t\xe9"),
        (
            {
                "statusCode": 200,
                "headers": {"Content-Type": "application/json", "Content-Encoding": "gzip"},
                "body": base64.b64encode(gzip.compress(b"{}", mtime=0)).decode(),
                "isBase64Encoded": True,
            },
            200,
            gzip.compress(b"{}", mtime=0),
        ),
        ({"statusCode": 200, "body": "/9g=", "isBase64Encoded": "true"}, 200, b"\xff\xd8"),
        ({"statusCode": 200, "body": memoryview(b"\x89PNG\r\n\x1a\n")}, 200, b"\x89PNG\r\n\x1a\n"),
        ({"statusCode": 200, "body": None, "headers": None}, 200, b""),
        ({"statusCode": 200, "headers": {"Content-Length": "99", "Connection": "close"}, "body": "x"}, 200, b"x"),
    ],
)
def test_what_goes_out_whole(form: str, result: Any, status: int, body: bytes) -> None:
    answer = call(returning(result), form, Sent(method="GET"))
    assert (answer.status, answer.body) == (status, body)
    if status == 204:
        assert not answer.content_type


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("result", "said"),
    [
        (
            {"statusCode": 200, "headers": {"X-A": "a\r\nSet-Cookie: s3cret"}},
            "the header 'X-A' holds what",
        ),
        ({"statusCode": 200, "headers": {"X-A": "图"}}, "the header 'X-A'"),
        ({"statusCode": 200, "headers": {"X A": "1"}}, "the header 'X A'"),
        ({"statusCode": 200, "headers": [1]}, "headers are a list"),
        ({"statusCode": 200, "cookies": "a=1; Path=/"}, "cookies are a str; return a list of them"),
        ({"statusCode": 20}, "is no HTTP status"),
        ({"statusCode": True}, "is no HTTP status"),
        ({"statusCode": "ok"}, "is no HTTP status"),
        ({"statusCode": None}, "is no HTTP status"),
        ({"statusCode": 200, "body": "?", "isBase64Encoded": True}, "the body is not base64"),
        ({"picture": b"s3cret"}, "Object of type bytes is not JSON serializable"),
        ("\ud800", "half of a surrogate pair"),
    ],
)
def test_what_cannot_go_out_is_an_answer(form: str, result: Any, said: str) -> None:
    answer = call(returning(result), form, Sent(method="GET"))
    assert (answer.status, answer.json["errCode"]) == (500, -504002)
    assert said in answer.json["errMsg"]
    assert b"s3cret" not in answer.body


def test_a_wsgi_server_finds_no_fault() -> None:
    import io
    import sys

    environ = events.environ(Sent(method="GET")) | {
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SCRIPT_NAME": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": "0",
    }
    for result in ({"statusCode": 204}, {"statusCode": 304, "headers": {"ETag": '"1"'}}, "text", {"a": 1}):
        environ["wsgi.input"] = io.BytesIO()
        answer = validator(returning(result))(dict(environ), lambda status, headers, exc_info=None: lambda data: None)
        list(answer)
        answer.close()  # type: ignore[attr-defined]


def test_bytes_of_a_direct_invocation() -> None:
    png = b"\x89PNG\r\n\x1a\n\xff"
    assert returning(png)({}) == {"contentType": "image/png", "value": base64.b64encode(png).decode()}
    assert returning(memoryview(b"\x00"))({})["contentType"] == "application/octet-stream"
    itself: list[Any] = []
    itself.append(itself)
    for result, reason in (
        ({"a": b"x"}, "Object of type bytes is not JSON serializable"),
        (object(), "Object of type object is not JSON serializable"),
        ({1: {2}}, "Object of type set is not JSON serializable"),
        (float("nan"), "it has a NaN or an infinity, or contains itself"),
        (itself, "it has a NaN or an infinity, or contains itself"),
        ("\ud800", "a text has half of a surrogate pair"),
    ):
        answer = returning(result)({})
        assert answer["errCode"] == -504002
        assert f"what the function returned is no JSON ({reason})" in answer["errMsg"]


# ---- what comes in


@cloud.function
def tell(event: Any, context: Any) -> Any:
    """Say what came, all values of it."""
    request = context.request
    return {
        "a": request.query.getlist("a"),
        "none": request.query.getlist("none"),
        "x": request.headers.getlist("X-Many"),
        "cookie": request.headers.get("Cookie"),
        "event": event.get("a"),
    }


def test_repeated_names_keep_all_values() -> None:
    event = events.rest_v1(Sent(method="GET"))
    event["queryStringParameters"] = {"a": "2"}
    event["multiValueQueryStringParameters"] = {"a": ["1", "2"]}
    event["multiValueHeaders"] = {"x-many": ["p", "q"]}
    event["headers"] = {"X-Many": "q"}
    told = {"a": ["1", "2"], "none": [], "x": ["p", "q"], "cookie": None, "event": "2"}
    assert events.seen(tell(event)).json == told
    del event["resource"]
    assert events.seen(tell(event)).json == told
    event = events.alb_multi(Sent(method="GET")) | {
        "multiValueQueryStringParameters": {"a": ["%31", "2"]},
        "multiValueHeaders": {"x-many": ["p", "q"]},
    }
    assert events.seen(tell(event)).json == told
    event = events.http_v2(Sent(method="GET"))
    event |= {"rawQueryString": "a=1&a=2", "cookies": ["c=1", "d=2"]}
    assert events.seen(tell(event)).json == told | {"x": [], "cookie": "c=1; d=2"}
    event = events.lattice_v2(Sent(method="GET")) | {"queryStringParameters": {"a": ["1", "2"]}}
    event["headers"] = {"x-many": ["p", "q"]}
    assert events.seen(tell(event)).json == told
    environ = events.environ(Sent(method="GET")) | {"QUERY_STRING": "a=1&a=2", "HTTP_X_MANY": "p, q"}
    body = b"".join(tell(environ, lambda *_: None))
    assert b'"a": ["1", "2"]' in body


@pytest.mark.parametrize("form", FORMS)
def test_options(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    preflight = Sent(
        method="OPTIONS",
        headers={
            "origin": "https://shop.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type, x-a",
        },
    )
    assert call(handler.main, form, preflight).status == 204
    assert headers_sent(form, None, preflight) == sorted([("allow", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")])
    monkeypatch.setenv("CLOUDFN_CORS", "https://shop.example, https://other.example")
    got = dict(headers_sent(form, None, preflight))
    assert got["access-control-allow-origin"] == "https://shop.example"
    assert got["access-control-allow-headers"] == "content-type, x-a"
    assert "POST" in got["access-control-allow-methods"]
    assert got["vary"] == "Origin"
    foreign = preflight._replace(headers={**preflight.headers, "origin": "https://evil.example"})
    assert "access-control-allow-origin" not in dict(headers_sent(form, None, foreign))
    page = Sent(method="GET", headers={"origin": "https://shop.example"})
    assert dict(headers_sent(form, {"a": 1}, page))["access-control-allow-origin"] == "https://shop.example"
    monkeypatch.setenv("CLOUDFN_CORS", "*")
    assert dict(headers_sent(form, {"a": 1}, page))["access-control-allow-origin"] == "*"
    own = {"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "https://mine.example"}}
    assert dict(headers_sent(form, own, page))["access-control-allow-origin"] == "https://mine.example"


def test_a_bad_origin_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDFN_CORS", "shop.example/path")
    answer = call(returning(1), "http_v2", Sent(method="GET", headers={"origin": "https://shop.example"}))
    assert (answer.status, answer.json["errCode"]) == (500, -601002)
    assert "CLOUDFN_CORS" in answer.json["errMsg"]
