"""`cloud.function`: one function of a user's own, called as every platform calls it."""

from __future__ import annotations

import inspect
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import cloudfn as cloud
from cloudfn import handler
from tests.support import events
from tests.support.events import FORMS, Sent, call, sample


@cloud.function
def echo(event: Any, context: Any) -> Any:
    """Says what it got."""
    return {"event": event, "form": context.form, "method": context.request.method if context.request else None}


@cloud.function(raise_errors=True)
def strict(event: Any, context: Any) -> Any:
    raise ZeroDivisionError("a s3cret in it")


@cloud.function
def broken(event: Any, context: Any) -> Any:
    raise ZeroDivisionError("a s3cret in it")


@pytest.mark.parametrize("form", FORMS)
def test_the_event_is_the_same_everywhere(form: str) -> None:
    told = call(echo, form, Sent(b'{"a": [1]}', "application/json", {"b": "2,3"}, "PUT")).json
    assert (told["event"], told["method"]) == ({"a": [1], "b": "2,3"}, "PUT")
    assert told["form"] == call(echo, form, Sent(method="GET")).json["form"]


def test_a_direct_event_comes_as_it_is() -> None:
    for event in ({"a": 1, "path": "/"}, [1], None, 5):
        assert echo(event, object())["event"] == event
        assert echo(json.dumps(event).encode(), object())["event"] == event
    assert echo(sample("scf-timer-captured"))["event"]["Message"] == "argument"


