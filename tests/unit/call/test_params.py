from __future__ import annotations

import base64
import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cloudfn import CloudError
from cloudfn.call.apis import APIS
from cloudfn.call.params import read, read_event
from cloudfn.call.values import Media, Ratios

API = APIS["img.aiCrop"]
URL = "https://example.com/a.jpg"
IMG = {"contentType": "image/png", "value": b"\x89PNG"}


def ratios(value: Any) -> Ratios | None:
    return read(API, {"imgUrl": URL, "ratios": value}).params.get("ratios")


def refused(given: Any, *, convert_case: bool = True) -> CloudError:
    with pytest.raises(CloudError) as raised:
        read(API, given, convert_case=convert_case)
    return raised.value


@pytest.mark.parametrize("value", [None, "", " ", [], ()])
def test_no_ratios_means_automatic(value: Any) -> None:
    assert ratios(value) is None
    assert read(API, {"imgUrl": URL}).params == {"imgUrl": URL}


@pytest.mark.parametrize(
    ("value", "text", "values"),
    [
        ("1,2.35", "1,2.35", (1, 2.35)),
        (" 1 , 2.35 ", "1,2.35", (1, 2.35)),
        ("16:9", "1.77778", (16 / 9,)),
        ("1, 16 : 9", "1,1.77778", (1, 16 / 9)),
        ("007,.5,1.", "007,.5,1.", (7, 0.5, 1)),
        (1, "1", (1,)),
        (2.35, "2.35", (2.35,)),
        (1e-7, "0.0000001", (1e-7,)),
        (Decimal("0.50"), "0.50", (0.5,)),
        ([1, "2.35", "4:3", 0.5, 3.0], "1,2.35,1.33333,0.5,3.0", (1, 2.35, 4 / 3, 0.5, 3)),
        ((1, 2), "1,2", (1, 2)),
        ("1,1", "1,1", (1, 1)),
    ],
)
def test_ratios_as_text_for_the_wire_and_as_numbers(value: Any, text: str, values: tuple[float, ...]) -> None:
    read_ratios = ratios(value)
    assert isinstance(read_ratios, Ratios)
    assert read_ratios.text == text
    assert read_ratios.values == pytest.approx(values)


@pytest.mark.parametrize(
    ("value", "code", "cure"),
    [
        ("1，2.35", -401002, "ASCII comma"),
        ("16：9", -401002, "ASCII colon"),
        ("16/9", -401002, "16:9 instead of 16/9"),
        ("16x9", -401002, "16:9"),
        ("1,,2", -401002, ""),
        ("1,", -401002, ""),
        ("0", -401002, ""),
        ("-1", -401002, ""),
        ("+1", -401002, ""),
        ("1e3", -401002, ""),
        ("nan", -401002, ""),
        ("1:0", -401002, ""),
        ("0:1", -401002, ""),
        ("1:2:3", -401002, ""),
        ("１", -401002, ""),
        ("9" * 400, -401002, ""),
        ("\ud800", -401002, ""),
        (float("nan"), -401002, ""),
        (float("inf"), -401002, ""),
        (0, -401002, ""),
        (-1.5, -401002, ""),
        (10**400, -401002, ""),
        pytest.param(10**5000, -401002, "very large", id="thousands of digits"),
        ([1, 2, 3, 4, 5, 6], -401002, "at most"),
        ("1,2,3,4,5,6", -401002, "at most 5"),
        (["1,2.35"], -401002, "by itself"),
        ([""], -401002, ""),
        (True, -401003, ""),
        ([1, False], -401003, ""),
        ([None], -401003, ""),
        ([[1]], -401003, ""),
        ({"a": 1}, -401003, ""),
        (b"1", -401003, ""),
        (1 + 2j, -401003, ""),
        (object(), -401003, ""),
    ],
)
def test_ratios_that_are_refused(value: Any, code: int, cure: str) -> None:
    error = refused({"imgUrl": URL, "ratios": value})
    assert error.errCode == code
    assert error.errMsg.startswith("openapi.img.aiCrop:fail parameter error: ratios")
    assert ", expected " in error.errMsg
    assert cure in error.errMsg
    assert len(error.errMsg) < 300


@pytest.mark.parametrize(
    "url", [URL, "HTTP://a", "http://[::1]:8/x", "https://例子.测试/图 片.jpg?a=1&b=%20#c", "http://a/ b"]
)
def test_urls_go_on_as_they_came(url: str) -> None:
    assert read(API, {"imgUrl": url}).params == {"imgUrl": url}


