from __future__ import annotations

import json
from typing import Any

import pytest

from cloudfn import CloudError
from cloudfn.call.reply import normalise, parse
from cloudfn.errors import gateway_failure
from tests.conftest import TESTS, vectors


@pytest.mark.parametrize("case", vectors("normalise"))
def test_recorded_answers(case: dict[str, Any]) -> None:
    response = case["response"]

    def run() -> dict[str, Any]:
        reply = parse(case["api"], response["body"].encode(), content_type=response["contentType"])
        return normalise(case["api"], reply, convert_case=case["convertCase"])

    if "result" in case:
        assert json.dumps(run()) == json.dumps(case["result"])  # the order of the keys too
        return
    with pytest.raises(CloudError) as raised:
        run()
    assert raised.value.to_dict() == {key: case["error"][key] for key in ("errCode", "errMsg")}
    assert str(raised.value) == case["error"]["message"]


@pytest.mark.parametrize("case", vectors("gateway"))
def test_recorded_refusals_at_the_gateway(case: dict[str, Any]) -> None:
    error = gateway_failure("img.aiCrop", case["gatewayCode"])
    assert error.to_dict() == {key: case["error"][key] for key in ("errCode", "errMsg")}
    assert str(error) == case["error"]["message"]


def test_the_texts_are_the_sdks() -> None:
    for code, text in json.loads((TESTS / "support" / "vectors" / "codes.json").read_bytes()).items():
        assert str(CloudError(int(code), "m")) == f"errCode: {code} {text} | errMsg: m"


@pytest.mark.parametrize("errcode", ["0", 0, 0.0, "", None])
def test_codes_that_mean_success(errcode: object) -> None:
    assert normalise("img.aiCrop", {"errcode": errcode, "a": 1})["errCode"] == 0


@pytest.mark.parametrize("errcode", ["101000", 101000, 101000.0])
def test_a_code_is_always_an_int(errcode: object) -> None:
    with pytest.raises(CloudError) as raised:
        normalise("img.aiCrop", {"errcode": errcode, "errmsg": "invalid image url"})
    assert raised.value.errCode == 101000
    assert isinstance(raised.value.errCode, int)


@pytest.mark.parametrize("errcode", ["abc", True, [], {"a": 1}, float("inf"), 0.5, "1_0", "４０", "9" * 99])
def test_a_code_that_is_no_number(errcode: object) -> None:
    with pytest.raises(CloudError, match="errcode is no number"):
        normalise("img.aiCrop", {"errcode": errcode})


@pytest.mark.parametrize("body", [b"", b"[]", b'"ok"', b"null", b"<html>", b'{"a": NaN}', b"[" * 100_000, b"\xff\xfe"])
def test_what_is_no_json_object_is_no_answer(body: bytes) -> None:
    with pytest.raises(CloudError, match="response body") as raised:
        parse("img.aiCrop", body, content_type="text/html")
    assert raised.value.errCode == -601001
    assert "HTTP 200" in raised.value.errMsg
    assert len(raised.value.errMsg) < 700


def test_another_status_counts_only_with_a_failing_errcode() -> None:
    assert parse("img.aiCrop", b'{"errcode": 40001}', status=500) == {"errcode": 40001}
    for body in (b"{}", b'{"errcode": 0}', b""):
        with pytest.raises(CloudError, match="HTTP 502"):
            parse("img.aiCrop", body, status=502)


def test_a_byte_that_is_no_utf8_does_not_cost_the_code() -> None:
    assert parse("img.aiCrop", b'{"errcode":40001,"errmsg":"\xff"}')["errcode"] == 40001


def test_an_answer_that_is_nested_too_deep() -> None:
    reply: dict[str, Any] = {}
    for _ in range(5000):
        reply = {"a_b": reply}
    with pytest.raises(CloudError, match="nested too deep") as raised:
        normalise("img.aiCrop", reply)
    assert raised.value.errCode == -601001


def test_numbers_and_names_that_break_the_sdk() -> None:
    body = b'\xef\xbb\xbf{"id": 12345678901234567890, "constructor": 1, "__proto__": 2}'
    result = normalise("img.aiCrop", parse("img.aiCrop", body))
    assert (result["id"], result["constructor"], result["_Proto__"]) == (12345678901234567890, 1, 2)