@pytest.mark.parametrize("form", ["direct", "scf_url", "cloudbase"])
def test_the_caller_is_the_one_that_getwxcontext_gives(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WX_CONTEXT_KEYS", "WX_OPENID,WX_API_TOKEN")
    monkeypatch.setenv("WX_OPENID", "o-123")
    monkeypatch.setenv("WX_API_TOKEN", "t0ken")
    seen: list[Any] = []
    keep = cloud.function(lambda event, context: seen.append((dict(context.caller), cloud.get_wx_context())))
    if form == "direct":
        keep({"a": 1}, None)
    else:
        call(keep, form, Sent(method="GET"))
    assert seen == [({"OPENID": "o-123"}, {"OPENID": "o-123"})]


def test_the_samples_reach_the_function() -> None:
    assert events.seen(echo(sample("scf-function-url"))).json["event"] == {"a": "1", "b": "2", "test": "hello world"}
    assert events.seen(echo(sample("scf-api-gateway"))).json["event"] == {"foo": "bar", "bob": "alice", "test": "body"}
    parameters = {"parameter1": "value2", "parameter2": "value"}
    url = sample("aws-function-url") | {"body": ""}
    assert events.seen(echo(url)).json["event"] == parameters
    assert events.seen(echo(sample("aws-alb"))).json["event"] == {"query": "1234ABCD"}
    assert events.seen(echo(sample("huawei-apig"))).json["event"] == {"responseType": "html"}


def test_a_body_that_holds_no_parameters_is_the_functions_own() -> None:
    @cloud.function
    def raw(event: Any, context: Any) -> Any:
        return [event, context.request.body.decode()]

    assert events.seen(raw(sample("aws-function-url"))).json[1] == "Hello from client!"
    assert call(raw, "http_v2", Sent(b"<a/>", "application/xml", {"b": "1"})).json == [{"b": "1"}, "<a/>"]
    assert call(raw, "http_v2", Sent(b"{", "application/json")).status == 400


def test_it_stays_a_plain_function() -> None:
    assert isinstance(echo, types.FunctionType)  # functions-framework asks for one
    assert (echo.__name__, inspect.getdoc(echo)) == ("echo", "Says what it got.")
    assert cloud.function(echo) is echo
    assert cloud.function(handler.main) is handler.main


def test_exceptions(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(cloud.CloudError) as raised:
        strict({})
    assert (raised.value.errCode, type(raised.value.__cause__)) == (-504002, ZeroDivisionError)
    assert broken({}) == {"errCode": -504002, "errMsg": "functions execute fail: ZeroDivisionError"}
    for function in (strict, broken):
        answer = call(function, "http_v2", Sent())
        assert (answer.status, answer.json["errCode"]) == (500, -504002)
        assert b"s3cret" not in answer.body
    assert "a s3cret in it" in caplog.text  # the function's own log has the whole traceback


@pytest.mark.parametrize(
    ("result", "status", "content_type", "body"),
    [
        ({"a": "图"}, 200, "application/json; charset=utf-8", '{"a": "图"}'.encode()),
        ([1.5, None], 200, "application/json; charset=utf-8", b"[1.5, null]"),
        (None, 200, "application/json; charset=utf-8", b"null"),
        ("图", 200, "text/plain; charset=utf-8", "图".encode()),
        (b"\x89PNG\r\n\x1a\n", 200, "image/png", b"\x89PNG\r\n\x1a\n"),
        (bytearray(b"\x00"), 200, "application/octet-stream", b"\x00"),
        ({"errCode": -604101, "errMsg": "x"}, 403, "application/json; charset=utf-8", None),
        ({"errCode": 0, "errMsg": "ok"}, 200, "application/json; charset=utf-8", None),
        ({"errCode": 5, "errMsg": "", "more": 1}, 200, "application/json; charset=utf-8", None),
        ({"statusCode": 302, "headers": {"Location": "/x"}}, 302, "application/json; charset=utf-8", b""),
        ({"statusCode": 299, "body": {"a": 1}}, 299, "application/json; charset=utf-8", b'{"a": 1}'),
        ({"statusCode": 200, "headers": {"content-type": "image/png"}, "body": b"\xff"}, 200, None, b"\xff"),
        ({"statusCode": 200, "body": "/w==", "isBase64Encoded": True}, 200, "application/json; charset=utf-8", None),
        (object(), 500, "application/json; charset=utf-8", None),
        ({"a": float("nan")}, 500, "application/json; charset=utf-8", None),
        ({"statusCode": 200, "body": object()}, 500, "application/json; charset=utf-8", None),
    ],
)
def test_what_a_function_may_return(result: Any, status: int, content_type: str | None, body: bytes | None) -> None:
    @cloud.function
    def returns(event: Any, context: Any) -> Any:
        return result

    headers: list[Any] = []
    got = b"".join(returns(events.environ(Sent()), lambda line, given: headers.extend([line, *given])))
    assert int(headers[0].split()[0]) == status
    assert content_type is None or ("Content-Type", content_type) in headers
    assert body is None or got == body


def test_a_function_of_the_readme_answers_with_its_status(permitted: Path) -> None:
    @cloud.function
    def main(event: Any, context: Any) -> Any:
        try:
            return cloud.Cloud(backend="wechat").openapi.img.aiCrop({"imgUrl": event["imgUrl"], "ratios": "1,2.35"})
        except cloud.CloudError as err:
            return err.to_dict()

    assert call(main, "scf_url", Sent(b'{"imgUrl": "x"}', "application/json")).status == 400
    assert call(main, "scf_url", Sent(b"{}", "application/json")).status == 500  # KeyError, which is a bug
    (permitted / "config.json").unlink()
    assert call(main, "scf_url", Sent(b'{"imgUrl": "https://example.com/a"}', "application/json")).status == 403


def test_loading_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))  # the function's folder comes first in it, for good
    (tmp_path / "helper_of_test.py").write_text("value = 5")
    (tmp_path / "json.py").write_text(
        "import helper_of_test\ndef main(event, context):\n    return helper_of_test.value"
    )
    assert handler.load(tmp_path / "json.py", "main")({}, None) == 5
    assert json.loads("1") == 1  # the module that has this name already is still the one
    with pytest.raises(AttributeError, match="has no function nothing"):
        handler.load(tmp_path / "json.py", "nothing")