@pytest.mark.parametrize(
    ("url", "cure"),
    [
        ("", "http"),
        ("http://", "host"),
        ("https:///a", "host"),
        ("https://e com/", "host"),
        ("https://.", "host"),
        ("https://%", "host"),
        ("example.com/a.jpg", "http"),
        ("ftp://a", "http"),
        ("cloud://a.b", "cloud://ENV.BUCKET/path"),
        ("CLOUD://a.b/c", "cloud://ENV.BUCKET/path"),
        ("wxfile://tmp", "upload"),
        ("data:image/png;base64,AAAA", "img.value"),
        (" http://a", "white space"),
        ("http://a\n", "white space"),
        ("http://a/\x00", "control"),
        ("http://[::1", "http"),
        ("http://a:99999/", "http"),
        ("http://a/\ud800", "http"),
        ("/etc/passwd", "http"),
        ("file:///etc/passwd", "http"),
    ],
)
def test_urls_that_are_refused(url: str, cure: str) -> None:
    error = refused({"imgUrl": url})
    assert error.errCode == -401002
    assert error.errMsg.startswith("openapi.img.aiCrop:fail parameter error: imgUrl: got ")
    assert cure in error.errMsg


def test_exactly_one_of_the_two_pictures() -> None:
    assert refused({}).errCode == refused({"imgUrl": URL, "img": IMG}).errCode == -401002
    assert "got neither" in refused({"imgUrl": None, "img": None}).errMsg
    assert "got imgUrl and img" in refused({"imgUrl": URL, "img": IMG}).errMsg
    assert read(API, {"imgUrl": URL, "img": None}).params == {"imgUrl": URL}


@pytest.mark.parametrize(
    ("img", "code", "name"),
    [
        ("/etc/passwd", -401003, "img"),
        (5, -401003, "img"),
        ([1], -401003, "img"),
        ({}, -401002, "img.contentType"),
        ({"value": b"1"}, -401002, "img.contentType"),
        ({"contentType": "image/png"}, -401002, "img.value"),
        ({"contentType": 5, "value": b"1"}, -401003, "img.contentType"),
        ({"contentType": "", "value": b"1"}, -401002, "img.contentType"),
        ({"contentType": "a\r\nX: y", "value": b"1"}, -401002, "img.contentType"),
        ({"contentType": "图片", "value": b"1"}, -401002, "img.contentType"),
        ({"contentType": "image/png", "value": b""}, -401002, "img.value"),
        ({"contentType": "image/png", "value": "/etc/passwd"}, -401002, "img.value"),
        ({"contentType": "image/png", "value": Path("/etc/passwd")}, -401003, "img.value"),
        ({"contentType": "image/png", "value": None}, -401003, "img.value"),
        ({"contentType": "image/png", "value": {"type": "Buffer", "data": [999]}}, -401002, "img.value"),
        ({"contentType": "image/png", "value": b"1", "fileName": 5}, -401003, "img.fileName"),
        ({"contentType": "image/png", "value": b"1", "data": b"1"}, -401002, "img.data"),
    ],
)
def test_pictures_that_are_refused(img: Any, code: int, name: str) -> None:
    error = refused({"img": img})
    assert (error.errCode, error.errMsg.split(": ")[1]) == (code, name)
    assert ", expected " in error.errMsg


def test_a_picture_keeps_its_type_and_ascii_name_and_the_callers_object_stays() -> None:
    value = bytearray(b"\xff\xd8\xff")
    img = {"contentType": "image/jpeg", "value": value, "fileName": "cat.jpg"}
    given = {"img": img}
    picture = read(API, given).params["img"]
    assert picture == Media("image/jpeg", value, "cat.jpg")
    assert picture.value is value
    assert given == {"img": {"contentType": "image/jpeg", "value": value, "fileName": "cat.jpg"}}


def test_both_spellings_of_a_pictures_keys_the_camel_case_one_wins() -> None:
    img = {"content_type": "image/gif", "contentType": "image/png", "value": b"1", "file_name": "a.gif"}
    assert read(API, {"img": img}).params["img"] == Media("image/png", b"1", "a.gif")
    assert read(API, {"img": img}, convert_case=False).params["img"] == Media("image/png", b"1", "a.gif")
    empty = {"contentType": "", "content_type": "image/gif", "value": b"1"}
    assert read(API, {"img": empty}).params["img"].content_type == "image/gif"


def test_an_unknown_media_type_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "cloudfn"):
        assert read(API, {"img": {**IMG, "contentType": "image/jpg"}}).params["img"].file_name == "img.png"
    assert "img.contentType" in caplog.text


