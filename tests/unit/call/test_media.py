from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from cloudfn.call.media import decode, file_name, sniff
from tests.conftest import TESTS, vectors

DATA = b"\x89PNG\r\n\x1a\n\x00\xff"
TEXT = base64.b64encode(DATA).decode()


@pytest.mark.parametrize("case", vectors("media"))
def test_recorded_file_names(case: dict[str, str]) -> None:
    assert file_name(case["field"], case["contentType"])[0] == case["filename"]


@pytest.mark.parametrize(
    ("content_type", "name", "known"),
    [
        ("image/webp", "img.webp", True),
        ("image/svg+xml", "img.svg", True),
        ("image/jp2", "img.jp2", True),
        ("application/octet-stream", "img.bin", True),
        ("IMAGE/PNG", "img.png", False),
        ("", "img.png", False),
    ],
)
def test_file_names_by_the_sdks_rule(content_type: str, name: str, known: bool) -> None:
    assert file_name("img", content_type) == (name, known)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("my cat.jpg", "my cat.jpg"),
        ("猫.jpg", "img.png"),
        ('a"b.jpg', "img.png"),
        ("a\r\nX: y.jpg", "img.png"),
        ("", "img.png"),
    ],
)
def test_only_a_plain_ascii_name_is_kept(given: str, sent: str) -> None:
    assert file_name("img", "image/png", given)[0] == sent


@pytest.mark.parametrize(
    "value",
    [
        DATA,
        bytearray(DATA),
        memoryview(DATA),
        memoryview(b"-" + DATA + b"-")[1:-1],
        memoryview(bytes(byte for byte in DATA for _ in range(2)))[::2],
        TEXT,
        "\r\n".join(TEXT[i : i + 4] for i in range(0, len(TEXT), 4)),
        f"data:image/png;base64,{TEXT}",
        f"DATA:;base64,{TEXT}",
        {"type": "Buffer", "data": list(DATA)},
        {str(index): byte for index, byte in enumerate(DATA)},
        json.loads(json.dumps({str(index): byte for index, byte in reversed(list(enumerate(DATA)))})),
        list(DATA),
    ],
)
def test_every_form_of_a_picture(value: Any) -> None:
    assert bytes(decode(value)) == DATA


@pytest.mark.parametrize("value", [DATA, bytearray(DATA)])
def test_bytes_are_not_copied(value: Any) -> None:
    assert decode(value) is value
    assert decode(memoryview(value)).obj is value  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "value",
    [
        "/etc/passwd",
        "abc",
        "data:image/png,abc",
        f"{TEXT[:-1]}",
        "中文",
        TEXT + "====",
        {"a": 1},
        {"0": 1, "2": 2},
        {"type": "Buffer", "data": [256]},
        {"type": "Buffer", "data": [-1]},
        {"type": "Buffer", "data": [1.5]},
        {"type": "Buffer", "data": [True]},
        {"type": "Buffer", "data": "aGk="},
        ["a"],
        [10**30],
    ],
)
def test_wrong_content(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^an? "):
        decode(value)


@pytest.mark.parametrize("value", [None, 1, 1.5, True, object()])
def test_a_wrong_type(value: Any) -> None:
    with pytest.raises(TypeError):
        decode(value)


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"GIF89a", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"BM", "image/bmp"),
        (b"\x00\x00\x00\x1cftypavif", "image/avif"),
        (b"\x00\x00\x00\x18ftypheic", "image/heic"),
        (b"II*\x00", "image/tiff"),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_the_type_is_told_by_the_first_bytes(head: bytes, media_type: str | None) -> None:
    assert sniff(head) == media_type


def test_photographs_are_jpeg() -> None:
    assert {sniff(path.read_bytes()) for path in (TESTS / "photos").glob("*.jpg")} == {"image/jpeg"}