def test_shorthands_for_python_callers(photo: Any) -> None:
    path = photo("chelsea.jpg")
    assert read(API, {"img": path}).params["img"] == Media("image/jpeg", path.read_bytes(), "img.jpeg")
    assert read(API, {"img": b"GIF89a"}).params["img"] == Media("image/gif", b"GIF89a", "img.gif")
    assert read(API, {"img": b"?"}).params["img"].file_name == "img.bin"
    missing = refused({"img": path.with_name("none.jpg")})
    assert missing.errCode == -401002
    assert "none.jpg: No such file" in missing.errMsg
    assert refused({"img": Path("a\0b")}).errCode == -401002


def test_both_spellings_of_a_name_the_camel_case_one_wins() -> None:
    both = {"imgUrl": URL, "img_url": "https://other.example"}
    assert read(API, both).params == read(API, dict(reversed(both.items()))).params == {"imgUrl": URL}
    assert read(API, {"img_url": URL}).params == {"imgUrl": URL}


def test_without_case_conversion_only_wechats_names_count() -> None:
    assert read(API, {"img_url": URL}, convert_case=False).params == {"imgUrl": URL}
    error = refused({"imgUrl": URL}, convert_case=False)
    assert error.errCode == -401002
    assert "`img_url`" in error.errMsg


@pytest.mark.parametrize("name", ["ratioList", "imgURL", "userInfo", "api", "image", 5])
def test_the_face_refuses_every_unknown_name(name: Any) -> None:
    error = refused({"imgUrl": URL, name: 1})
    assert error.errCode == -401002
    assert f": {name}: got a parameter that does not exist, expected " in error.errMsg


@pytest.mark.parametrize("given", [[], "x", 5, None])
def test_parameters_are_one_mapping(given: Any) -> None:
    assert refused(given).errCode == -401003


def test_an_event_may_hold_anything_else() -> None:
    event = {
        "imgUrl": URL,
        "ratios": None,
        "userInfo": {"openId": "o"},
        "tcbContext": {},
        "path": "/",
        "body": "x",
        5: 6,
    }
    assert read_event(API, event).params == {"imgUrl": URL}


@pytest.mark.parametrize(("name", "meant"), [("ratioList", "ratios"), ("img_url", "imgUrl"), ("imageUrl", "imgUrl")])
def test_an_event_with_a_misspelt_name(name: str, meant: str) -> None:
    with pytest.raises(CloudError, match=f"`{meant}`") as raised:
        read_event(API, {"imgUrl": URL, name: "x"})
    assert raised.value.errCode == -401002


@pytest.mark.parametrize("img", [Path("/etc/passwd"), "/etc/passwd", b"\xff\xd8\xff"])
def test_an_event_names_no_file(img: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was opened"))
    with pytest.raises(CloudError) as raised:
        read_event(API, {"img": img})
    assert raised.value.errCode == -401003


def test_a_large_picture_in_every_form_is_read_in_full() -> None:
    data = bytes(range(256)) * 4096
    for value in (data, base64.b64encode(data).decode(), {"type": "Buffer", "data": list(data)}):
        assert bytes(read(API, {"img": {"contentType": "image/png", "value": value}}).params["img"].value) == data


def test_a_refusal_writes_out_no_more_than_it_shows() -> None:
    """A list of a million items, each of them wrong, fits into an event."""
    written = []

    class Item:
        def __repr__(self) -> str:
            written.append(self)
            return "item"

    items = [Item()] * 1_000_000
    for name, value in (("ratios", items), ("imgUrl", items), ("img", {"contentType": items, "value": b"x"})):
        assert refused({"imgUrl": "https://example.com/", name: value}).errCode in (-401002, -401003)
    assert len(written) < 10_000


@pytest.mark.parametrize("name", ["imgUrl", "img", "ratios"])
def test_a_number_of_thousands_of_digits(name: str) -> None:
    with pytest.raises(CloudError, match="a very large int"):
        read(APIS["img.aiCrop"], {"imgUrl": "https://example.com/", name: 10**5000})


def test_an_event_of_many_keys_is_not_compared_key_by_key() -> None:
    compared = []

    class Key(str):
        __slots__ = ()

        def __str__(self) -> str:
            compared.append(self)
            return super().__str__()

    event = {Key(f"key {number}"): 0 for number in range(100_000)} | {"imgUrl": "https://example.com/"}
    assert read_event(APIS["img.aiCrop"], event).params == {"imgUrl": "https://example.com/"}
    assert len(compared) <= 1000
